// Events as Cap'n Proto messages to a process that dbx runs. Taking bytes is all that a process
// shows: events count as delivered once it took them and lived on a while, and what may lie unread
// in its input when it ends goes to its successor.

import { setImmediate as giveWay } from "node:timers/promises";
import type { Log } from "../../log.ts";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import { limits } from "../../model/limits.ts";
import type { ProcessConfig } from "../../model/plugin.ts";
import { encodePluginEvent } from "../../wire/plugin.ts";
import type { Emission, Emitter, Fault, GivenUp } from "../emitter.ts";
import { faultOf } from "./fault.ts";
import { createBacklog, unreadBytes, type Backlog, type Sent } from "./process-backlog.ts";
import type { Child, Outcome } from "./process-child.ts";
import { findProgram, type ProgramDeps } from "./process-program.ts";
import { createSupervisor } from "./process-supervisor.ts";

export interface ProcessDeps extends ProgramDeps {
  /** What the plugin is called here. */
  readonly label: string;
  readonly log: Log;
}

export function createProcessEmitter(
  config: ProcessConfig,
  deps: ProcessDeps,
  bounds: PluginLimits = limits,
): Emitter {
  const { label } = deps;
  const keep = {
    unread_bytes: unreadBytes(bounds),
    resends_max: bounds.plugin_process_resends_max,
  };
  const backlog = createBacklog(keep);
  const givenUp = createGivenUp();
  const giveUp = ({ record }: Sent): void => {
    const times = bounds.plugin_process_resends_max;
    const message = `plugin ${label}: ${times} of its processes ended soon after they got it`;
    givenUp.add({ record, message });
  };
  const supervisor = createSupervisor(config, { ...deps, backlog, giveUp }, bounds);

  const say = (what: string, options: { reached: boolean }): Fault =>
    faultOf(`plugin ${label}: ${what}`, options);

  const deliver: Emitter["deliver"] = async (emissions, signal) => {
    const ready = await supervisor.ready(signal);
    if ("missing" in ready) return { delivered: 0, fault: say(ready.missing, { reached: false }) };
    const { child } = ready;
    // Of many large messages the last ones are enough here, too.
    const sent = createBacklog(keep);
    const { count, outcome, fault } = await send(emissions, { child, signal, label, sent });
    if (outcome === "stalled" || outcome === "stopped") supervisor.replace(child, outcome);
    const stood =
      outcome === "done" ? await child.stand(bounds.plugin_process_stand_ms, signal) : outcome;
    if (stood === "done") {
      backlog.add(sent.all());
      return { delivered: count, fault };
    }
    // Of several nobody knows which one it was; the next step takes one alone.
    const reached = stood === "ended" && emissions.length === 1;
    return { delivered: 0, fault: say(wordsFor(stood, { child, bounds }), { reached }) };
  };

  return {
    events_max: limits.plugin_process_events_max,
    lanes: 1,
    start: supervisor.start,
    deliver,
    given_up: givenUp,
    check: async () => {
      await findProgram(config, deps);
    },
    close: supervisor.close,
  };
}

function createGivenUp(): Required<Emitter>["given_up"] & { add: (given: GivenUp) => void } {
  let kept: readonly GivenUp[] = [];
  const waiting = new Set<() => void>();
  return {
    add: (given) => {
      kept = [...kept, given];
      for (const tell of waiting) tell();
    },
    all: () => kept,
    some: async (signal) => {
      if (kept.length > 0 || signal.aborted) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
      await promise;
      waiting.delete(resolve);
    },
    forget: (those) => {
      kept = kept.filter((each) => !those.includes(each));
    },
  };
}

function wordsFor(
  outcome: Exclude<Outcome, "done">,
  { child, bounds }: { child: Child; bounds: PluginLimits },
): string {
  switch (outcome) {
    case "ended":
      return `its process ended (${child.ending()}) when it was handed events`;
    case "stalled":
      return `its process took nothing for ${bounds.plugin_process_stall_ms} ms and is replaced`;
    case "stopped":
      return "it is being stopped";
  }
}

interface Sending {
  /** Handed over, whole. */
  readonly count: number;
  readonly outcome: Outcome;
  /** Why the next one could not be written down; those before it may arrive. */
  readonly fault: Fault | null;
}

interface Pen {
  readonly child: Child;
  readonly signal: AbortSignal;
  readonly sent: Backlog;
}

/** Small messages go together: a write for each would cost more than to make them. */
async function send(
  emissions: readonly Emission[],
  { child, signal, label, sent }: Pen & { readonly label: string },
): Promise<Sending> {
  let count = 0;
  let waiting: Sent[] = [];
  let length = 0;
  const flush = async (): Promise<Outcome> => {
    const messages = waiting;
    waiting = [];
    length = 0;
    if (messages.length === 0) return "done";
    const outcome = await child.write(Buffer.concat(messages.map(({ bytes }) => bytes)), signal);
    if (outcome !== "done") return outcome;
    sent.add(messages);
    count += messages.length;
    // To make so many takes some milliseconds in which nobody else was served.
    await giveWay();
    return outcome;
  };
  for (const emission of emissions) {
    const encoded = await encode(emission, label);
    if ("message" in encoded) return { outcome: await flush(), count, fault: encoded };
    const { bytes } = encoded;
    const { payload: _payload, hash: _hash, merkle_root: _root, ...record } = emission.record;
    waiting.push({ bytes, sequence: emission.sequence, record });
    length += bytes.length;
    const outcome = length < limits.plugin_process_piece_bytes ? "done" : await flush();
    if (outcome !== "done") return { count, outcome, fault: null };
  }
  return { outcome: await flush(), count, fault: null };
}

async function encode(
  { record, sequence, state: read, schema }: Emission,
  label: string,
): Promise<{ readonly bytes: Uint8Array } | Fault> {
  const say = (what: string, options: { reached: boolean }): Fault =>
    faultOf(`plugin ${label}: event ${record.metadata.event_id} ${what}`, options);
  const most = limits.plugin_message_bytes_max;
  try {
    const { state, archived } = await read();
    const bytes = encodePluginEvent({ record, sequence, state, archived, schema: schema() });
    if (bytes.length <= most) return { bytes };
    return say(`is larger than ${most} bytes with its state`, { reached: true });
  } catch (cause) {
    // The storage, which will not know the next state either.
    const why = cause instanceof Error ? cause.name : "unknown";
    return say(`has a state that could not be read (${why})`, { reached: false });
  }
}
