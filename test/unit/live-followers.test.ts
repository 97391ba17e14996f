// Followers of the log: what each selects and may see, and how following ends.

import { describe, expect, test } from "bun:test";
import type { Actor } from "../../src/model/actor.ts";
import { DbxError, unauthenticated } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import {
  follow,
  openLiveLog,
  positionsOf,
  upTo,
  type Name,
  type Selected,
} from "../support/live-log.ts";
import { noted, refusalOf } from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const reader: Actor = {
  group: "nurse",
  user: "jane",
  grants: ["read"],
  scope: null,
  token_id: null,
};

/** Positions 1 to 7, again and again. */
const round: Name[] = [
  "patient/p-1/added",
  "patient/p-2/added",
  "patient/p-1/noted",
  "order/p-1/added",
  "order/o-1/noted",
  "patient/p-1/added",
  "room/r-1/noted",
];

const selections: readonly (readonly [Selected, readonly number[]])[] = [
  [{}, [1, 2, 3, 4, 5, 6, 7]],
  [{ aggregate_type: "patient" }, [1, 2, 3, 6]],
  [{ aggregate_type: "patient", aggregate_id: "p-1" }, [1, 3, 6]],
  [{ event_type: "noted" }, [3, 5, 7]],
  [{ aggregate_type: "order", event_type: "added" }, [4]],
  [{ aggregate_type: "patient", aggregate_id: "p-1", event_type: "added" }, [1, 6]],
  [{ aggregate_type: "patient", aggregate_id: "o-1" }, []],
  [{ aggregate_type: "nothing" }, []],
];

describe("a selection", () => {
  test.each(selections)("%p gives %p of each seven", async (selected, wanted) => {
    const { live, append } = openLiveLog({ events_max: 5, heartbeat_ms: 0 });
    const expected = upTo(63).filter((position) => wanted.includes(((position - 1) % 7) + 1));
    // So many lie on the disk, one is beside the tail, the rest come live.
    for (let n = 0; n < 5; n++) await append(...round);
    const follower = follow(live, { after: 0, ...selected });
    const seen: number[] = [];
    let position = 0;
    for (let n = 5; position < 63;) {
      const batch = await follower.next();
      seen.push(...positionsOf(batch));
      expect(batch?.position).toBeGreaterThanOrEqual(Math.max(position, seen.at(-1) ?? 0));
      position = batch?.position ?? NaN;
      if (n < 9) await append(...round);
      n++;
    }
    expect(seen).toEqual(expected);
  });

  test.each(selections)("%p resumes at every position without a gap", async (selected, wanted) => {
    const { live, append } = openLiveLog({ events_max: 3, heartbeat_ms: 0 });
    for (let n = 0; n < 3; n++) await append(...round);
    for (const after of [0, ...upTo(21)]) {
      const follower = follow(live, { after, ...selected });
      const seen: number[] = [];
      for (let position = after - 1; position < 21;) {
        const batch = await follower.next();
        seen.push(...positionsOf(batch));
        position = batch?.position ?? NaN;
      }
      const all = upTo(21).filter((position) => wanted.includes(((position - 1) % 7) + 1));
      expect(seen).toEqual(all.filter((position) => position > after));
    }
  });

  test("moves its position over what it passes by", async () => {
    const { live, append } = openLiveLog({ heartbeat_ms: 0 });
    await append(...round);
    const follower = follow(live, { after: 0, aggregate_type: "order" });
    expect(await follower.next()).toMatchObject({ position: 7, records: [{}, {}] });
    await append("patient/p-1/noted", "patient/p-1/noted");
    expect(await follower.next()).toEqual({ records: [], position: 9 });
  });

  test("is woken by what it selects, and by nothing else", async () => {
    const { live, append } = openLiveLog();
    const asked: string[] = [];
    const followers = selections.map(([selected], index) =>
      follow(live, selected, () => {
        asked.push(String(index));
        return reader;
      }),
    );
    await Promise.all(followers.map(({ next }) => next()));
    asked.length = 0;
    const next = followers.map((follower) => follower.next());
    await append("order/o-9/noted");
    expect(positionsOf(await next[0])).toEqual([1]);
    expect(positionsOf(await next[3])).toEqual([1]);
    expect(asked.sort()).toEqual(["0", "3"]);
    await append("patient/p-1/added");
    expect((await next[5])?.records).toHaveLength(1);
    expect(asked.sort()).toEqual(["0", "1", "2", "3", "5"]);
  });
});

