// What every implementation of the storage port must do, whatever is underneath. Ten lines per
// implementation call it; what only one of them can do is tested beside that one.

import { describe, expect, test } from "bun:test";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { rootOf } from "../../src/model/merkle.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import type { Storage } from "../../src/storage/storage.ts";
import {
  append,
  change,
  context,
  event,
  readAll,
  recompute,
  transaction,
} from "../support/storage.ts";
import { changes, type Check, type Subject } from "./storage-changes.ts";

const jane: StreamKey = { aggregate_type: "patient", aggregate_id: "p-001" };
const john: StreamKey = { aggregate_type: "patient", aggregate_id: "p-002" };

const other: StreamKey = { aggregate_type: "é", aggregate_id: "ü😀" };
const third: StreamKey = { aggregate_type: "patient", aggregate_id: "p-003" };

export function storageConformance(
  name: string,
  run: (use: (subject: Subject) => Promise<void>) => Promise<void>,
): void {
  const check = (title: string, use: (subject: Subject) => Promise<void>) =>
    test(title, () => run(use));
  describe(`storage: ${name}`, () => {
    appends(check);
    refusals(check);
    order(check);
    reads(check);
    tokens(check);
    changes(check);
    restart(check);
  });
}

function appends(check: Check): void {
  check("an empty storage has no event, no head and the empty root", async ({ storage }) => {
    expect(await readAll(storage)).toEqual([]);
    expect(await storage.readHead(jane)).toBeUndefined();
    const log = await storage.readLogHead();
    expect(log.streams).toBe(0);
    expect(rootOf(log.frontier).toHex()).toStartWith("e3b0c442");
    expect(await recompute(storage)).toEqual([]);
  });

  check("an appended event is read back as it was answered", async ({ storage }) => {
    const issued_by = { group: "admin", user: "jane" };
    const payload = canonicalOf({ name: "Ünïcødé 😀", n: 1, list: [1, { b: null }] });
    const asked = event(jane, { payload, note: "a note \u0000 with a zero" });

    const committed = await append(storage, [transaction([asked], { issued_by })]);

    const [outcome] = committed.outcomes;
    if (outcome?.kind !== "appended") throw new Error("not appended");
    const [first] = outcome.events;
    expect(committed.position).toBe(1);
    expect(first).toMatchObject({ ...jane, position: 1, version: 1, payload, issued_by });
    const [stored] = await storage.readLog({ after: 0, limit: 10 });
    expect(stored).toEqual(first);
    expect(stored?.salt).toEqual(asked.salt);
    expect(await storage.readStream(jane, { after: 0, limit: 10 })).toEqual([...outcome.events]);
  });

  check(
    "positions and versions grow without gaps over streams and commits",
    async ({ storage }) => {
      await append(storage, [transaction([event(jane), event(john), event(jane)])]);
      await append(storage, [transaction([event(john)]), transaction([event(jane)])]);

      const events = await readAll(storage);

      expect(events.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
      expect(events.map(({ version }) => version)).toEqual([1, 1, 2, 2, 3]);
      expect((await storage.readHead(jane))?.version).toBe(3);
      expect((await storage.readLogHead()).streams).toBe(2);
      expect(await recompute(storage)).toEqual([]);
    },
  );

  check("a stream can be created empty, once", async ({ storage }) => {
    expect(await storage.createStream(jane, change)).toBe(true);
    expect(await storage.createStream(jane, change)).toBe(false);

    expect(await storage.readHead(jane)).toMatchObject({ ...jane, version: 0, state: "{}" });
    await append(storage, [transaction([event(jane, { expected_version: "no_stream" })])]);
    expect((await storage.readHead(jane))?.version).toBe(1);
    expect(await storage.createStream(jane, change)).toBe(false);
    expect((await storage.readLogHead()).streams).toBe(1);
  });

  check("the log's keys tell which streams there are, in any order", async ({ storage }) => {
    const keysOf = async () => (await storage.readLogHead()).keys.toHex();
    expect(await keysOf()).toBe("00".repeat(32));

    await storage.createStream(jane, change);
    expect(await keysOf()).toBe(xorOf("patient\u0000p-001"));
    await append(storage, [transaction([event(john), event(jane), event(other), event(john)])]);
    await storage.createStream(john, change);
    await append(storage, [transaction([event(third, { expected_version: 7 }), event(jane)])]);

    expect(await keysOf()).toBe(xorOf("é\u0000ü😀", "patient\u0000p-002", "patient\u0000p-001"));
    expect(await recompute(storage)).toEqual([]);
  });

  check("a snapshot is kept with the event that made it due", async ({ storage }) => {
    const planContext = { ...context, snapshotThresholdOf: () => 2 };
    for (let index = 0; index < 5; index++) {
      const payload = canonicalOf({ [`k${index}`]: index });
      await append(storage, [transaction([event(jane, { payload })])], planContext);
    }

    const snapshots = await storage.readSnapshots(jane, { after: 0, limit: 10 });

    expect(snapshots.map(({ version }) => version)).toEqual([2, 4]);
    const [, fourth] = await readAll(storage).then((events) => [events[1], events[3]]);
    expect(snapshots[1]?.merkle_root).toEqual(fourth?.merkle_root ?? new Uint8Array());
    expect(snapshots[0]?.state).toBe(canonicalOf({ k0: "0", k1: "1" }));
    expect(await storage.readSnapshots(jane, { after: 2, limit: 10 })).toHaveLength(1);
    expect(await storage.readSnapshots(jane, { after: 0, limit: 1 })).toHaveLength(1);
    expect(await storage.readSnapshots(john, { after: 0, limit: 10 })).toEqual([]);
  });
}

/** The XOR of the SHA-256 of each text, in hexadecimal, by other means than the model's. */
function xorOf(...texts: readonly string[]): string {
  const digests = texts.map((text) => BigInt(`0x${Bun.SHA256.hash(text, "hex")}`));
  const xor = digests.reduce((left, right) => left ^ right, 0n);
  return xor.toString(16).padStart(64, "0");
}

function refusals(check: Check): void {
  check("a refused transaction leaves no trace, and its neighbours stay", async ({ storage }) => {
    const conflict = transaction([event(jane), event(john, { expected_version: 7 })]);

    const { outcomes, position } = await append(storage, [
      transaction([event(jane)]),
      conflict,
      transaction([event(jane, { expected_version: 1 })]),
    ]);

    expect(outcomes.map(({ kind }) => kind)).toEqual(["appended", "refused", "appended"]);
    expect(position).toBe(2);
    expect(await storage.readHead(john)).toBeUndefined();
    expect((await storage.readHead(jane))?.version).toBe(2);
    expect(await recompute(storage)).toEqual([]);
  });

  check("a commit in which everything is refused writes nothing", async ({ storage }) => {
    const refused = [transaction([event(jane, { expected_version: "stream_exists" })])];

    const { outcomes, position } = await append(storage, refused);

    expect(outcomes[0]).toMatchObject({ kind: "refused", error: { code: "version_conflict" } });
    expect(position).toBe(0);
    expect((await storage.readLogHead()).streams).toBe(0);
  });

  check("a plan that throws writes nothing and harms nothing", async ({ storage }) => {
    await append(storage, [transaction([event(jane)])]);
    const attempt = storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, () => {
      throw new DbxError("internal", "planned to fail");
    });

    await expect(attempt).rejects.toThrow("planned to fail");
    await append(storage, [transaction([event(jane, { expected_version: 1 })])]);
    expect((await readAll(storage)).length).toBe(2);
  });

  check("a known event id is answered with the first event", async ({ storage }) => {
    const asked = event(jane, { client_id: true });
    const first = await append(storage, [transaction([asked])]);

    const again = await append(storage, [transaction([{ ...asked, salt: new Uint8Array(16) }])]);
    const other = await append(storage, [transaction([{ ...asked, event_type: "changed" }])]);

    const [appended] = first.outcomes;
    if (appended?.kind !== "appended") throw new Error("not appended");
    expect(again.outcomes).toEqual([{ kind: "repeated", events: appended.events }]);
    expect(again.position).toBe(1);
    expect(other.outcomes[0]).toMatchObject({ kind: "refused", error: { code: "already_exists" } });
    expect(await readAll(storage)).toHaveLength(1);
  });

  check("a plan that does not continue the log is refused whole", async ({ storage }) => {
    await append(storage, [transaction([event(jane)])]);
    const [first] = await readAll(storage);
    if (first === undefined) throw new Error("nothing there");

    const attempt = storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, (known) => ({
      outcomes: [{ kind: "appended", events: [first] }],
      heads: [...known.heads.values()],
      snapshots: [],
      token_uses: [],
      log: known.log,
    }));

    await expect(attempt).rejects.toThrow("assertion failed");
    expect(await recompute(storage)).toEqual([]);
  });
}

