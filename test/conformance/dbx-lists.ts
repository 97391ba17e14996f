// Lists and their pages: order, bounds, cursors, filters, and what schemas hide from them.

import { expect } from "bun:test";
import { root } from "../support/store.ts";
import { codeOf, eventOf, json, refusal, type World } from "../support/surfaces.ts";
import { sizes, type Check } from "./dbx-check.ts";

const ids = ["Z", "a", "b", "é", "\uffff", "😀"];

/** Six aggregates, in another order than the list's. */
async function fill({ admin }: World, type: string): Promise<void> {
  const events = ids
    .toReversed()
    .map((aggregate_id, n) => eventOf(type, { aggregate_id, payload: json(`{"n":${n}}`) }));
  await admin.appendEvents({ events });
}

const largest = 2 ** 31 - 1;

export function lists(check: Check): void {
  check("aggregates come in the order of their bytes, with the whole of each", async (world) => {
    await fill(world, "order");
    const { aggregates } = await world.admin.listAggregates({ type: "order", take: largest });
    expect(aggregates.map(({ aggregate_id }) => aggregate_id)).toEqual(
      ids.slice(0, sizes.page_limit),
    );
    for (const { aggregate_type, aggregate_id, ...rest } of aggregates) {
      const key = { aggregate_type, aggregate_id };
      expect(await world.admin.getAggregate(key)).toEqual({ ...key, ...rest });
    }
  });

  check("cursors walk through a list, and end with it", async (world) => {
    await fill(world, "walk");
    const seen: string[][] = [];
    let cursor: string | null = null;
    do {
      const from: { cursor?: string } = cursor === null ? {} : { cursor };
      const page = await world.admin.listAggregates({ type: "walk", take: 2, ...from });
      seen.push(page.aggregates.map(({ aggregate_id }) => aggregate_id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
  });

  check("a cursor that dbx did not make is refused", async ({ admin }) => {
    for (const cursor of ["x", "W10", "a b"]) {
      const error = await refusal(admin.listAggregates({ cursor }));
      expect([error.code, error.details]).toEqual(["invalid_argument", { path: "/cursor" }]);
    }
  });

  check("a filter is asked of the state", async (world) => {
    await fill(world, "filter");
    const found = async (filter: string) => {
      const { aggregates } = await world.admin.listAggregates({ type: "filter", filter });
      return aggregates.map(({ aggregate_id }) => aggregate_id);
    };
    expect(await found('n = "5"')).toEqual(["Z"]);
    expect(await found("n >= 3 AND NOT n = 4")).toEqual(["Z", "b"]);
    expect(await found("EXISTS m")).toEqual([]);
    const error = await refusal(world.admin.listAggregates({ filter: "n = = 1" }));
    expect(error.code).toBe("invalid_argument");
    expect(error.details["path"]).toBe("/filter");
  });

  check("a list is that of an instant", async (world) => {
    const { admin } = world;
    const { metadata } = await admin.appendEvent(eventOf("then", { payload: json('{"n":1}') }));
    const { created_at: at } = metadata;
    // Events of one instant are told apart by nothing but the clock: wait until it has moved on.
    let later = await admin.appendEvent(eventOf("then", { payload: json('{"n":2}') }));
    while (later.metadata.created_at === at) {
      later = await admin.appendEvent(eventOf("then", { payload: json('{"n":2}') }));
    }
    const { aggregates } = await admin.listAggregates({ type: "then", at });
    expect(aggregates.map(({ state, version }) => [`${state}`, version])).toEqual([
      ['{"n":"1"}', 1],
    ]);
    const early = await admin.listAggregates({ type: "then", at: "2001-01-01T00:00:00Z" });
    expect(early).toEqual({ aggregates: [], next_cursor: null });
    expect(await codeOf(admin.listAggregates({ at: "2001" }))).toBe("invalid_argument");
  });
}

export function pages(check: Check): void {
  check(
    "a page of aggregates has take, at most the cap, and the usual when missing",
    async (world) => {
      await fill(world, "pages");
      const many = async (page: { skip?: number; take?: number }) =>
        (await world.admin.listAggregates({ type: "pages", ...page })).aggregates.length;
      expect(await many({})).toBe(sizes.list_page_size);
      expect(await many({ take: 0 })).toBe(0);
      expect(await many({ take: 1 })).toBe(1);
      expect(await many({ take: sizes.page_limit + 1 })).toBe(sizes.page_limit);
      expect(await many({ take: largest })).toBe(sizes.page_limit);
      expect(await many({ skip: 5, take: 5 })).toBe(1);
      expect(await many({ skip: largest })).toBe(0);
    },
  );

  check("a page of events has take, at most the cap, and the cap when missing", async (world) => {
    const { admin } = world;
    const events = Array.from({ length: sizes.page_limit + 2 }, () => eventOf("events"));
    const [first] = await admin.appendEvents({ events });
    const key = { aggregate_type: "events", aggregate_id: "a-1" };
    const after = (first?.position ?? 0) - 1;
    for (const many of [
      async (take: { take?: number }) => (await admin.listEvents({ ...key, ...take })).length,
      async (take: { take?: number }) => (await admin.readLog({ after, ...take })).length,
    ]) {
      expect(await many({})).toBe(sizes.page_limit);
      expect(await many({ take: 0 })).toBe(0);
      expect(await many({ take: 2 })).toBe(2);
      expect(await many({ take: largest })).toBe(sizes.page_limit);
    }
    const versions = (await admin.listEvents({ ...key, skip: 5 })).map(({ version }) => version);
    expect(versions).toEqual([6, 7]);
    expect(await admin.listEvents({ ...key, skip: 7 })).toEqual([]);
  });

  check(
    "a page is not smaller than nothing",
    async ({ admin }) => {
      for (const page of [{ take: -1 }, { skip: -1 }]) {
        const error = await refusal(admin.listAggregates(page));
        expect(error.code).toBe("invalid_argument");
        expect(error.details).toEqual({ path: `/${Object.keys(page)[0]}` });
      }
    },
    "negative numbers",
  );
}

export function hidden(check: Check): void {
  check("a hidden type is nowhere to be seen, until an admin asks", async (world) => {
    const { admin, store } = world;
    const type = "hidden";
    await store.dbx.createSchema(root, { aggregate: type, events: ["noted"] });
    await store.dbx.changeSchema(root, { aggregate: type, hidden: true });
    const record = await admin.appendEvent(eventOf(type));
    const key = { aggregate_type: type, aggregate_id: "a-1" };
    const after = record.position - 1;
    for (const work of [
      () => admin.getAggregate(key),
      () => admin.listEvents(key),
      () => admin.verifyAggregate(key),
    ]) {
      expect((await refusal(work())).code).toBe("not_found");
    }
    expect(await admin.listAggregates({ type })).toEqual({ aggregates: [], next_cursor: null });
    expect(await admin.readLog({ after })).toEqual([]);
    const include_hidden = true;
    expect((await admin.getAggregate({ ...key, include_hidden })).version).toBe(1);
    expect(await admin.listEvents({ ...key, include_hidden })).toEqual([record]);
    expect((await admin.verifyAggregate({ ...key, include_hidden })).version).toBe(1);
    expect((await admin.listAggregates({ type, include_hidden })).aggregates).toHaveLength(1);
    expect(await admin.readLog({ after, include_hidden })).toEqual([record]);
  });

  check("a hidden field is in no answer and no filter, until an admin asks", async (world) => {
    const { admin, store } = world;
    const type = "partly";
    await store.dbx.createSchema(root, { aggregate: type, events: ["noted"] });
    const field = "ssn";
    await store.dbx.changeSchema(root, { aggregate: type, hidden_field: { field, hidden: true } });
    const payload = json('{"name":"jane","ssn":"1"}');
    const { position } = await admin.appendEvent(eventOf(type, { payload }));
    const key = { aggregate_type: type, aggregate_id: "a-1" };
    const shown = json('{"name":"jane"}');
    expect((await admin.getAggregate(key)).state).toBe(shown);
    expect((await admin.listEvents(key))[0]?.payload).toBe(shown);
    expect((await admin.readLog({ after: position - 1 }))[0]?.payload).toBe(shown);
    const bySsn = await admin.listAggregates({ type, filter: 'ssn = "1"' });
    expect(bySsn.aggregates).toEqual([]);
    expect((await admin.getAggregate({ ...key, include_hidden: true })).state).toBe(payload);
  });
}