describe("a sign of life", () => {
  test("comes when nothing else does, with the position of now", async () => {
    const { live, append } = openLiveLog({ heartbeat_ms: 1 });
    const follower = follow(live, { aggregate_type: "order" });
    for (const position of [0, 1, 2]) {
      expect(await follower.next()).toEqual({ records: [], position });
      await append("patient/p-1/noted");
    }
  });

  test("comes in the order of those who wait, from one timer, and to nobody who has gone", async () => {
    const { live } = openLiveLog({ heartbeat_ms: 5 });
    const followers = upTo(20).map(() => follow(live, {}));
    await Promise.all(followers.map(({ next }) => next()));
    const order: number[] = [];
    const signs = followers.map(async (follower, index) => {
      const batch = await follower.next();
      if (batch !== undefined) order.push(index);
    });
    followers[3]?.abort();
    await Promise.all(signs);
    expect(order).toEqual(
      upTo(20)
        .map((n) => n - 1)
        .filter((index) => index !== 3),
    );
  });

  test("comes to a follower who is woken again and again by what is hidden from him", async () => {
    const { live, append, hide } = openLiveLog({ heartbeat_ms: 20 });
    hide("patient", { hidden: true, hidden_fields: [] });
    const follower = follow(live, {});
    await follower.next();
    let given: unknown;
    const next = follower.next().then((batch) => (given = batch));
    let appended = 0;
    while (given === undefined) {
      await append("patient/p-1/noted");
      appended++;
    }
    const batch = await next;
    expect(batch?.records).toEqual([]);
    expect(batch?.position).toBeGreaterThan(0);
    expect(batch?.position).toBeLessThanOrEqual(appended);
  });
});

describe("what schemas hide", () => {
  const secret = { hidden: false, hidden_fields: ["name"] };

  test("is left out, from the moment on at which they hide it", async () => {
    const { live, append, hide } = openLiveLog();
    await append("patient/p-1/noted", "order/o-1/noted");
    const follower = follow(live, { after: 0 }, () => reader);
    expect(positionsOf(await follower.next())).toEqual([1, 2]);
    const next = follower.next();
    hide("patient", { hidden: true, hidden_fields: [] });
    hide("order", secret);
    await append("patient/p-1/noted", "order/o-1/noted");
    expect(await next).toMatchObject({ records: [{ position: 4, payload: "{}" }], position: 4 });
    expect(positionsOf(await follow(live, { after: 0 }, () => reader).next())).toEqual([2, 4]);
  });

  test("is given to an admin who asks, and refused to anybody else", async () => {
    const { live, append, hide } = openLiveLog();
    await append("patient/p-1/noted", "order/o-1/noted");
    hide("patient", { hidden: true, hidden_fields: [] });
    hide("order", secret);
    const asked = { after: 0, include_hidden: true };
    const shown = await follow(live, asked).next();
    expect(positionsOf(shown)).toEqual([1, 2]);
    expect(shown).toMatchObject({ records: [{}, { payload: '{"name":"order/o-1/noted"}' }] });
    const plain = await follow(live, { after: 0 }).next();
    expect(plain).toMatchObject({ records: [{ position: 2, payload: "{}" }], position: 2 });
    const refusal = await refusalOf(follow(live, asked, () => reader).next());
    expect(refusal.code).toBe("permission_denied");
  });
});

describe("an aggregate that a follower may not see", () => {
  const ward: Actor["scope"] = [{ aggregate_type: "ward" }, { aggregate_type: "room" }];
  const notThere = { aggregate_type: "patient", aggregate_id: "p-9" };
  const there = { ...notThere, aggregate_id: "p-1" };

  test.each([
    ["outside of its scope", { ...reader, scope: ward }, false],
    ["of a hidden type", reader, true],
  ])("(%s) is followed as one that is not there", async (_, actor, hidden) => {
    const { live, append, hide } = openLiveLog({ events_max: 2, heartbeat_ms: 0 });
    hide("patient", { hidden, hidden_fields: [] });
    await append("ward/w-1/added", "patient/p-1/added", "ward/w-1/added", "patient/p-1/added");
    await append("ward/w-1/added", "ward/w-1/added", "ward/w-1/added");
    for (const after of [0, 1, 2, 3, 4]) {
      const batches = [there, notThere].map((key) =>
        follow(live, { after, ...key }, () => actor).next(),
      );
      expect(await Promise.all(batches)).toEqual(
        Array.from({ length: 2 }, () => ({ records: [], position: 7 })),
      );
    }
  });

  test("wakes nobody, so that signs of life come when they would without it", async () => {
    const { live, append } = openLiveLog();
    let asked = 0;
    const actorOf = () => {
      asked++;
      return { ...reader, scope: ward };
    };
    const selected = [{}, { aggregate_type: "patient" }, there, { event_type: "added" }];
    const followers = selected.map((each) => follow(live, each, actorOf));
    await Promise.all(followers.map(({ next }) => next()));
    const next = followers.map((follower) => follower.next());
    asked = 0;
    await append("patient/p-1/added");
    await append("ward/w-1/added");
    expect(positionsOf(await next[0])).toEqual([2]);
    expect(positionsOf(await next[3])).toEqual([2]);
    expect(asked).toBe(2);
  });
});