function order(check: Check): void {
  check("commits are seen in the order of the calls, without waiting", async ({ storage }) => {
    const id = Bun.randomUUIDv7();
    const asked = event(john, { event_id: id, client_id: true });

    const all = await Promise.all([
      append(storage, [transaction([event(jane)])]),
      append(storage, [transaction([event(jane, { expected_version: 1 })])]),
      append(storage, [transaction([event(jane, { expected_version: 1 })])]),
      append(storage, [transaction([asked])]),
      append(storage, [transaction([asked])]),
    ]);

    expect(all.map(({ outcomes }) => outcomes[0]?.kind)).toEqual([
      "appended",
      "appended",
      "refused",
      "appended",
      "repeated",
    ]);
    expect(all.map(({ position }) => position)).toEqual([1, 2, 2, 3, 3]);
    expect(await recompute(storage)).toEqual([]);
  });

  check("creating and appending at the same time agree", async ({ storage }) => {
    const [first, second, appended, third] = await Promise.all([
      storage.createStream(jane, change),
      storage.createStream(jane, change),
      append(storage, [transaction([event(jane, { expected_version: "no_stream" })])]),
      storage.createStream(jane, change),
    ]);

    expect([first, second, third]).toEqual([true, false, false]);
    expect(appended.outcomes[0]?.kind).toBe("appended");
    expect((await storage.readLogHead()).streams).toBe(1);
  });
}

