// Lists: which aggregates, in which pages. Whatever is passed over, a page is full unless it is the
// last, and only a page that is not the last has a cursor.

import { describe, expect, test } from "bun:test";
import type { Input } from "../../src/api/operations.ts";
import { listAggregates, selectionOf } from "../../src/engine/list.ts";
import { readPage } from "../../src/engine/reader.ts";
import { canonicalize, canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { openReading } from "../support/storage.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const id = (n: number) => `p-${String(n).padStart(4, "0")}`;

/** So many aggregates of a type, numbered from 0, in as few commits as there may be. */
async function fill(store: TestStore, aggregate_type: string, count: number): Promise<void> {
  for (let first = 0; first < count; first += limits.transaction_events_max) {
    const length = Math.min(limits.transaction_events_max, count - first);
    const events = Array.from({ length }, (_, index) => ({
      aggregate_type,
      aggregate_id: id(first + index),
      event_type: "made",
      payload: canonicalOf({ n: first + index, tenth: (first + index) % 10 === 0 }),
    }));
    await store.dbx.appendEvents(root, { events });
  }
}

/** All pages of a list, each checked to be full unless it is the last. */
async function walk(
  store: TestStore,
  asked: Input<"listAggregates">,
  between: () => Promise<unknown> = async () => null,
): Promise<string[]> {
  const seen: string[] = [];
  for (let cursor: string | null = "", skip = asked.skip ?? 0; cursor !== null; skip = 0) {
    const page: Awaited<ReturnType<typeof store.dbx.listAggregates>> =
      await store.dbx.listAggregates(root, {
        ...asked,
        skip,
        ...(cursor === "" ? {} : { cursor }),
      });
    if (page.next_cursor !== null) expect(page.aggregates).toHaveLength(asked.take ?? 10);
    seen.push(...page.aggregates.map((one) => `${one.aggregate_type}/${one.aggregate_id}`));
    cursor = page.next_cursor;
    await between();
  }
  return seen;
}

const tenths = (from: number, to: number) =>
  Array.from({ length: (to - from) / 10 }, (_, index) => `b/${id(from + index * 10)}`);

describe("a list", () => {
  test("by type, flag, condition and place, in pages of any size", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    for (const [type, count] of [
      ["a", 5],
      ["b", 1_500],
      ["c", 5],
    ] as const)
      await fill(store, type, count);
    await store.dbx.createAggregate(root, { aggregate_type: "b", aggregate_id: "empty" });
    const key = { aggregate_type: "b", aggregate_id: id(20) };
    await store.dbx.archiveAggregate(root, key);
    const some = { type: "b", filter: "tenth = true" };
    expect(await walk(store, { ...some, take: 7 })).toEqual(tenths(0, 1_500));
    expect(await walk(store, { ...some, take: 150 })).toEqual(tenths(0, 1_500));
    expect(await walk(store, { ...some, take: 149 })).toEqual(tenths(0, 1_500));
    expect(await walk(store, { ...some, take: 50, skip: 31 })).toEqual(tenths(310, 1_500));
    expect(await walk(store, { ...some, skip: 150 })).toEqual([]);
    expect(await walk(store, { ...some, archived: true })).toEqual([`b/${id(20)}`]);
    expect(await walk(store, { ...some, archived: false, take: 2 })).toEqual(
      tenths(0, 1_500).filter((one) => one !== `b/${id(20)}`),
    );
    expect(await walk(store, { filter: "n IN (3, 1499)", take: 2 })).toEqual([
      `a/${id(3)}`,
      `b/${id(3)}`,
      `b/${id(1_499)}`,
      `c/${id(3)}`,
    ]);
    expect(await walk(store, { filter: "NOT EXISTS n" })).toEqual(["b/empty"]);
    expect(await walk(store, { type: "nobody" })).toEqual([]);
    expect(await walk(store, { skip: 1_506, take: 3 })).toHaveLength(5);
    const none = await store.dbx.listAggregates(root, { ...some, take: 0 });
    expect(none).toEqual({ aggregates: [], next_cursor: null });
  });

  test("neither loses nor repeats an aggregate while others are made between its pages", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await fill(store, "b", 300);
    let made = 0;
    const between = async () => {
      for (const aggregate_id of [`A-${made}`, `p-0150-${made}`, `z-${made}`]) {
        const payload = canonicalOf({ tenth: made % 2 === 0 });
        const of = { aggregate_type: "b", aggregate_id, event_type: "made", payload };
        if (made < 10) await store.dbx.appendEvent(root, of);
      }
      made++;
    };
    const seen = await walk(store, { filter: "tenth = true", take: 3 }, between);
    expect(seen).toEqual([...new Set(seen)]);
    expect(seen).toEqual(seen.toSorted());
    expect(seen.filter((one) => /^b\/p-\d{4}$/.test(one))).toEqual(tenths(0, 300));
  });

  test("refuses a filter that is none, with its place", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const error = await store.dbx
      .listAggregates(root, { filter: "a = 1 AND" })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DbxError);
    expect(error).toMatchObject({
      code: "invalid_argument",
      details: { path: "/filter", offset: 9 },
    });
  });

  test.each([
    ["a condition", "n < 0", 3],
    ["one with many values", `n IN (${Array(limits.filter_values_max).fill("-1").join(",")})`, 12],
  ])("lets others run while %s holds for nobody", async (_, filter, turns_min) => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await fill(store, "b", 3_000);
    let turns = 0;
    let asking = true;
    const count = () => {
      turns++;
      if (asking) setImmediate(count);
    };
    setImmediate(count);
    expect(await walk(store, { filter })).toEqual([]);
    asking = false;
    expect(turns).toBeGreaterThanOrEqual(turns_min);
  });

  test("lets others run between two comparisons of a large state", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const payload = canonicalOf({ text: "x".repeat(limits.payload_bytes_default - 100) });
    await store.dbx.appendEvent(root, {
      ...{ aggregate_type: "large", aggregate_id: "l-1", event_type: "made", payload },
    });
    const names = Array.from({ length: limits.filter_comparisons_max }, (_, n) => `z${n} = 1`);
    for (const filter of [names.join(" OR "), `NOT (NOT ${names.join(" AND NOT ")})`]) {
      let turns = 0;
      let asking = true;
      const count = () => {
        turns++;
        if (asking) setImmediate(count);
      };
      setImmediate(count);
      expect(await walk(store, { filter })).toEqual([]);
      asking = false;
      expect(turns).toBeGreaterThanOrEqual(names.length);
    }
  });

  test("passes over a hidden type in one step, however large it is", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    for (const [type, count] of [
      ["a", 3],
      ["b", 3_000],
      ["c", 3],
    ] as const)
      await fill(store, type, count);
    const reading = await openReading(dir.path);
    let rows = 0;
    const storage: Storage = {
      ...reading,
      readHeads: async (page) => {
        const heads = await reading.readHeads(page);
        rows += heads.length;
        return heads;
      },
    };
    const sight = (type: string) => ({ hidden: type === "b", hidden_fields: [] });
    const actor = { group: "x", user: "x", grants: [], scope: null, token_id: null };
    const page = { selection: selectionOf({}), sight, actor, limit: 10, skip: 0 };
    const { aggregates, next_cursor } = await listAggregates(storage, page);
    expect(aggregates.map((one) => one.aggregate_type)).toEqual(["a", "a", "a", "c", "c", "c"]);
    expect(next_cursor).toBeNull();
    expect(rows).toBeLessThan(limits.scan_rows_max + 20);
    await reading.close();
  });
});

