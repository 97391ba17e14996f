// The engine over real storage: what is refused at its door, pages and cursors, and what verify
// answers.

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize } from "../../src/model/canonical.ts";
import type { Config } from "../../src/model/config.ts";
import { DbxError, type ErrorCode } from "../../src/model/error.ts";
import type { Event } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";
import { openStore, root, testConfig } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const event = (over: Partial<Event> = {}): Event => ({
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "patient-added",
  payload: canonicalize('{"name":"Jane"}'),
  ...over,
});

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

async function codeOf(result: Promise<unknown>): Promise<ErrorCode | "accepted"> {
  return result.then(
    () => "accepted",
    (error: unknown) => {
      if (error instanceof DbxError) return error.code;
      throw error;
    },
  );
}

describe("appending", () => {
  test("answers the record that reading gives back", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const record = await store.dbx.appendEvent(root, event({ note: "by phone" }));
    expect(record).toMatchObject({
      version: 1,
      position: 1,
      payload: canonicalize('{"name":"Jane"}'),
    });
    expect(record.metadata).toMatchObject({
      note: "by phone",
      issued_by: { group: "cli", user: "cli:test" },
    });
    expect(record.metadata.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(
      await store.dbx.listEvents(root, { aggregate_type: "patient", aggregate_id: "p-001" }),
    ).toEqual([record]);
    expect(await store.dbx.readLog(root, {})).toEqual([record]);
  });

  test("refuses types of dbx's own, repeated ids and payloads above the limit, and writes nothing", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { payload_limit: 20 } });
    const { dbx } = store;
    const big = canonicalize(JSON.stringify("é".repeat(10)));
    const fits = canonicalize(JSON.stringify("é".repeat(9)));
    expect(await codeOf(dbx.appendEvent(root, event({ event_type: "$erased" })))).toBe(
      "invalid_argument",
    );
    expect(await codeOf(dbx.appendEvent(root, event({ payload: big })))).toBe("too_large");
    const twice = [event({ event_id: id(1) }), event({ event_id: id(1).toUpperCase() })];
    expect(await codeOf(dbx.appendEvents(root, { events: twice }))).toBe("invalid_argument");
    expect(await dbx.readLog(root, {})).toEqual([]);
    expect(await codeOf(dbx.appendEvent(root, event({ payload: fits })))).toBe("accepted");
  });

  test("a refusal in a batch names the event and leaves nothing of the batch", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const events = [event(), event({ aggregate_id: "p-002", expected_version: 4 })];
    const error = await store.dbx.appendEvents(root, { events }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "version_conflict",
      details: { index: 1, actual: 0, expected: 4 },
    });
    expect(await store.dbx.readLog(root, {})).toEqual([]);
  });

  test("an id is known in any case, and its repetition gives the first record again", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const event_id = "ABCDEF00-0000-4000-8000-000000000001";
    const first = await store.dbx.appendEvent(root, event({ event_id }));
    expect(first.metadata.event_id).toBe(event_id.toLowerCase());
    const again = await store.dbx.appendEvent(
      root,
      event({ event_id: event_id.toLowerCase(), expected_version: 9 }),
    );
    expect(again).toEqual(first);
    expect(await codeOf(store.dbx.appendEvent(root, event({ event_id, note: "other" })))).toBe(
      "already_exists",
    );
  });

  test("strict restriction refuses what no schema allows", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { restrict: "strict" } });
    expect(await codeOf(store.dbx.appendEvent(root, event()))).toBe("schema_violation");
  });

  test("concurrent appends with the same expectation: exactly one is accepted", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const attempts = Array.from({ length: 50 }, () =>
      codeOf(store.dbx.appendEvent(root, event({ expected_version: "no_stream" }))),
    );
    const codes = await Promise.all(attempts);
    expect(codes.filter((code) => code === "accepted")).toHaveLength(1);
    expect(codes.filter((code) => code === "version_conflict")).toHaveLength(49);
  });

  test("beyond the queue's bound the caller is told to wait, and the rest is kept", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const attempts = Array.from({ length: limits.queue_transactions_max + 10 }, (_, n) =>
      codeOf(store.dbx.appendEvent(root, event({ aggregate_id: `p-${n % 100}` }))),
    );
    const codes = await Promise.all(attempts);
    expect(codes.filter((code) => code === "overloaded")).toHaveLength(10);
    expect((await store.dbx.serverStatus(root, {})).position).toBe(limits.queue_transactions_max);
  });

  test("times never go back, whatever the clock does, across a restart too", async () => {
    using dir = tempDir();
    const times = ["2030-01-01T00:00:00.000000Z", "2020-01-01T00:00:00.000000Z"];
    const system = { now: () => times.shift() ?? "2021-01-01T00:00:00.000000Z" };
    {
      await using store = await openStore(dir.path, { system });
      await store.dbx.appendEvent(root, event());
      await store.dbx.appendEvent(root, event({ aggregate_id: "p-002" }));
    }
    await using store = await openStore(dir.path, { system });
    await store.dbx.appendEvent(root, event({ aggregate_id: "p-003" }));
    const log = await store.dbx.readLog(root, {});
    expect(log.map(({ metadata }) => metadata.created_at)).toEqual(
      Array(3).fill("2030-01-01T00:00:00.000000Z"),
    );
  });
});