function reads(check: Check): void {
  check("pages are bounded and continue after the last row", async ({ storage }) => {
    await append(storage, [transaction(Array.from({ length: 25 }, () => event(jane)))]);

    const log = await storage.readLog({ after: 20, limit: 3 });
    const stream = await storage.readStream(jane, { after: 20, limit: 100 });

    expect(log.map(({ position }) => position)).toEqual([21, 22, 23]);
    expect(stream.map(({ version }) => version)).toEqual([21, 22, 23, 24, 25]);
    expect(await storage.readLog({ after: 25, limit: 3 })).toEqual([]);
    expect(await storage.readLog({ after: 0, limit: 0 })).toEqual([]);
    expect(await storage.readStream(john, { after: 0, limit: 3 })).toEqual([]);
  });

  check("leaves are the hashes of the log", async ({ storage }) => {
    await append(storage, [
      transaction(Array.from({ length: 9 }, () => [event(jane), event(john)]).flat()),
    ]);
    const change = { at: "2025-01-01T00:00:00.000000Z", issued_by: null, comment: null };
    await storage.archiveStream(jane, change);
    const log = await readAll(storage);

    const leaves = log.map(({ position, hash }) => ({ position, hash }));
    expect(await storage.readLeaves({ after: 0, limit: 100 })).toEqual(leaves);
    expect(await storage.readLeaves({ after: 3, limit: 4 })).toEqual(leaves.slice(3, 7));
    expect(await storage.readLeaves({ after: 18, limit: 4 })).toEqual([]);
    expect(await storage.readLeaves({ after: 0, limit: 0 })).toEqual([]);
  });

  check("a long stream reads from any version to any other", async ({ storage }) => {
    // Sizes on both sides of 64 and its multiples, in one commit and in many.
    for (const size of [1, 62, 1, 1, 64, 200, 3]) {
      const events = Array.from({ length: size }, () => [event(jane), event(john)]).flat();
      await append(storage, [transaction(events)]);
    }
    const all = (await readAll(storage)).filter((each) => each.aggregate_id === "p-001");
    expect(all.length).toBe(332);

    for (const after of [0, 1, 62, 63, 64, 65, 127, 128, 191, 331, 332, 400]) {
      for (const limit of [1, 63, 64, 65, 1000]) {
        const rows = await storage.readStream(jane, { after, limit });
        expect(rows).toEqual(all.slice(after, after + limit));
      }
    }
    expect(await recompute(storage)).toEqual([]);
  });

  check("heads come by type, then id, as UTF-8 bytes", async ({ storage }) => {
    const ids = ["a", "Z", "é", "\u{1f600}", "\uff5e", "aa", "10", "9"];
    const keys = ids.flatMap((aggregate_id) => [
      { aggregate_type: "b", aggregate_id },
      { aggregate_type: "a", aggregate_id },
    ]);
    await append(storage, [transaction(keys.map((key) => event(key)))]);

    const heads = await storage.readHeads({
      aggregate_type: null,
      after: null,
      skip: 0,
      limit: 100,
    });

    const sorted = ids.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
    expect(heads.map((head) => head.aggregate_type + head.aggregate_id)).toEqual([
      ...sorted.map((id) => `a${id}`),
      ...sorted.map((id) => `b${id}`),
    ]);
    const [, second] = heads;
    if (second === undefined) throw new Error("no second head");
    const rest = await storage.readHeads({
      aggregate_type: null,
      after: second,
      skip: 1,
      limit: 4,
    });
    expect(rest).toEqual(heads.slice(3, 7));
    expect(
      await storage.readHeads({ aggregate_type: null, after: null, skip: 16, limit: 4 }),
    ).toEqual([]);
    const of = (aggregate_type: string, after: StreamKey | null, skip = 0) =>
      storage.readHeads({ aggregate_type, after, skip, limit: 3 });
    const [, , , fourth] = heads;
    expect(await of("a", null)).toEqual(heads.slice(0, 3));
    expect(await of("b", null, 1)).toEqual(heads.slice(9, 12));
    expect(await of("b", fourth ?? null)).toEqual(heads.slice(8, 11));
    expect(await of("a", fourth ?? null, 2)).toEqual(heads.slice(6, 8));
    expect(await of("a", heads[9] ?? null)).toEqual([]);
    expect(await of("aa", null)).toEqual([]);
  });
}

