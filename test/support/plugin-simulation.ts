// A plugin's loop in a world of its own: virtual time, a log in memory, an honest emitter that
// fails as it is told, and a process that may die between any two steps. Everything follows from a
// seed.

import { emptyState, erasedType, fold, type State } from "../../src/model/aggregate.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { withoutBody, type CommittedEvent } from "../../src/model/event.ts";
import { laterBy } from "../../src/model/instant.ts";
import { keyText, type Position, type StreamKey, type Version } from "../../src/model/stream.ts";
import { silentLog } from "../../src/log.ts";
import { startDispatcher, type Dispatcher } from "../../src/plugins/dispatcher.ts";
import { createStates } from "../../src/plugins/dispatcher-states.ts";
import type { Emission, Emitter, Fault } from "../../src/plugins/emitter.ts";
import type { Deliveries } from "../../src/storage/deliveries.ts";
import { createMemoryDeliveries } from "../../src/storage/memory-deliveries.ts";

/** mulberry32: small, and the same everywhere. */
export function diceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

const begin = "2025-01-01T00:00:00.000000Z";

/** Timers fire when they are told to, in the order of their times. */
export function createVirtualTime() {
  let now_ms = 0;
  let order = 0;
  const timers = new Set<{ readonly at_ms: number; readonly order: number; fire: () => void }>();
  /** Those who have given way and go on in the next turn. */
  let giving = 0;
  /** Until nothing runs any more without a timer. */
  const settled = async (): Promise<void> => {
    do await nextTurn();
    while (giving > 0);
  };
  return {
    giveWay: async (): Promise<void> => {
      giving++;
      await nextTurn();
      giving--;
    },
    now: () => laterBy(begin, now_ms),
    now_ms: () => now_ms,
    wait: (ms: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const end = (): void => {
          timers.delete(timer);
          signal.removeEventListener("abort", end);
          resolve();
        };
        const timer = { at_ms: now_ms + ms, order: order++, fire: end };
        timers.add(timer);
        signal.addEventListener("abort", end);
      }),
    /** Up to a moment, with everything that happens on the way. */
    async runUntil(end_ms: number): Promise<void> {
      for (;;) {
        await settled();
        const next = [...timers].sort((a, b) => a.at_ms - b.at_ms || a.order - b.order)[0];
        if (next === undefined || next.at_ms > end_ms) break;
        now_ms = Math.max(now_ms, next.at_ms);
        next.fire();
      }
      now_ms = Math.max(now_ms, end_ms);
    },
    timers: () => timers.size,
  };
}

/** What the next deliveries meet. */
export interface Weather {
  /** Each from 0 to 1: the share of calls. */
  readonly refused: number;
  readonly away: number;
  readonly hangs: number;
  readonly slow: number;
}

export const fair: Weather = { refused: 0, away: 0, hangs: 0, slow: 0 };

export interface WorldOptions {
  readonly seed: number;
  readonly lanes: number;
  readonly events_max: number;
  readonly attempts_max: number;
}

export type World = Awaited<ReturnType<typeof createWorld>>;

