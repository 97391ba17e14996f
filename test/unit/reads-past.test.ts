// Time travel: whatever happened, the state at every version and instant is what folding the
// events by hand gives, with snapshots on the way and without.

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import type { Dbx } from "../../src/api/dbx.ts";
import { aggregateOf } from "../../src/engine/past.ts";
import { emptyState, evolve, type Aggregate } from "../../src/model/aggregate.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import type { EventRecord } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";
import { emptyRoot } from "../../src/model/merkle.ts";
import { runs, runs_ms_max } from "../support/json-texts.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { openReading } from "../support/storage.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const keyOf = (aggregate_id: string) => ({ aggregate_type: "t", aggregate_id });

/** Microseconds after a moment, as events carry them. */
function timeAt(micros: number): string {
  const seconds = String(Math.floor(micros / 1e6)).padStart(2, "0");
  return `2024-12-01T00:00:${seconds}.${String(micros % 1e6).padStart(6, "0")}Z`;
}

async function faultOf(result: Promise<unknown>): Promise<DbxError> {
  const error = await result.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof DbxError) return error;
  throw new Error(`no refusal: ${String(error)}`);
}

/** What the events say, folded one by one. */
const folded = (aggregate_id: string, records: readonly EventRecord[], archived: boolean) => ({
  ...keyOf(aggregate_id),
  version: records.length,
  state: records.reduce((state, { payload }) => evolve(state, payload), emptyState),
  merkle_root: records.at(-1)?.merkle_root ?? emptyRoot.toHex(),
  archived,
});

interface Step {
  readonly id: string;
  readonly wait: number;
  readonly payload: unknown;
  readonly and: "nothing" | "snapshot" | "archive";
}

const ids = ["a", "b", "c"];
const steps: fc.Arbitrary<Step> = fc.record({
  id: fc.constantFrom(...ids),
  // Often none at all: events of one time are one step in it.
  wait: fc.constantFrom(0, 0, 1, 2, 999_999),
  payload: fc.oneof(
    fc.dictionary(fc.constantFrom("x", "y", "z", "_value"), fc.oneof(fc.nat(), fc.constant(null))),
    fc.nat(),
  ),
  and: fc.constantFrom("nothing", "nothing", "nothing", "snapshot", "archive"),
});

/** Lives through the steps; answers the events of each aggregate and which are archived. */
async function live(dbx: Dbx, history: readonly Step[], clock: { micros: number }) {
  const records = new Map<string, EventRecord[]>(ids.map((id) => [id, []]));
  const archived = new Set<string>();
  for (const { id, wait, payload, and } of history) {
    clock.micros += wait;
    if (archived.has(id)) continue;
    const event = { ...keyOf(id), event_type: "e", payload: canonicalOf(payload) };
    records.get(id)?.push(await dbx.appendEvent(root, event));
    if (and === "snapshot") await dbx.createSnapshot(root, keyOf(id));
    if (and !== "archive") continue;
    await dbx.archiveAggregate(root, keyOf(id));
    archived.add(id);
  }
  return { records, archived };
}

test(
  "every version and every instant is what folding the events gives",
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(steps, { minLength: 1, maxLength: 25 }),
        fc.constantFrom(1, 3, undefined),
        async (history, snapshot_threshold) => {
          using dir = tempDir();
          const clock = { micros: 10 };
          await using store = await openStore(dir.path, {
            config: snapshot_threshold === undefined ? {} : { snapshot_threshold },
            system: { now: () => timeAt(clock.micros) },
          });
          const { dbx } = store;
          const { records, archived } = await live(dbx, history, clock);
          const times = [...records.values()].flat().map(({ metadata }) => metadata.created_at);
          const instants = new Set([timeAt(0), timeAt(59_999_999), ...times]);
          for (const [id, events] of records) {
            for (let version = 0; version <= events.length && events.length > 0; version++) {
              expect(await dbx.getAggregate(root, { ...keyOf(id), version })).toEqual(
                folded(id, events.slice(0, version), archived.has(id)),
              );
            }
          }
          for (const at of instants) {
            const then: Aggregate[] = [];
            for (const [id, events] of records) {
              const past = events.filter(({ metadata }) => metadata.created_at <= at);
              const asked = dbx.getAggregate(root, { ...keyOf(id), at });
              if (past.length === 0) {
                expect((await faultOf(asked)).code).toBe("not_found");
                continue;
              }
              const expected = folded(id, past, archived.has(id));
              expect(await asked).toEqual(expected);
              then.push(expected);
            }
            const listed = await dbx.listAggregates(root, { at });
            expect(listed).toEqual({ aggregates: then, next_cursor: null });
          }
        },
      ),
      runs(25),
    ),
  runs_ms_max,
);