describe("reading", () => {
  test("pages of events and of the log", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { page_limit: 80 } });
    const key = { aggregate_type: "patient", aggregate_id: "p-001" };
    await store.dbx.appendEvents(root, { events: Array.from({ length: 200 }, () => event()) });
    const versions = async (page: { skip?: number; take?: number }) =>
      (await store.dbx.listEvents(root, { ...key, ...page })).map(({ version }) => version);
    expect(await versions({})).toEqual(Array.from({ length: 80 }, (_, n) => n + 1));
    expect(await versions({ skip: 198, take: 10 })).toEqual([199, 200]);
    expect(await versions({ skip: 200 })).toEqual([]);
    expect(await versions({ take: 0 })).toEqual([]);
    expect(await versions({ take: 5000 })).toHaveLength(80);
    const log = await store.dbx.readLog(root, { after: 150, take: 3 });
    expect(log.map(({ position }) => position)).toEqual([151, 152, 153]);
    expect(await codeOf(store.dbx.listEvents(root, { ...key, aggregate_id: "nobody" }))).toBe(
      "not_found",
    );
  });

  test("cursors walk a list in key order and see every aggregate once", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const ids = ["z", "a", "\u{10000}", "\uffff", "é", "b/c", "%", "ä".repeat(200)];
    for (const aggregate_id of ids)
      await store.dbx.createAggregate(root, { aggregate_type: "t", aggregate_id });
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof store.dbx.listAggregates>> =
        await store.dbx.listAggregates(root, {
          take: 3,
          ...(cursor === null ? {} : { cursor }),
        });
      seen.push(...page.aggregates.map(({ aggregate_id }) => aggregate_id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual(
      ids.toSorted((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right))),
    );
    for (const bad of ["", "x", "W10", "eyJhIjoxfQ", "WzEsMl0"]) {
      expect(await codeOf(store.dbx.listAggregates(root, { cursor: bad }))).toBe(
        "invalid_argument",
      );
    }
  });

  test("a page that would not fit into memory is refused, not cut short", async () => {
    using dir = tempDir();
    const config = { payload_limit: limits.payload_bytes_max };
    await using store = await openStore(dir.path, { config });
    const payload = canonicalize(JSON.stringify("x".repeat(limits.payload_bytes_max - 100)));
    for (let n = 0; n < 5; n++) {
      await store.dbx.appendEvent(root, event({ payload, aggregate_id: `p-${n}` }));
    }
    expect(await codeOf(store.dbx.readLog(root, {}))).toBe("too_large");
    expect(await store.dbx.readLog(root, { take: 1 })).toHaveLength(1);
    expect(await codeOf(store.dbx.listAggregates(root, {}))).toBe("too_large");
    const first = await store.dbx.listAggregates(root, { take: 4 });
    expect(first.aggregates).toHaveLength(4);
    expect(first.next_cursor).not.toBeNull();
  });

  test("a state that grows beyond its bound is refused, and the append leaves no trace", async () => {
    using dir = tempDir();
    const config = { payload_limit: limits.payload_bytes_max };
    await using store = await openStore(dir.path, { config });
    const half = "x".repeat(limits.state_chars_max / 2);
    const grow = (key: string) =>
      store.dbx.appendEvent(
        root,
        event({ payload: canonicalize(JSON.stringify({ [key]: half })) }),
      );
    await grow("a");
    expect(await codeOf(grow("b"))).toBe("too_large");
    expect(await codeOf(grow("a"))).toBe("accepted");
    const { version } = await store.dbx.getAggregate(root, {
      aggregate_type: "patient",
      aggregate_id: "p-001",
    });
    expect(version).toBe(2);
  });
});

describe("a directory without its database", () => {
  test("reading makes no directory, and an empty one reads as empty", async () => {
    using dir = tempDir();
    const missing = join(dir.path, "typo");
    expect(await codeOf(openStore(missing, { access: "read" }))).toBe("not_found");
    expect(existsSync(missing)).toBe(false);
    await using store = await openStore(dir.path, { access: "read" });
    expect(await store.dbx.readLog(root, {})).toEqual([]);
  });

  test("one that was used before and has lost its database is no fresh one", async () => {
    using dir = tempDir();
    await (await openStore(dir.path)).close();
    for (const lose of [(path: string) => writeFileSync(path, ""), rmSync]) {
      lose(join(dir.path, "dbx.db"));
      expect(await codeOf(openStore(dir.path))).toBe("data_corrupted");
      expect(await codeOf(openStore(dir.path, { access: "read" }))).toBe("data_corrupted");
    }
  });
});