export async function createWorld(options: WorldOptions) {
  const dice = diceOf(options.seed);
  const time = createVirtualTime();
  const log = createSimulatedLog(time.now);
  const kept = createMemoryDeliveries();
  const plugin = { enabled: true, name: "p", config: { type: "tcp", host: "x", port: 1 } } as const;
  await kept.putPlugin(plugin, 0);
  const world = {
    ...{ dice, time, log, kept, weather: fair },
    /** Aggregates that are always refused, by `keyText`. */
    poison: new Set<string>(),
    /** What arrived, in its order: what a receiver would have. */
    arrived: [] as { position: Position; sequence: number; at_ms: number }[],
    there: new Set<Position>(),
    faults: [] as string[],
    calls: { running_max: 0, events_max: 0 },
    crashes: 0,
  };
  const gone: (Promise<void> | undefined)[] = [];
  let life: { dispatcher: Dispatcher; die: () => void } | null = null;

  async function start(): Promise<void> {
    const [entry] = await kept.readPlugins();
    if (entry === undefined) throw new Error("the plugin is gone");
    const mortal = mortalOf(kept);
    const { checkpoint, sequence } = entry;
    const dispatcher = startDispatcher({
      ...{ name: "p", place: { checkpoint, sequence }, deliveries: mortal.deliveries },
      emitter: emitterOf(world, options, mortal.isDead),
      ...{ readLog: log.readLog, readEvent: log.readEvent, readStream: async () => [] },
      reached: log.reached,
      stateOf: createStates({
        stateAt: async (key, version) => ({ state: log.stateAt(key, version), archived: false }),
        isArchived: async () => false,
        ...{ states_max: 3, chars_max: 1_000 },
      }),
      schemaOf: () => null,
      jsonOf: ({ position }) => String(position),
      ...{ now: time.now, jitter: dice, attempts_max: () => options.attempts_max },
      ...{ wait: time.wait, giveWay: time.giveWay, log: silentLog, changed: () => undefined },
      dropped: async () => undefined,
    });
    life = { dispatcher, die: mortal.die };
  }

  /** `settle` of a process that has died does nothing, or was its last act. */
  async function crash(): Promise<void> {
    const ended = life;
    life = null;
    ended?.die();
    world.crashes++;
    // What is left of it ends in its own time, and changes nothing any more.
    gone.push(ended?.dispatcher.close());
    await start();
  }

  async function restart(): Promise<void> {
    const ended = life;
    life = null;
    const closed = ended?.dispatcher.close();
    await time.runUntil(time.now_ms() + 10_000);
    await closed;
    await start();
  }

  await start();
  return Object.assign(world, {
    crash,
    restart,
    dispatcher: () => life?.dispatcher,
    close: async () => {
      const closed = life?.dispatcher.close();
      await time.runUntil(time.now_ms() + 10_000);
      await Promise.all([...gone, closed]);
    },
  });
}

/** Deliveries that a process sees: once it is dead, it changes nothing any more. */
function mortalOf(kept: Deliveries) {
  let dead = false;
  const alive = <T>(work: () => Promise<T>): Promise<T> =>
    dead ? Promise.reject(new Error("this process has died")) : work();
  const deliveries: Deliveries = {
    ...kept,
    settle: (name, settlement) => alive(() => kept.settle(name, settlement)),
    dropStream: (key, asked) => alive(() => kept.dropStream(key, asked)),
  };
  return { deliveries, isDead: () => dead, die: () => void (dead = true) };
}

export function createSimulatedLog(now: () => string) {
  const events: CommittedEvent[] = [];
  /** Positions of each aggregate, by `keyText`. */
  const lanes = new Map<string, Position[]>();
  const waiting = new Set<() => void>();
  const digest = new Uint8Array(32);

  const append = (key: StreamKey, event_type = "noted"): CommittedEvent => {
    const position = events.length + 1;
    const lane = lanes.get(keyText(key)) ?? [];
    lanes.set(keyText(key), lane);
    const version = lane.push(position);
    const event: CommittedEvent = {
      ...key,
      ...{ position, version, event_type, created_at: now(), issued_by: null, note: null },
      event_id: `00000000-0000-4000-8000-${String(position).padStart(12, "0")}`,
      payload: canonicalOf({ [`m${version % 3}`]: position }),
      ...{ salt: new Uint8Array(16), content_digest: digest, hash: digest, merkle_root: digest },
    };
    events.push(event);
    for (const wake of waiting) wake();
    return event;
  };

  return {
    events,
    lanes,
    append,
    erase(key: StreamKey): void {
      for (const [index, event] of events.entries())
        if (keyText(event) === keyText(key)) events[index] = withoutBody(event);
      append(key, erasedType);
    },
    readLog: async ({ after, limit }: { after: Position; limit: number }) => ({
      events: events.slice(after, after + limit),
      end: Math.max(after, events.length),
    }),
    readEvent: async (position: Position) => events[position - 1],
    reached: (position: Position, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        if (signal.aborted || events.length > position) return resolve();
        const end = (): void => {
          waiting.delete(end);
          signal.removeEventListener("abort", end);
          resolve();
        };
        waiting.add(end);
        signal.addEventListener("abort", end);
      }),
    stateAt(key: StreamKey, version: Version): State {
      const positions = lanes.get(keyText(key))?.slice(0, version) ?? [];
      const before = positions.flatMap((position) => events[position - 1] ?? []);
      if (before.at(-1)?.erased === true) throw new Error("erased");
      return before.reduce((state, event) => fold(state, event), emptyState);
    },
  };
}

