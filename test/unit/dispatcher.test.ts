// A plugin's loop and emitters or storages that break their word: it ends in time, goes on where it
// can, and never has two masters.

import { expect, test } from "bun:test";
import { silentLog } from "../../src/log.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { toRecord } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { startDispatcher } from "../../src/plugins/dispatcher.ts";
import { retryDeliveries } from "../../src/plugins/dispatcher-retry.ts";
import type { StepDeps, Turn } from "../../src/plugins/dispatcher-step.ts";
import type { Emitter } from "../../src/plugins/emitter.ts";
import type { Deliveries } from "../../src/storage/deliveries.ts";
import { createMemoryDeliveries } from "../../src/storage/memory-deliveries.ts";
import { createSimulatedLog, createVirtualTime } from "../support/plugin-simulation.ts";

const keyOf = (aggregate_id: string): StreamKey => ({ aggregate_type: "a", aggregate_id });

type Deliver = Emitter["deliver"];
const allTaken: Deliver = async (emissions) => ({ delivered: emissions.length, fault: null });
/** Four of them fill a step. */
const large = canonicalOf({ large: "x".repeat(limits.plugin_page_chars_max / 4 - 100) });
const refused = { message: "refused", reached: true } as const;

async function openLoop(deliver: Deliver, over: Partial<Deliveries> = {}) {
  const time = createVirtualTime();
  const log = createSimulatedLog(time.now);
  const kept = createMemoryDeliveries();
  const config = { type: "tcp", host: "x", port: 1 } as const;
  await kept.putPlugin({ enabled: true, name: "p", config }, 0);
  let closed = 0;
  const step: StepDeps = {
    name: "p",
    emitter: {
      ...{ events_max: 8, lanes: 2, deliver, check: async () => undefined },
      close: async () => void closed++,
    },
    deliveries: { ...kept, ...over },
    ...{ readLog: log.readLog, readEvent: log.readEvent, readStream: async () => [] },
    stateOf: async (event) => ({ state: log.stateAt(event, event.version), archived: false }),
    ...{ schemaOf: () => null, jsonOf: () => "{}", now: time.now, jitter: () => 0 },
    ...{ attempts_max: () => 3, dropped: async () => undefined },
  };
  const start = (changes: Partial<StepDeps> = {}) =>
    startDispatcher({
      ...{ ...step, ...changes },
      ...{ place: { checkpoint: 0, sequence: 0 }, reached: log.reached, log: silentLog },
      ...{ wait: time.wait, giveWay: time.giveWay, changed: () => undefined },
    });
  const run = (ms: number) => time.runUntil(time.now_ms() + ms);
  const entry = async () => (await kept.readPlugins())[0];
  return { time, log, kept, step, start, run, entry, closed: () => closed };
}

test("an emitter that never answers does not keep the loop from ending in time", async () => {
  const loop = await openLoop(() => new Promise(() => undefined));
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();
  await loop.run(1);
  let ended = false;
  const closing = dispatcher.close().then(() => (ended = true));

  await loop.run(limits.drain_ms - 1);
  expect(ended).toBe(false);
  await loop.run(1);
  await closing;

  expect(await loop.entry()).toMatchObject({ checkpoint: 0, pending: 0 });
});

test("what is under way when the loop ends has a moment, and is not delivered twice", async () => {
  const loop = await openLoop(async (emissions, signal) => {
    await loop.time.wait(900, signal);
    return allTaken(emissions, signal);
  });
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();
  await loop.run(100);

  const closing = dispatcher.close();
  await loop.run(5_000);
  await closing;

  expect(await loop.entry()).toMatchObject({ checkpoint: 1, sequence: 1 });
  expect(loop.closed()).toBe(1);
});

test("an interrupted delivery is no failed one", async () => {
  const loop = await openLoop(async (_emissions, signal) => {
    await loop.time.wait(60_000, signal);
    return { delivered: 0, fault: refused };
  });
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();
  await loop.run(100);

  const closing = dispatcher.close();
  await loop.run(2_000);
  await closing;

  expect(await loop.entry()).toMatchObject({ checkpoint: 0, pending: 0, dead: 0 });
});

