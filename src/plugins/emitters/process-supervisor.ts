// Keeps one process of a plugin running: starts it, tells it who it is, hands it again what the one
// before may not have read, notices its end at once, and waits longer each time before the next.

import type { Log } from "../../log.ts";
import { DbxError } from "../../model/error.ts";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import type { ProcessConfig } from "../../model/plugin.ts";
import { encodePluginInit } from "../../wire/plugin.ts";
import type { Backlog, Sent } from "./process-backlog.ts";
import { startChild, type Child, type Outcome } from "./process-child.ts";
import { findProgram, type ProgramDeps } from "./process-program.ts";

export interface SupervisorDeps extends ProgramDeps {
  readonly label: string;
  readonly log: Log;
  readonly backlog: Backlog;
  /** So many processes ended with it that it is left out from now on. */
  readonly giveUp: (message: Sent) => void;
}

/** A process that takes events, or why there is none: one line. */
export type Ready = { readonly child: Child } | { readonly missing: string };

export interface Supervisor {
  readonly start: () => void;
  /** Waits a little for one that is about to be started. */
  readonly ready: (signal: AbortSignal) => Promise<Ready>;
  /** This one is of no use any more; another one will be started. */
  readonly replace: (child: Child, why: "stalled" | "stopped") => void;
  readonly close: () => Promise<void>;
}

interface Life {
  readonly child: Child;
  /** Resolves when it can be handed events, or never will be. */
  readonly prepared: Promise<void>;
  /** Whether it can. */
  isReady: boolean;
  /** Whether it got so far that it was handed what the one before it had. */
  isHanded: boolean;
}