describe("damage and long work", () => {
  test("one damaged aggregate refuses its own appends, not those that share its commit", async () => {
    using dir = tempDir();
    {
      await using store = await openStore(dir.path);
      for (const aggregate_id of ["a", "bad", "b"]) {
        await store.dbx.appendEvent(root, event({ aggregate_id }));
      }
    }
    const raw = new Database(join(dir.path, "dbx.db"));
    raw.run("UPDATE stream SET frontier = x'00' WHERE aggregate_id = 'bad'");
    raw.close();
    await using store = await openStore(dir.path);
    const codes = await Promise.all(
      ["a", "bad", "b"].map((aggregate_id) =>
        codeOf(store.dbx.appendEvent(root, event({ aggregate_id }))),
      ),
    );
    expect(codes).toEqual(["accepted", "data_corrupted", "accepted"]);
  });

  test("verify lets others run between its pages", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    for (let batch = 0; batch < 4; batch++) {
      await store.dbx.appendEvents(root, { events: Array.from({ length: 1000 }, () => event()) });
    }
    let turns = 0;
    let verifying = true;
    const count = () => {
      turns++;
      if (verifying) setImmediate(count);
    };
    setImmediate(count);
    await store.dbx.verifyAggregate(root, { aggregate_type: "patient", aggregate_id: "p-001" });
    verifying = false;
    expect(turns).toBeGreaterThanOrEqual(4);
  });
});

describe("settings", () => {
  test("a reload follows what it can, names what needs a restart, and keeps naming it", async () => {
    using dir = tempDir();
    let over: Partial<Config> = { page_limit: 2, port: 9, restrict: "strict" };
    const store = await openStore(dir.path, {
      reload: async () => testConfig(dir.path, over),
    });
    await using _closing = store;
    await store.dbx.appendEvents(root, { events: [event(), event(), event()] });
    expect(await store.dbx.reloadConfig(root, {})).toEqual({
      applied: ["restrict", "page_limit"],
      restart: ["port"],
    });
    expect(await store.dbx.readLog(root, {})).toHaveLength(2);
    expect(await codeOf(store.dbx.appendEvent(root, event()))).toBe("schema_violation");
    over = { page_limit: 2, restrict: "strict", port: 9, snapshot_threshold: 5 };
    expect(await store.dbx.reloadConfig(root, {})).toEqual({
      applied: ["snapshot_threshold"],
      restart: ["port"],
    });
  });
  test("of a section, each key is followed or waits for a restart by itself", async () => {
    using dir = tempDir();
    const { admin } = testConfig(dir.path);
    let now: Partial<Config["admin"]> = { master_key_hash: "first", bind_addr: "127.0.0.1" };
    const store = await openStore(dir.path, {
      reload: async () => testConfig(dir.path, { admin: { ...admin, ...now } }),
    });
    await using _closing = store;
    const changed = { applied: ["admin.master_key_hash"], restart: ["admin.bind_addr"] };
    expect(await store.dbx.reloadConfig(root, {})).toEqual(changed);
    expect(store.settings().admin).toEqual({ ...admin, master_key_hash: "first" });
    now = { bind_addr: "127.0.0.1" };
    expect(await store.dbx.reloadConfig(root, {})).toEqual(changed);
    expect(store.settings().admin.master_key_hash).toBeUndefined();
    now = {};
    expect(await store.dbx.reloadConfig(root, {})).toEqual({ applied: [], restart: [] });
  });
  test("the limit of an address is followed only by who was started with one", async () => {
    using dir = tempDir();
    const per_address = "rate_limit.per_address";
    for (const [first, steps] of [
      [undefined, [[5, "restart"] as const, [7, "restart"] as const, [undefined, "same"] as const]],
      [9, [[5, "applied"] as const, [undefined, "applied"] as const, [7, "applied"] as const]],
    ] as const) {
      const configOf = (limit: number | undefined): Config => ({
        ...testConfig(dir.path),
        rate_limit: limit === undefined ? {} : { per_address: limit },
      });
      let now: number | undefined = first;
      await using store = await openStore(dir.path, {
        config: configOf(first),
        reload: async () => configOf(now),
      });
      for (const [next, outcome] of steps) {
        now = next;
        expect(await store.dbx.reloadConfig(root, {})).toEqual({
          applied: outcome === "applied" ? [per_address] : [],
          restart: outcome === "restart" ? [per_address] : [],
        });
        const holds = outcome === "restart" ? first : next;
        expect(store.settings().rate_limit.per_address).toBe(holds);
      }
    }
  });
});