describe("following ends", () => {
  test("with the token: no event after that is given", async () => {
    const { live, append } = openLiveLog();
    let revoked = false;
    const follower = follow(live, { after: 0 }, () => {
      if (revoked) throw unauthenticated();
      return reader;
    });
    await append("patient/p-1/noted");
    expect(positionsOf(await follower.next())).toEqual([1]);
    const next = refusalOf(follower.next());
    revoked = true;
    await append("patient/p-1/noted");
    expect((await next).code).toBe("unauthenticated");
    expect(live.figures()).toMatchObject({ followers: 0 });
  });

  test("with the token, at the next sign of life where nothing happens", async () => {
    const { live } = openLiveLog({ heartbeat_ms: 1 });
    let revoked = false;
    const follower = follow(live, {}, () => {
      if (revoked) throw unauthenticated();
      return reader;
    });
    await follower.next();
    revoked = true;
    expect((await refusalOf(follower.next())).code).toBe("unauthenticated");
  });

  test("with dbx, for those who wait, those who are behind and those who come", async () => {
    const { live, append } = openLiveLog({ events_max: 2 });
    await append(...round);
    const waits = follow(live, {});
    await waits.next();
    const [waiting, behind] = [waits.next(), follow(live, { after: 0 }).next()].map(refusalOf);
    live.close();
    for (const refusal of [waiting, behind, refusalOf(follow(live, {}).next())]) {
      const error = await refusal;
      expect([error?.code, error?.message]).toEqual(["unavailable", "dbx is stopping"]);
    }
    expect(live.figures()).toMatchObject({ followers: 0 });
  });

  test("with dbx, for those whose turn to read comes when the files are closed", async () => {
    using dir = tempDir();
    const first = await openStore(dir.path);
    await first.dbx.appendEvent(root, noted("p-1"));
    await first.close();
    const store = await openStore(dir.path);
    const key = { aggregate_type: "patient", aggregate_id: "p-1" };
    const reading = upTo(300).map((n) => {
      const follower = follow(store.live, { after: 0, ...(n % 2 === 0 ? key : {}) });
      return follower.next().then(
        () => "given",
        (error: unknown) => (error instanceof DbxError ? error.code : String(error)),
      );
    });
    const aborted = upTo(50).map(() => follow(store.live, { after: 0 }));
    const nothing = aborted.map(({ next }) => next());
    for (const { abort } of aborted) abort();
    await store.close();
    const ends = new Set(await Promise.all(reading));
    expect(ends).toContain("unavailable");
    expect([...ends].filter((end) => end !== "given")).toEqual(["unavailable"]);
    expect(new Set(await Promise.all(nothing))).toEqual(new Set([undefined]));
  });

  test("when it is aborted: while it waits, behind the tail, between two batches, before it begins", async () => {
    const { live, append } = openLiveLog({ events_max: 2 });
    await append(...round);
    const [waits, behind, between, before] = [{}, { after: 0 }, { after: 6 }, {}].map((selected) =>
      follow(live, selected),
    );
    await Promise.all([waits?.next(), between?.next()]);
    const pending = [waits?.next(), behind?.next()];
    for (const follower of [waits, behind, between, before]) follower?.abort();
    expect(live.figures()).toMatchObject({ followers: 0 });
    const ended = await Promise.all([...pending, between?.next(), before?.next()]);
    expect(ended.filter((batch) => batch !== undefined)).toEqual([]);
  });

  test("when its consumer stops iterating", async () => {
    const { live, append } = openLiveLog();
    await append(...round);
    const { signal } = new AbortController();
    for await (const batch of live.followLog(() => reader, { after: 0 }, signal)) {
      expect(batch.position).toBe(7);
      expect(live.figures()).toMatchObject({ followers: 1 });
      break;
    }
    expect(live.figures()).toMatchObject({ followers: 0 });
  });
});

test("so many may follow, and no more until one of them has gone", async () => {
  const { live } = openLiveLog({ followers_max: 3 });
  const followers = upTo(3).map(() => follow(live, {}));
  await Promise.all(followers.map(({ next }) => next()));
  const refusal = await refusalOf(follow(live, {}).next());
  expect([refusal.code, refusal.details["limit"]]).toEqual(["overloaded", 3]);
  followers[1]?.abort();
  const next = follow(live, {});
  expect(await next.next()).toEqual({ records: [], position: 0 });
  expect(live.figures()).toMatchObject({ followers: 3 });
});

test("appends are answered before followers go on, of whom so many do in one turn", async () => {
  const count = 3 * limits.live_wakes_max + 1;
  const { live, append } = openLiveLog({ followers_max: count });
  const followers = upTo(count).map(() => follow(live, {}));
  await Promise.all(followers.map(({ next }) => next()));
  let woken = 0;
  const all = Promise.all(followers.map(({ next }) => next().then(() => woken++)));
  await append("patient/p-1/noted");
  expect(woken).toBe(0);
  const turns: number[] = [];
  while (woken < count) {
    const before = woken;
    await new Promise<void>((done) => setImmediate(done));
    turns.push(woken - before);
  }
  await all;
  expect(Math.max(...turns)).toBe(limits.live_wakes_max);
  expect(turns.at(-1)).toBe(1);
});