test.each([
  ["throws", () => Promise.reject(new Error("broken"))],
  ["delivers less than all without a reason", async () => ({ delivered: 0, fault: null })],
  ["delivers less than nothing", async () => ({ delivered: -3, fault: null })],
] as const)("an emitter that %s counts as one that refuses", async (_what, deliver) => {
  const loop = await openLoop(deliver);
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();

  await loop.run(60_000);

  expect(await loop.entry()).toMatchObject({ checkpoint: 1, pending: 0, dead: 1, sequence: 0 });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("more than was given counts as all of it", async () => {
  const loop = await openLoop(async () => ({ delivered: 99, fault: null }));
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();
  await loop.run(100);
  expect(await loop.entry()).toMatchObject({ checkpoint: 1, sequence: 1 });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("what an emitter gives up afterwards is dead, and stays so until that is kept", async () => {
  let broken = true;
  const loop = await openLoop(allTaken, {
    settle: async (name, settlement) => {
      if (broken && settlement.failed.length > 0) throw new Error("the disk is full");
      await loop.kept.settle(name, settlement);
    },
  });
  loop.log.append(keyOf("1"));
  const [event] = (await loop.log.readLog({ after: 0, limit: 1 })).events;
  if (event === undefined) throw new Error("there is an event");
  let lost = [{ record: toRecord(event), message: "ten processes ended with it" }];
  const given_up: Emitter["given_up"] = {
    all: () => lost,
    some: (signal) => loop.time.wait(lost.length > 0 ? 0 : 1e9, signal),
    forget: (those) => void (lost = lost.filter((each) => !those.includes(each))),
  };
  const dispatcher = loop.start({ emitter: { ...loop.step.emitter, given_up } });
  await loop.run(10_000);
  expect(lost).toHaveLength(1);
  broken = false;
  await loop.run(70_000);

  expect(lost).toEqual([]);
  expect(await loop.entry()).toMatchObject({ checkpoint: 1, pending: 0, dead: 1 });
  const [dead] = await loop.kept.readOutbox({ plugin: "p" }, { after: null, limit: 9 });
  expect(dead).toMatchObject({
    ...{ event_id: event.event_id, position: 1, dead: true, next_attempt_at: null },
    last_error: "ten processes ended with it",
  });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("a storage that refuses interrupts the loop, which goes on when it is back", async () => {
  let broken = true;
  const arrived: number[] = [];
  const loop = await openLoop(
    async (emissions) => {
      arrived.push(...emissions.map(({ record }) => record.position));
      return { delivered: emissions.length, fault: null };
    },
    {
      settle: async (name, settlement) => {
        if (broken) throw new Error("the disk is full");
        await loop.kept.settle(name, settlement);
      },
    },
  );
  loop.log.append(keyOf("1"));
  const dispatcher = loop.start();

  await loop.run(10_000);
  expect(dispatcher.figures()).toMatchObject({
    ...{ state: "interrupted", last_error: "the disk is full", checkpoint: 0 },
  });
  broken = false;
  await loop.run(70_000);

  expect(dispatcher.figures()).toMatchObject({ state: "idle", checkpoint: 1 });
  // At 0, 1, 3, 7 and 15 s: once more each time, because nobody knows that it arrived.
  expect(arrived).toEqual([1, 1, 1, 1, 1]);
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("work in a turn and steps never overlap, and its place holds", async () => {
  let running = 0;
  let most = 0;
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    running++;
    most = Math.max(most, running);
    await loop.time.wait(50, new AbortController().signal);
    running--;
    return work();
  };
  const loop = await openLoop((emissions, signal) => alone(() => allTaken(emissions, signal)));
  const dispatcher = loop.start();
  const turns = Array.from({ length: 5 }, (_, index) => {
    loop.log.append(keyOf("1"));
    return dispatcher.inTurn((turn) =>
      alone(async () => {
        turn.place = { ...turn.place, sequence: turn.place.sequence + 10 };
        return index;
      }),
    );
  });

  await loop.run(5_000);

  expect(await Promise.all(turns)).toEqual([0, 1, 2, 3, 4]);
  expect(most).toBe(1);
  expect(dispatcher.figures()).toMatchObject({ checkpoint: 5, delivered: 5 });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
  const late = dispatcher.inTurn(async () => 1).catch((error: unknown) => error);
  expect(await late).toMatchObject({ code: "unavailable" });
});

test("a retry of what waits behind another is refused, and names the other", async () => {
  const loop = await openLoop(async () => ({ delivered: 0, fault: refused }));
  const [first, second] = [loop.log.append(keyOf("1")), loop.log.append(keyOf("1"))];
  const dispatcher = loop.start();
  await loop.run(500);
  const turn: Turn = {
    place: { checkpoint: 2, sequence: 0 },
    signal: new AbortController().signal,
    arrived: false,
  };

  const waiting = retryDeliveries(loop.step, turn, { event_id: second.event_id });
  expect(await waiting.catch((error: unknown) => error)).toMatchObject({
    ...{ code: "failed_precondition", details: { first_event_id: first.event_id } },
  });
  const tried = await retryDeliveries(loop.step, turn, { event_id: first.event_id });

  expect(tried).toMatchObject({ succeeded: 0, failed: 1 });
  const rows = await loop.kept.readOutbox({}, { after: null, limit: 9 });
  expect(rows.map(({ attempts }) => attempts)).toEqual([2, 0]);
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("a retry of all goes through every dead one, and stops where nobody is reached", async () => {
  let answer: { delivered: number; fault: { message: string; reached: boolean } | null };
  answer = { delivered: 0, fault: refused };
  const loop = await openLoop(async (emissions) =>
    answer.fault === null ? { delivered: emissions.length, fault: null } : answer,
  );
  for (let id = 0; id < 600; id++) loop.log.append(keyOf(String(id)));
  const dispatcher = loop.start();
  await loop.run(120_000);
  expect(await loop.entry()).toMatchObject({ dead: 600, pending: 0 });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
  const signal = new AbortController().signal;
  const turn: Turn = { place: { checkpoint: 600, sequence: 0 }, signal, arrived: false };

  answer = { delivered: 0, fault: { message: "nobody", reached: false } };
  const away = await retryDeliveries(loop.step, turn, {});
  expect([away.succeeded, away.failed + away.remaining]).toEqual([0, 600]);
  expect(away.failed).toBeLessThanOrEqual(loop.step.emitter.lanes);
  answer = { delivered: 0, fault: null };
  const back = await retryDeliveries(loop.step, turn, {});

  expect(back).toMatchObject({ succeeded: 600, failed: 0, remaining: 0, dropped: 0 });
  expect(turn.place.sequence).toBe(600);
  expect(await loop.entry()).toMatchObject({ dead: 0, sequence: 600 });
});

test("a retry that arrives ends the wait for a receiver that was away", async () => {
  let away = true;
  const loop = await openLoop(async (emissions, signal) =>
    away
      ? { delivered: 0, fault: { message: "nobody", reached: false } }
      : allTaken(emissions, signal),
  );
  for (let id = 0; id < 20; id++) loop.log.append(keyOf(String(id)));
  const dispatcher = loop.start();
  await loop.run(40_000);
  const dead = (await loop.entry())?.dead ?? 0;
  expect(dead).toBeGreaterThan(0);
  expect(dispatcher.figures().state).toBe("away");
  away = false;

  const retried = dispatcher.inTurn((turn) => retryDeliveries(loop.step, turn, {}));
  await loop.run(1);

  expect(await retried).toMatchObject({ succeeded: dead });
  await loop.run(1);
  expect(await loop.entry()).toMatchObject({ checkpoint: 20, dead: 0, sequence: 20 });
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});

test("large events are not read by the page to be thrown away", async () => {
  const loop = await openLoop(allTaken);
  for (let id = 0; id < 60; id++) {
    const event = loop.log.append(keyOf(String(id)));
    loop.log.events[event.position - 1] = { ...event, payload: large };
  }
  let read = 0;
  const { readLog } = loop.step;
  const counting: StepDeps["readLog"] = async (asked) => {
    const page = await readLog(asked);
    read += page.events.length;
    return page;
  };
  const dispatcher = loop.start({ readLog: counting });

  await loop.run(1_000);

  expect(await loop.entry()).toMatchObject({ checkpoint: 60, sequence: 60 });
  expect(read).toBeLessThan(2 * 60);
  const closing = dispatcher.close();
  await loop.run(10_000);
  await closing;
});
