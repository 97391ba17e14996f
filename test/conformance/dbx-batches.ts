// Several events at once, and aggregates that take none any more.

import { expect } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { root } from "../support/store.ts";
import { codeOf, eventOf, json, refusal } from "../support/surfaces.ts";
import { headOf, type Check } from "./dbx-check.ts";

export function batches(check: Check): void {
  check("a batch is answered in its order, over many aggregates", async ({ admin }) => {
    const events = ["a", "b", "a"].map((aggregate_id, index) =>
      eventOf("batch", { aggregate_id, payload: json(`{"n":${index}}`) }),
    );
    const records = await admin.appendEvents({ events });
    expect(records.map(({ aggregate_id, version }) => [aggregate_id, version])).toEqual([
      ["a", 1],
      ["b", 1],
      ["a", 2],
    ]);
    expect(records.map(({ payload }) => `${payload}`)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}']);
    const after = (records[0]?.position ?? 0) - 1;
    expect(await admin.readLog({ after, take: 3 })).toEqual(records);
  });

  check("expectations in a batch see its earlier events", async ({ admin }) => {
    const steps = (["no_stream", 1, "stream_exists", 3, "any"] as const).map((expected_version) =>
      eventOf("steps", { expected_version }),
    );
    expect(await admin.appendEvents({ events: steps })).toHaveLength(5);
  });

  check("one refusal refuses the whole batch, and names its index", async (world) => {
    const head = await headOf(world);
    const events = [
      eventOf("whole"),
      eventOf("whole", { aggregate_id: "b" }),
      eventOf("whole", { expected_version: 7 }),
    ];
    const error = await refusal(world.admin.appendEvents({ events }));
    expect(error.code).toBe("version_conflict");
    expect(error.details).toMatchObject({ index: 2, expected: 7, actual: 1 });
    expect(await headOf(world)).toBe(head);
    const key = { aggregate_type: "whole", aggregate_id: "b" };
    expect(await codeOf(world.admin.getAggregate(key))).toBe("not_found");
  });

  check("what is wrong with one event of a batch is told with its place", async ({ admin }) => {
    const reserved = [eventOf("place"), eventOf("place", { event_type: "$x" })];
    const error = await refusal(admin.appendEvents({ events: reserved }));
    expect([error.code, error.details["index"]]).toEqual(["invalid_argument", 1]);
    const long = [eventOf("place"), eventOf("place", { note: "x".repeat(129) })];
    const other = await refusal(admin.appendEvents({ events: long }));
    expect([other.code, other.details["path"]]).toEqual(["invalid_argument", "/events/1/note"]);
  });

  check("an id twice in a batch is refused", async ({ admin }) => {
    const event_id = crypto.randomUUID();
    const twice = [eventOf("twice", { event_id }), eventOf("twice", { event_id })];
    const error = await refusal(admin.appendEvents({ events: twice }));
    expect(error.code).toBe("invalid_argument");
    expect(error.details).toEqual({ index: 1, event_id });
  });

  check("a batch that is sent again is answered as before; a part of one is not", async (world) => {
    const { admin } = world;
    const events = ["a", "b"].map((aggregate_id) =>
      eventOf("retry", { aggregate_id, event_id: crypto.randomUUID() }),
    );
    const records = await admin.appendEvents({ events });
    const head = await headOf(world);
    expect(await admin.appendEvents({ events })).toEqual(records);
    const mixed = [...events, eventOf("retry")];
    const error = await refusal(admin.appendEvents({ events: mixed }));
    expect([error.code, error.details["index"]]).toEqual(["already_exists", 2]);
    expect(await headOf(world)).toBe(head);
  });

  check("a batch has 1 to 1,000 events", async ({ admin }) => {
    const most = limits.transaction_events_max;
    const many = (length: number) => ({ events: Array.from({ length }, () => eventOf("most")) });
    expect(await admin.appendEvents(many(most))).toHaveLength(most);
    const error = await refusal(admin.appendEvents(many(most + 1)));
    expect([error.code, error.details]).toEqual(["too_large", { path: "/events" }]);
    expect(await codeOf(admin.appendEvents({ events: [] }))).toBe("invalid_argument");
    const { version } = await admin.getAggregate({ aggregate_type: "most", aggregate_id: "a-1" });
    expect(version).toBe(most);
  });
}

export function archived(check: Check): void {
  check("an archived aggregate takes nothing and tells everything", async ({ admin, store }) => {
    const event = eventOf("archived", { event_id: crypto.randomUUID() });
    const key = { aggregate_type: "archived", aggregate_id: "a-1" };
    const record = await admin.appendEvent(event);
    await store.dbx.archiveAggregate(root, key);

    const error = await refusal(admin.appendEvent(eventOf("archived")));
    expect(error.code).toBe("aggregate_archived");
    expect(error.message).toBe("aggregate is archived and cannot accept new events");
    expect(error.details).toEqual(key);
    const both = [eventOf("archived", { aggregate_id: "new" }), eventOf("archived")];
    const batch = await refusal(admin.appendEvents({ events: both }));
    expect([batch.code, batch.details["index"]]).toEqual(["aggregate_archived", 1]);

    // Archived comes before what is expected, and an id that is known before both.
    const conflicting = eventOf("archived", { expected_version: 7 });
    expect(await codeOf(admin.appendEvent(conflicting))).toBe("aggregate_archived");
    expect(await admin.appendEvent(event)).toEqual(record);

    expect(await admin.listEvents(key)).toEqual([record]);
    expect((await admin.getAggregate(key)).archived).toBe(true);
    expect((await admin.verifyAggregate(key)).version).toBe(1);
    await store.dbx.restoreAggregate(root, key);
    expect((await admin.appendEvent(eventOf("archived"))).version).toBe(2);
  });

  check("lists tell archived aggregates apart when asked to", async ({ admin, store }) => {
    for (const aggregate_id of ["a", "b"])
      await admin.appendEvent(eventOf("apart", { aggregate_id }));
    await store.dbx.archiveAggregate(root, { aggregate_type: "apart", aggregate_id: "a" });
    const idsOf = async (archived?: boolean) => {
      const which = archived === undefined ? {} : { archived };
      const { aggregates } = await admin.listAggregates({ type: "apart", ...which });
      return aggregates.map(({ aggregate_id }) => aggregate_id);
    };
    expect([await idsOf(), await idsOf(true), await idsOf(false)]).toEqual([
      ["a", "b"],
      ["a"],
      ["b"],
    ]);
  });
}