describe("a page", () => {
  const page = { limit: 3, skip: 0, peek: true, bytes: () => 1 };
  const pages = (rows: readonly number[]) => {
    const asked: number[] = [];
    const read = async (last: number | undefined, limit: number): Promise<number[]> => {
      asked.push(limit);
      const start = last === undefined ? 0 : rows.indexOf(last) + 1;
      // One at a time: a storage may give fewer than were asked for.
      return rows.slice(start, start + 1);
    };
    return { asked, read };
  };

  test("knows whether there is more, also where the next is far away", async () => {
    const show = (row: number) => (row % 5 === 0 ? row : undefined);
    for (const [last, more] of [
      [14, false],
      [15, true],
    ] as const) {
      const rows = Array.from({ length: last }, (_, index) => index + 1);
      const read = await readPage({ ...page, limit: 2, read: pages(rows).read, show });
      expect(read).toEqual({ shown: [5, 10], more });
    }
  });

  test("asks for no more rows than it needs, as long as none is left out", async () => {
    const { asked, read } = pages([1, 2, 3, 4, 5]);
    await readPage({ ...page, read, show: (row) => row });
    expect(asked).toEqual([4, 3, 2, 1]);
    const other = pages([1, 2, 3, 4, 5]);
    await readPage({ ...page, peek: false, read: other.read, show: (row) => row });
    expect(other.asked).toEqual([3, 2, 1]);
  });

  test("counts the bytes of what it shows, not of what it passes over", async () => {
    const rows = Array.from({ length: 20 }, (_, index) => index);
    const half = limits.page_bytes_max / 2;
    const read = pages(rows).read;
    const every = { ...page, read, bytes: () => half };
    const show = (row: number) => (row > 15 ? row : undefined);
    expect((await readPage({ ...every, limit: 2, skip: 1, show })).shown).toEqual([17, 18]);
    const large = readPage({ ...every, limit: 3, show });
    await expect(large).rejects.toThrow("ask for fewer rows with take");
  });
});

test("an aggregate whose state has grown since is filtered by what it was", async () => {
  using dir = tempDir();
  const times = ["2024-12-01T00:00:01.000000Z", "2024-12-01T00:00:02.000000Z"];
  const system = { now: () => times.shift() ?? "2024-12-01T00:00:03.000000Z" };
  await using store = await openStore(dir.path, { system });
  const key = { aggregate_type: "b", aggregate_id: "x", event_type: "e" };
  for (const status of ["old", "new"])
    await store.dbx.appendEvent(root, { ...key, payload: canonicalOf({ status }) });
  const at = (await store.dbx.listEvents(root, { aggregate_type: "b", aggregate_id: "x" }))[0]
    ?.metadata.created_at;
  const asked = { ...(at === undefined ? {} : { at }), filter: "status = 'old'" };
  const { aggregates } = await store.dbx.listAggregates(root, asked);
  expect(aggregates).toMatchObject([{ version: 1, state: canonicalize('{"status":"old"}') }]);
  expect((await store.dbx.listAggregates(root, { filter: asked.filter })).aggregates).toEqual([]);
});
