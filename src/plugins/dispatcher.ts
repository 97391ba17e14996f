// The loop of one enabled plugin: step after step while there is something to do, and a wait until
// there is. What a step does is in dispatcher-step.ts. Time, chance and waiting are handed in, so
// that a test can run years of it.

import type { Log } from "../log.ts";
import { unavailable } from "../model/error.ts";
import { msBetween } from "../model/instant.ts";
import { limits } from "../model/limits.ts";
import { retryDelay_ms } from "../model/plugin.ts";
import type { Position } from "../model/stream.ts";
import { takeStep, type Place, type StepDeps, type Stepped, type Turn } from "./dispatcher-step.ts";

export interface DispatcherDeps extends StepDeps {
  readonly place: Place;
  /** Resolves when the log has something after the position, or after the signal. */
  readonly reached: (position: Position, signal: AbortSignal) => Promise<void>;
  /** Resolves after so long, or after the signal. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Lets others run. */
  readonly giveWay: () => Promise<void>;
  readonly log: Log;
  /** Told after each step that changed something. Never throws. */
  readonly changed: () => void;
}

export interface DispatcherFigures {
  readonly state: "delivering" | "idle" | "away" | "interrupted";
  readonly checkpoint: Position;
  readonly delivered: number;
  readonly failed: number;
  readonly last_error: string | null;
  readonly last_error_at: string | null;
}

export interface Dispatcher {
  /** Runs in a turn of its own; what it leaves as the place holds from then on. */
  readonly inTurn: <T>(work: (turn: Turn) => Promise<T>) => Promise<T>;
  readonly figures: () => DispatcherFigures;
  /** Ends within `limits.drain_ms`, whatever the emitter does; then the emitter is closed, too. */
  readonly close: () => Promise<void>;
}

export function startDispatcher(deps: DispatcherDeps): Dispatcher {
  /** No more steps. */
  const ending = new AbortController();
  const { signal } = ending;
  /** And what is under way is cut off. */
  const cut = new AbortController();
  let place = deps.place;
  let state: DispatcherFigures["state"] = "idle";
  const counts = { delivered: 0, failed: 0 };
  let lastError: { readonly message: string; readonly at: string } | null = null;
  /** Steps in a row that reached nobody, or that the storage refused. */
  let away = 0;
  let interrupted = 0;
  let events = 1;
  /** A step may be as large as a call, where one call takes long whatever is in it. */
  const most = (): number => Math.max(limits.plugin_page_events, deps.emitter.events_max);
  let tail: Promise<unknown> = Promise.resolve();

  /** Ends a wait for a receiver that is there again. */
  let goOn = (): void => {};

  /** One after the other, in the order in which they came. */
  function inTurn<T>(work: (turn: Turn) => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (signal.aborted)
        throw unavailable("dbx is stopping, or the plugin is", { plugin: deps.name });
      const turn: Turn = { place, signal: cut.signal, arrived: false };
      try {
        return await work(turn);
      } finally {
        ({ place } = turn);
        if (turn.arrived) goOn();
      }
    };
    const result = tail.then(run, run);
    tail = result.catch(() => undefined);
    return result;
  }

  function note(stepped: Stepped): void {
    const { delivered, failed, fault, away: isAway, moved, fitted } = stepped;
    counts.delivered += delivered;
    counts.failed += failed;
    if (fault !== null) lastError = { message: fault.message, at: deps.now() };
    if (isAway) {
      if (away === 0)
        deps.log.warn("plugin not reached", { plugin: deps.name, reason: fault?.message });
      away++;
      events = 1;
    } else if (delivered + failed > 0 || !moved) {
      if (away > 0 && delivered > 0) deps.log.info("plugin reached again", { plugin: deps.name });
      if (delivered + failed > 0) away = 0;
      if (delivered > 0) events = Math.min(2 * events, most());
    }
    // What did not fit is read again, so no more is asked for than is likely to fit.
    if (fitted !== null) events = Math.min(events, fitted);
    if (moved) deps.changed();
  }

  async function step(): Promise<Stepped> {
    state = "delivering";
    const stepped = await inTurn(async (turn) => {
      const size = { events, retries_first: away > 0 };
      const taken = await takeStep(deps, turn.place, { size, signal: cut.signal });
      turn.place = taken.place;
      return taken;
    });
    note(stepped);
    interrupted = 0;
    return stepped;
  }

  /** Until there may be something to do. */
  async function rest(stepped: Stepped): Promise<void> {
    if (stepped.away) {
      state = "away";
      return waitFor(retryDelay_ms(away, deps.jitter()), null);
    }
    if (stepped.moved) return deps.giveWay();
    state = away > 0 ? "away" : "idle";
    const due = await deps.deliveries.nextDue(deps.name);
    const left = due === null ? Infinity : due === "" ? 0 : msBetween(deps.now(), due);
    // A millisecond more than what was rounded off, so that it is due by then.
    const ms = Math.min(Math.max(left + 1, 1), limits.plugin_idle_ms_max);
    // While nobody is reached, new events are no reason to try.
    return waitFor(ms, due !== null && away > 0 ? null : place.checkpoint);
  }

  /** So long, or until the log goes beyond a position, or somebody says that it goes on. */
  async function waitFor(ms: number, position: Position | null): Promise<void> {
    // From here to the race nothing else runs, so that no end is missed.
    if (signal.aborted) return;
    const until = new AbortController();
    const end = (): void => until.abort();
    signal.addEventListener("abort", end);
    goOn = (): void => {
      away = 0;
      end();
    };
    try {
      const more = position === null ? [] : [deps.reached(position, until.signal)];
      const lost = deps.emitter.given_up?.some(until.signal);
      await Promise.race([deps.wait(ms, until.signal), ...more, ...(lost ? [lost] : [])]);
    } finally {
      goOn = () => {};
      signal.removeEventListener("abort", end);
      end();
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        await rest(await step());
      } catch (error) {
        if (signal.aborted) return;
        // The storage, or a state that cannot be read: what was delivered and not settled comes
        // once more.
        state = "interrupted";
        const reason = error instanceof Error ? error.message : String(error);
        lastError = { message: reason, at: deps.now() };
        deps.log.warn("plugin interrupted", { plugin: deps.name, reason });
        interrupted++;
        await deps.wait(retryDelay_ms(interrupted, deps.jitter()), signal);
      }
    }
  }

  deps.emitter.start?.();
  const loop = run();
  const finish = async (): Promise<void> => {
    await loop;
    await tail;
    await deps.emitter.close();
  };
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    ending.abort();
    const until = new AbortController();
    const late = (ms: number) => deps.wait(ms, until.signal);
    // What is being taken at this moment would come once more.
    await Promise.race([loop.then(() => tail), late(limits.farewell_ms)]);
    cut.abort();
    const left_ms = limits.drain_ms - limits.farewell_ms;
    await Promise.race([finish().catch(() => undefined), late(left_ms)]);
    until.abort();
  };
  return {
    inTurn,
    figures: () => ({
      ...{ state, checkpoint: place.checkpoint, ...counts },
      last_error: lastError?.message ?? null,
      last_error_at: lastError?.at ?? null,
    }),
    close: () => (closing ??= close()),
  };
}