function tokens(check: Check): void {
  const allowance = { ok: true, writes_max: 3, expires_at: null, term: "t1" } as const;
  const planContext = { ...context, allowanceOf: () => allowance };

  check("a token is charged for what is appended, exactly", async ({ storage }) => {
    const paid = () => transaction([event(jane), event(jane)], { token_id: "0011" });

    const { outcomes } = await append(storage, [paid(), paid()], planContext);
    const [use] = await storage.readTokenUses(["0011", "2233"]);
    const single = [transaction([event(jane)], { token_id: "0011" })];
    const third = await append(storage, single, planContext);
    const fourth = await append(storage, single, planContext);

    expect(outcomes.map(({ kind }) => kind)).toEqual(["appended", "refused"]);
    expect(use).toEqual({ token_id: "0011", writes: 2, expires_at: null, term: "t1" });
    expect(third.outcomes[0]?.kind).toBe("appended");
    expect(fourth.outcomes[0]).toMatchObject({ error: { code: "permission_denied" } });
    expect((await storage.readTokenUses(["0011"]))[0]?.writes).toBe(3);
  });

  check("a use can change without an event", async ({ storage }) => {
    const use = { token_id: "0011", writes: 0, expires_at: "2030", term: "t2" };

    await storage.commit({ keys: [], event_ids: [], token_ids: ["0011"] }, (known) => ({
      outcomes: [],
      heads: [],
      snapshots: [],
      token_uses: [use],
      log: known.log,
    }));

    expect(await storage.readTokenUses(["0011"])).toEqual([use]);
  });
}

function restart(check: Check): void {
  check("what was resolved is there after a restart", async ({ storage, reopen }) => {
    if (reopen === null) return;
    const paid = transaction([event(jane), event(john)], { token_id: "0011" });
    const planContext = { ...context, snapshotThresholdOf: () => 1 };
    await append(storage, [paid], planContext);
    await storage.createStream({ aggregate_type: "empty", aggregate_id: "e" }, change);
    const before = await everything(storage);

    const again = await reopen();

    expect(await everything(again)).toEqual(before);
    expect(await recompute(again)).toEqual([]);
    await append(again, [transaction([event(jane, { expected_version: 1 })])]);
    expect((await readAll(again)).map(({ position }) => position)).toEqual([1, 2, 3]);
  });
}

const everything = async (storage: Storage) => ({
  events: await readAll(storage),
  heads: await storage.readHeads({ aggregate_type: null, after: null, skip: 0, limit: 100 }),
  log: await storage.readLogHead(),
  snapshots: await storage.readSnapshots(jane, { after: 0, limit: 100 }),
  uses: await storage.readTokenUses(["0011"]),
});
