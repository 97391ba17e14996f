// Events as Cap'n Proto messages to a process that dbx runs. Taking bytes is all that a process
// shows: events count as delivered once it took them and lived on a while, and what may lie unread
// in its input when it ends goes to its successor.

import type { Log } from "../../log.ts";
import { limits, type PluginLimits } from "../../model/limits.ts";
import type { ProcessConfig } from "../../model/plugin.ts";
import { encodePluginEvent } from "../../wire/plugin.ts";
import type { Emission, Emitter, Fault } from "../emitter.ts";
import { faultOf } from "./fault.ts";
import { createBacklog, type Sent } from "./process-backlog.ts";
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
  const backlog = createBacklog({
    unread_bytes: bounds.plugin_process_unread_bytes,
    resends_max: bounds.plugin_process_resends_max,
  });
  const supervisor = createSupervisor(config, { ...deps, backlog }, bounds);

  const say = (what: string, options: { reached: boolean }): Fault =>
    faultOf(`plugin ${label}: ${what}`, options);

  const deliver: Emitter["deliver"] = async (emissions, signal) => {
    const ready = await supervisor.ready(signal);
    if ("missing" in ready) return { delivered: 0, fault: say(ready.missing, { reached: false }) };
    const { child } = ready;
    const { sent, outcome, fault } = await send(emissions, { child, signal, label });
    if (outcome === "stalled" || outcome === "stopped") supervisor.replace(child, outcome);
    const stood =
      outcome === "done" ? await child.stand(bounds.plugin_process_stand_ms, signal) : outcome;
    if (stood === "done") {
      backlog.add(sent);
      return { delivered: sent.length, fault };
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
    check: async () => {
      await findProgram(config, deps);
    },
    close: supervisor.close,
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
  readonly sent: readonly Sent[];
  readonly outcome: Outcome;
  /** Why the next one could not be written down; those before it may arrive. */
  readonly fault: Fault | null;
}

async function send(
  emissions: readonly Emission[],
  { child, signal, label }: { child: Child; signal: AbortSignal; label: string },
): Promise<Sending> {
  const sent: Sent[] = [];
  for (const emission of emissions) {
    const encoded = await encode(emission, label);
    if ("message" in encoded) return { sent, outcome: "done", fault: encoded };
    const outcome = await child.write(encoded.bytes, signal);
    if (outcome !== "done") return { sent, outcome, fault: null };
    sent.push({ bytes: encoded.bytes, sequence: emission.sequence });
  }
  return { sent, outcome: "done", fault: null };
}

async function encode(
  { record, sequence, state: read, schema }: Emission,
  label: string,
): Promise<{ readonly bytes: Uint8Array } | Fault> {
  const say = (what: string): Fault =>
    faultOf(`plugin ${label}: event ${record.metadata.event_id} ${what}`, { reached: true });
  try {
    const { state, archived } = await read();
    const bytes = encodePluginEvent({ record, sequence, state, archived, schema: schema() });
    if (bytes.length <= limits.plugin_message_bytes_max) return { bytes };
    return say(`is larger than ${limits.plugin_message_bytes_max} bytes with its state`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.name : "unknown";
    return say(`could not be written down (${why})`);
  }
}