/** Takes events as its weather is, within its time limit; and watches the promises made to it. */
function emitterOf(
  world: Pick<
    World,
    "dice" | "time" | "weather" | "arrived" | "there" | "faults" | "calls" | "poison"
  > & {
    readonly kept: Deliveries;
    readonly log: ReturnType<typeof createSimulatedLog>;
  },
  { lanes, events_max }: WorldOptions,
  isDead: () => boolean,
): Emitter {
  const { dice, time, calls, faults } = world;
  /** Of this process: those that died have let go of theirs. */
  let running = 0;
  const refusal = (message: string, reached: boolean): Fault => ({ message, reached });

  async function take(emission: Emission): Promise<Fault | null> {
    const { record } = emission;
    const text = keyText(record);
    if (dice() < world.weather.refused || world.poison.has(text)) return refusal("refused", true);
    if (record.metadata.erased === true) faults.push(`${record.position} is erased and was sent`);
    if (dice() < 0.3) {
      const found = await emission.state().catch(() => null);
      // Erased while it was on its way.
      if (found === null) return refusal("no state", true);
      const isErased = world.log.events[record.position - 1]?.erased === true;
      const wanted = isErased ? found.state : world.log.stateAt(record, record.version);
      if (found.state !== wanted) faults.push(`${record.position} came with ${found.state}`);
    }
    await requireOrder(world, record);
    const { position } = record;
    world.arrived.push({ position, sequence: emission.sequence, at_ms: time.now_ms() });
    return null;
  }

  return {
    ...{ lanes, events_max },
    check: async () => undefined,
    close: async () => undefined,
    deliver: async (emissions, signal) => {
      // A dead process sends nothing.
      if (isDead()) return { delivered: 0, fault: refusal("dead", true) };
      running++;
      calls.running_max = Math.max(calls.running_max, running);
      calls.events_max = Math.max(calls.events_max, emissions.length);
      try {
        if (dice() < world.weather.hangs) {
          await time.wait(5_000, signal);
          return { delivered: 0, fault: refusal("no answer within 5 s", false) };
        }
        if (dice() < world.weather.away) return { delivered: 0, fault: refusal("nobody", false) };
        for (const [index, emission] of emissions.entries()) {
          if (dice() < world.weather.slow) await time.wait(Math.floor(dice() * 900), signal);
          if (signal.aborted || isDead()) {
            return { delivered: index, fault: refusal("stopped", true) };
          }
          const fault = await take(emission);
          if (fault !== null) return { delivered: index, fault };
        }
        return { delivered: emissions.length, fault: null };
      } finally {
        running--;
      }
    },
  };
}

/** Whatever comes before an event in its aggregate has arrived, is dead, or is erased. */
async function requireOrder(
  { there, faults, kept, log }: Pick<World, "there" | "faults" | "kept" | "log">,
  record: Emission["record"],
): Promise<void> {
  if (there.has(record.position)) return;
  there.add(record.position);
  const lane = log.lanes.get(keyText(record)) ?? [];
  // What is given stays given, but for dead ones: those are asked for anew.
  for (const position of lane) {
    if (position >= record.position) return;
    const event = log.events[position - 1];
    if (event === undefined || event.erased === true || there.has(position)) continue;
    const { event_id } = event;
    const dead = await kept.readOutbox({ event_id, dead: true }, { after: null, limit: 1 });
    if (dead.length > 0) continue;
    faults.push(`${record.position} arrived before ${position} of its aggregate`);
  }
}