describe("a moment", () => {
  test("finer than a microsecond counts as the microsecond it lies in", async () => {
    using dir = tempDir();
    const times = [timeAt(5), timeAt(6)];
    const system = { now: () => times.shift() ?? timeAt(7) };
    await using store = await openStore(dir.path, { system });
    const event = { ...keyOf("a"), event_type: "e", payload: canonicalOf({}) };
    for (let n = 0; n < 2; n++) await store.dbx.appendEvent(root, event);
    const versionAt = async (at: string) =>
      (await store.dbx.getAggregate(root, { ...keyOf("a"), at })).version;
    const first = (await store.dbx.listEvents(root, keyOf("a")))[0]?.metadata.created_at ?? "";
    expect(await versionAt(first)).toBe(1);
    expect(await versionAt(first.replace("Z", "999Z"))).toBe(1);
    expect(await versionAt("2024-12-01T02:00:00+01:00")).toBe(2);
    expect(await versionAt("2024-11-30T23:59:59.9-00:01")).toBe(2);
  });

  test("that is none, and two at once, are refused before anything is looked up", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const at = "2024-12-01T00:00:00Z";
    for (const asked of [{ at: "yesterday" }, { at, version: 1 }, { at: "2023-02-29T00:00:00Z" }]) {
      const fault = await faultOf(store.dbx.getAggregate(root, { ...keyOf("none"), ...asked }));
      expect(fault).toMatchObject({ code: "invalid_argument", details: { path: "/at" } });
    }
    const fault = await faultOf(store.dbx.listAggregates(root, { at: "2024" }));
    expect(fault).toMatchObject({ code: "invalid_argument", details: { path: "/at" } });
  });

  test("before the first event, or above the last version, is not found", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await store.dbx.createAggregate(root, keyOf("empty"));
    const event = { ...keyOf("a"), event_type: "e", payload: canonicalOf({}) };
    await store.dbx.appendEvent(root, event);
    const get = (id: string, asked: { version?: number; at?: string }) =>
      faultOf(store.dbx.getAggregate(root, { ...keyOf(id), ...asked }));
    expect(await get("a", { version: 2 })).toMatchObject({
      code: "not_found",
      message: "t/a has no version 2; it is at version 1",
      details: { ...keyOf("a"), version: 2, current_version: 1 },
    });
    const at = "1970-01-01T00:00:00Z";
    for (const id of ["a", "empty"]) {
      expect(await get(id, { at })).toMatchObject({
        code: "not_found",
        message: "aggregate not found",
        details: { ...keyOf(id), at },
      });
    }
    // An aggregate without events has a state, but at no instant.
    const late = "9999-12-31T23:59:59Z";
    expect((await store.dbx.getAggregate(root, keyOf("empty"))).version).toBe(0);
    expect(await get("empty", { at: late })).toMatchObject({ code: "not_found" });
    expect((await store.dbx.listAggregates(root, {})).aggregates).toHaveLength(2);
    expect((await store.dbx.listAggregates(root, { at: late })).aggregates).toHaveLength(1);
    expect((await store.dbx.listAggregates(root, { at })).aggregates).toEqual([]);
  });

  test("of a stream that has lost an event is told as damage, not made up", async () => {
    using dir = tempDir();
    {
      await using store = await openStore(dir.path);
      const event = { ...keyOf("a"), event_type: "e", payload: canonicalOf({}) };
      await store.dbx.appendEvents(root, { events: [event, event, event, event] });
    }
    const raw = new Database(join(dir.path, "dbx.db"));
    const triggers = raw
      .query<{ name: string; sql: string }, []>(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
      )
      .all();
    for (const { name } of triggers) raw.run(`DROP TRIGGER ${name}`);
    raw.run("DELETE FROM event WHERE version = 2");
    for (const { sql } of triggers) raw.run(sql);
    raw.close();
    await using store = await openStore(dir.path, { access: "read" });
    const fault = await faultOf(store.dbx.getAggregate(root, { ...keyOf("a"), version: 3 }));
    expect(fault).toMatchObject({ code: "data_corrupted", details: { ...keyOf("a"), version: 2 } });
  });

  test("of a long history is found while others run", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await appendMany(store.dbx, 4);
    let turns = 0;
    let asking = true;
    const count = () => {
      turns++;
      if (asking) setImmediate(count);
    };
    setImmediate(count);
    const { state } = await store.dbx.getAggregate(root, { ...keyOf("a"), version: 3_999 });
    asking = false;
    expect(state).toBe(canonicalOf({ n: "3999" }));
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  test("with a snapshot near by is not folded from the beginning", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { snapshot_threshold: 100 } });
    await appendMany(store.dbx, 1);
    const reading = await openReading(dir.path);
    let rows = 0;
    const storage: Storage = {
      ...reading,
      readStream: async (key, page) => {
        const events = await reading.readStream(key, page);
        rows += events.length;
        return events;
      },
    };
    const head = await storage.readHead(keyOf("a"));
    if (head === undefined) throw new Error("the aggregate is there");
    const now = { kind: "version", version: 999 } as const;
    expect((await aggregateOf(storage, head, now)).state).toBe(canonicalOf({ n: "999" }));
    expect(rows).toBe(99);
    await reading.close();
  });
});

/** So many batches of events of one aggregate, the largest there may be. */
async function appendMany(dbx: Dbx, batches: number): Promise<void> {
  const size = limits.transaction_events_max;
  for (let batch = 0; batch < batches; batch++) {
    const events = Array.from({ length: size }, (_, index) => ({
      ...keyOf("a"),
      event_type: "e",
      payload: canonicalOf({ n: batch * size + index + 1 }),
    }));
    await dbx.appendEvents(root, { events });
  }
}
