// Following the log: what a follower is given, from the tail and from the storage, and where it is
// then.

import { describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { refusalOf } from "../support/staged.ts";
import { follow, openLiveLog, positionsOf, upTo, type Name } from "../support/live-log.ts";

const noted = (count: number): Name[] => upTo(count).map((n): Name => `patient/p-${n % 3}/noted`);

describe("the first batch", () => {
  test("comes at once and is empty where nothing is there, with the position it begins at", async () => {
    const log = openLiveLog();
    expect(await follow(log.live, {}).next()).toEqual({ records: [], position: 0 });
    await log.append(...noted(3));
    expect(await follow(log.live, {}).next()).toEqual({ records: [], position: 3 });
    expect(await follow(log.live, { after: 3 }).next()).toEqual({ records: [], position: 3 });
  });

  test("begins where the log ended when following was asked for", async () => {
    const log = openLiveLog();
    const follower = follow(log.live, {});
    await log.append(...noted(1));
    expect(positionsOf(await follower.next())).toEqual([1]);
  });

  test("is the events after the position where some are there", async () => {
    const log = openLiveLog();
    await log.append(...noted(5));
    const batch = await follow(log.live, { after: 2 }).next();
    expect(batch?.position).toBe(5);
    expect(positionsOf(batch)).toEqual([3, 4, 5]);
    expect(batch?.records[0]).toEqual(
      (await log.storage.readLog({ after: 2, limit: 1 })).map(({ aggregate_id, version, hash }) =>
        expect.objectContaining({ aggregate_id, version, hash: hash.toHex() }),
      )[0],
    );
  });
});

describe("a follower", () => {
  test("waits for what comes and gets it once, in order", async () => {
    const { live, append } = openLiveLog();
    const follower = follow(live, { after: 0 });
    await follower.next();
    for (const last of upTo(20)) {
      const next = follower.next();
      await append(...noted(1));
      expect(positionsOf(await next)).toEqual([last]);
    }
  });

  test("that appended can follow from its own position at once", async () => {
    const { live, append } = openLiveLog();
    const [event] = await append(...noted(1));
    const after = event?.position ?? NaN;
    expect(await follow(live, { after }).next()).toEqual({ records: [], position: 1 });
  });

  test("behind the tail reads from the storage, then goes on from the tail", async () => {
    const log = openLiveLog({ events_max: 8 });
    await log.append(...noted(50));
    const follower = follow(log.live, { after: 0 });
    expect(await follower.upTo(50)).toEqual(upTo(50));
    const before = log.reads();
    expect(before).toBeGreaterThan(1);
    const next = follower.next();
    await log.append(...noted(8));
    expect(positionsOf(await next)).toEqual([51, 52, 53, 54, 55, 56, 57, 58]);
    expect(log.reads()).toBe(before);
  });

  test("that catches up while others append sees everything once, in order", async () => {
    const { live, append } = openLiveLog({ events_max: 8 });
    await append(...noted(100));
    const follower = follow(live, { after: 0 });
    const writing = (async () => {
      for (let n = 0; n < 300; n++) await append(...noted(n % 4 === 0 ? 2 : 1));
    })();
    const [seen] = await Promise.all([follower.upTo(475), writing]);
    expect(seen).toEqual(upTo(475));
  });

  test("that is slow is overtaken by the tail, and misses nothing", async () => {
    const { live, append } = openLiveLog({ events_max: 8 });
    const follower = follow(live, { after: 0 });
    await follower.next();
    const next = follower.next();
    await append(...noted(2));
    expect(positionsOf(await next)).toEqual([1, 2]);
    for (let n = 0; n < 20; n++) await append(...noted(3));
    expect(await follower.upTo(62)).toEqual(upTo(62).slice(2));
  });

  test("gets events that are too large for the tail", async () => {
    const log = openLiveLog({ chars_max: 100 });
    const follower = follow(log.live, { after: 0 });
    await follower.next();
    const next = follower.next();
    await log.appendLarge(5_000);
    expect(positionsOf(await next)).toEqual([1]);
    expect(log.live.figures()).toMatchObject({ live_tail_events: 0, live_tail_chars: 0 });
    await log.append(...noted(1));
    expect(positionsOf(await follower.next())).toEqual([2]);
    expect(log.live.figures()).toMatchObject({ live_tail_events: 1 });
  });

  test("sees nothing before the writer has said that it is durable", async () => {
    const { live, storage, append } = openLiveLog({ events_max: 0 });
    await append(...noted(2));
    const read = storage.readLog;
    // The storage knows more than the writer has told: as when a commit is being written.
    const early = { ...(await read({ after: 1, limit: 1 }))[0], position: 3 };
    storage.readLog = async (page) => [...(await read(page)), early as never];
    expect(await follow(live, { after: 0 }).next()).toMatchObject({
      position: 2,
      records: [{ position: 1 }, { position: 2 }],
    });
  });

  test("is not stopped by a gap in what the writer tells: the storage has it", async () => {
    const told = openLiveLog();
    await told.append(...noted(2));
    const follower = follow(told.live, { after: 0 });
    await follower.upTo(2);
    const next = follower.next();
    const other = openLiveLog();
    const events = await other.append(...noted(6));
    told.storage.readLog = other.storage.readLog;
    told.live.advance(events.slice(4));
    expect(positionsOf(await next)).toEqual([3, 4, 5, 6]);
    told.live.advance(events.slice(3));
    expect(told.live.figures()).toMatchObject({ live_tail_events: 0 });
  });
});

describe("a batch", () => {
  test("has a bounded number of rows", async () => {
    const { live, append } = openLiveLog({ events_max: 1_000, chars_max: 1e9 });
    await append(...noted(900));
    const follower = follow(live, { after: 0 });
    const sizes: number[] = [];
    for (let seen = 0; seen < 900; seen += sizes.at(-1) ?? 0) {
      const batch = await follower.next();
      sizes.push(batch?.records.length ?? 0);
      expect(batch?.position).toBe(seen + (sizes.at(-1) ?? 0));
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(limits.live_batch_rows);
    expect(sizes.length).toBeLessThan(10);
  });

  test("ends early where payloads are large, but one always fits", async () => {
    const { live, appendLarge } = openLiveLog();
    const third = Math.floor(limits.live_batch_chars_max / 3);
    for (const chars of [third, third, third, 2 * limits.live_batch_chars_max, third, 10])
      await appendLarge(chars);
    const follower = follow(live, { after: 0 });
    const batches = [];
    while ((batches.at(-1)?.at(-1) ?? 0) < 6) batches.push(positionsOf(await follower.next()));
    // The quotes of each text count as well.
    expect(batches).toEqual([[1, 2], [3], [4], [5, 6]]);
  });

  test("shares its records with the batches of others", async () => {
    const { live, append } = openLiveLog();
    await append(...noted(1));
    const [one, other] = await Promise.all([1, 2].map(() => follow(live, { after: 0 }).next()));
    expect(one?.records[0]).toBe(other?.records[0]);
  });
});

describe("what cannot be followed", () => {
  test("a position that the log has not reached", async () => {
    const { live, append } = openLiveLog();
    await append(...noted(2));
    const error = await refusalOf(follow(live, { after: 3 }).next());
    expect(error.code).toBe("failed_precondition");
    expect(error.details).toEqual({ after: 3, position: 2 });
    expect(error.message).toContain("has not reached 3");
    expect(live.figures()).toMatchObject({ followers: 0 });
  });

  test("an aggregate without its type", async () => {
    const { live } = openLiveLog();
    const error = await refusalOf(follow(live, { aggregate_id: "p-1" }).next());
    expect([error.code, error.details["path"]]).toEqual(["invalid_argument", "/aggregate_id"]);
  });
});