export function createSupervisor(
  config: ProcessConfig,
  deps: SupervisorDeps,
  bounds: PluginLimits,
): Supervisor {
  const { label, log, backlog } = deps;
  const closed = new AbortController();
  const leaving = new Set<Promise<void>>();
  let life: Life | null = null;
  let failures = 0;
  /** Processes in a row that did not live long with what they were handed. */
  let short_lives = 0;
  /** The longest of those that got everything at once. */
  let short_life_ms = 0;
  let next_start = 0;
  let missing = "it has not been started yet";
  let timer: NodeJS.Timeout | null = null;
  let starting: Promise<void> | null = null;

  /** Out: in how many ms. */
  const startLater = (why: string): number => {
    missing = why;
    failures += 1;
    const { plugin_process_restart_ms: first, plugin_process_restart_ms_max: most } = bounds;
    const delay = Math.min(first * 2 ** Math.min(failures - 1, 30), most);
    next_start = performance.now() + delay;
    if (timer !== null) clearTimeout(timer);
    if (!closed.signal.aborted) timer = setTimeout(() => void start(), delay);
    return delay;
  };

  const start = (): Promise<void> => {
    if (closed.signal.aborted || life !== null || performance.now() < next_start) {
      return starting ?? Promise.resolve();
    }
    starting ??= startNow().finally(() => (starting = null));
    return starting;
  };

  const startNow = async (): Promise<void> => {
    try {
      const { bundle, program } = await findProgram(config, deps);
      if (closed.signal.aborted) return;
      const child = launch(program, { log, label, bounds });
      log.info("plugin process started", { plugin: label, pid: child.pid });
      const since = performance.now();
      life = begun(child, encodePluginInit(bundle));
      void child.ended.then(() => hasEnded(child, since));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      log.warn("plugin process not started", {
        plugin: label,
        reason: why,
        next_ms: startLater(why),
      });
    }
  };

  const begun = (child: Child, init: Uint8Array): Life => {
    const prepared = prepare(child, init).then((outcome) => {
      if (outcome === "done") made.isReady = true;
      if (outcome === "stalled") replace(child, outcome);
    });
    const made: Life = { child, prepared, isReady: false, isHanded: false };
    return made;
  };

  const hasEnded = (child: Child, since: number) => {
    const lived_ms = Math.round(performance.now() - since);
    const ending = child.ending() ?? "unknown";
    const told = { plugin: label, pid: child.pid, ending, lived_ms };
    if (closed.signal.aborted) return log.info("plugin process ended", told);
    if (life?.child === child) {
      if (life.isHanded && short_lives < 2) short_life_ms = Math.max(short_life_ms, lived_ms);
      if (life.isHanded) short_lives += 1;
      life = null;
    }
    if (lived_ms >= bounds.plugin_process_life_ms) {
      failures = 0;
      short_lives = 0;
      short_life_ms = 0;
    }
    const next_ms = startLater(`its process ended (${ending})`);
    return log.warn("plugin process ended", { ...told, next_ms });
  };

  /** First who it is, then what the one before it may not have read. */
  const prepare = async (child: Child, init: Uint8Array): Promise<Outcome> => {
    const { signal } = closed;
    const told = await child.write(init, signal);
    if (told !== "done") return told;
    const lives = await child.stand(bounds.plugin_process_start_ms, signal);
    if (lives !== "done") return lives;
    if (life?.child === child) life.isHanded = true;
    return short_lives >= 2 ? resendEach(child, signal) : resendAll(child, signal);
  };

  const resendAll = async (child: Child, signal: AbortSignal): Promise<Outcome> => {
    const messages = backlog.all();
    for (const { bytes } of messages) {
      const outcome = await child.write(bytes, signal);
      if (outcome !== "done") return outcome;
    }
    return messages.length === 0 ? "done" : child.stand(bounds.plugin_process_stand_ms, signal);
  };

  /**
   * Processes end soon after they got the backlog: with one message at a time, then two, four and
   * so on, it shows how far they come, and which one they end with. They have to live on each time
   * for longer than those before lived in all: one that takes a second to start, and fails then,
   * has read nothing by that time.
   */
  const resendEach = async (child: Child, signal: AbortSignal): Promise<Outcome> => {
    const ms = Math.max(bounds.plugin_process_start_ms, 1.5 * short_life_ms);
    let size = 1;
    for (let rest = backlog.all(); rest.length > 0; size *= 2) {
      const part = rest.slice(0, size);
      rest = rest.slice(size);
      const written = await child.write(Buffer.concat(part.map(({ bytes }) => bytes)), signal);
      const outcome = written === "done" ? await child.stand(ms, signal) : written;
      const [first] = part;
      if (outcome === "done") part.forEach(backlog.survived);
      if (outcome === "ended" && first !== undefined && part.length === 1) hasFailed(first);
      if (outcome !== "done") return outcome;
    }
    return "done";
  };

  const hasFailed = (message: Sent): void => {
    if (!backlog.failed(message)) return;
    const { sequence, record } = message;
    const { event_id } = record.metadata;
    log.error("plugin event given up", { plugin: label, sequence, event_id });
    deps.giveUp(message);
  };

  const replace: Supervisor["replace"] = (child, why) => {
    const { pid } = child;
    if (life?.child === child) life.isReady = false;
    if (why === "stalled") log.warn("plugin process takes nothing", { plugin: label, pid });
    const gone = why === "stalled" ? child.kill() : child.close();
    leaving.add(gone);
    void gone.finally(() => leaving.delete(gone));
  };

  const ready: Supervisor["ready"] = async (signal) => {
    if (life?.isReady === true && life.child.ending() === null) return { child: life.child };
    const until = performance.now() + bounds.plugin_process_wait_ms;
    const either = AbortSignal.any([signal, closed.signal]);
    while (!either.aborted) {
      if (life === null) await start();
      if (life !== null) {
        const { child, prepared } = life;
        const waits = until - performance.now();
        await orAborted(Promise.race([prepared, pause(waits, either)]), either);
        if (life?.child === child && life.isReady && child.ending() === null) return { child };
        if (performance.now() >= until) return { missing: "its process is being started" };
        // Only at its end it is clear when the next one starts.
        await orAborted(
          Promise.race([child.ended, pause(until - performance.now(), either)]),
          either,
        );
        continue;
      }
      const now = performance.now();
      if (next_start > until) {
        const seconds = Math.ceil((next_start - now) / 1_000);
        return { missing: `${missing}; it is started again in ${seconds} s` };
      }
      await pause(next_start - now + 1, either);
    }
    return { missing: "it is being stopped" };
  };

  return {
    start: () => void start(),
    ready,
    replace,
    close: async () => {
      closed.abort();
      if (timer !== null) clearTimeout(timer);
      await starting;
      await Promise.all([life?.child.close(), ...leaving]);
    },
  };
}

function launch(
  program: Parameters<typeof startChild>[0],
  { label, log, bounds }: { label: string; log: Log; bounds: PluginLimits },
): Child {
  try {
    return startChild(program, { log, plugin: label, bounds });
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new Error(`failed to launch plugin ${label}: ${reason}`, { cause });
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.max(ms, 0));
  await orAborted(promise, signal);
  clearTimeout(timer);
}

/** Undefined once the signal comes. */
async function orAborted<Value>(
  promise: Promise<Value>,
  signal: AbortSignal,
): Promise<Value | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
  const stop = () => resolve(undefined);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
