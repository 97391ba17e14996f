// Appending one event: what is answered, what is expected of the aggregate, and ids that come
// again.

import { expect } from "bun:test";
import type { Input } from "../../src/api/operations.ts";
import { codeOf, eventOf, json, refusal } from "../support/surfaces.ts";
import { headOf, type Check } from "./dbx-check.ts";

export function appends(check: Check): void {
  check("an append answers the record that every reader gets", async ({ admin }) => {
    const asked = eventOf("answer", { payload: json('{"b":[1,{"c":null}],"a":"é"}'), note: "why" });
    const record = await admin.appendEvent(asked);
    const { aggregate_type, aggregate_id, event_type } = asked;
    expect(record).toMatchObject({ aggregate_type, aggregate_id, event_type, version: 1 });
    expect(record.payload).toBe(json('{"a":"é","b":[1,{"c":null}]}'));
    expect(record.metadata.note).toBe("why");
    expect(record.metadata.issued_by).toEqual({ group: "admin", user: "jane" });
    expect(record.metadata.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(record.metadata.event_id).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}$/,
    );
    const key = { aggregate_type, aggregate_id };
    expect(await admin.listEvents(key)).toEqual([record]);
    expect(await admin.readLog({ after: record.position - 1, take: 1 })).toEqual([record]);
    expect((await admin.getAggregate(key)).merkle_root).toBe(record.merkle_root);
  });

  check("positions have no gaps, and versions none of their own", async (world) => {
    const start = await headOf(world);
    const seen: number[][] = [];
    for (const aggregate_id of ["a", "b", "a", "b", "a"]) {
      const { position, version } = await world.admin.appendEvent(
        eventOf("gaps", { aggregate_id }),
      );
      seen.push([position - start, version]);
    }
    expect(seen).toEqual([
      [1, 1],
      [2, 1],
      [3, 2],
      [4, 2],
      [5, 3],
    ]);
  });

  check("types that begin with $ are dbx's own", async ({ admin }) => {
    const error = await refusal(admin.appendEvent(eventOf("own", { event_type: "$erased" })));
    expect(error.code).toBe("invalid_argument");
    expect(error.details).toEqual({ event_type: "$erased" });
  });

  expectations(check);
  eventIds(check);
}

function expectations(check: Check): void {
  const meets: readonly [expected: Input<"appendEvent">["expected_version"], at: number[]][] = [
    ["any", [0, 2]],
    ["no_stream", [0]],
    ["stream_exists", [2]],
    [0, [0]],
    [2, [2]],
    [1, []],
    [3, []],
    [Number.MAX_SAFE_INTEGER, []],
  ];
  for (const [expected_version, versions] of meets) {
    if (expected_version === undefined) continue;
    check(`expecting ${expected_version} holds at versions ${versions} only`, async (world) => {
      const { admin } = world;
      for (const actual of [0, 2]) {
        const type = `expects-${expected_version}-${actual}`;
        for (let made = 0; made < actual; made++) await admin.appendEvent(eventOf(type));
        const head = await headOf(world);
        const work = admin.appendEvent(eventOf(type, { expected_version }));
        if (versions.includes(actual)) {
          expect((await work).version).toBe(actual + 1);
          continue;
        }
        const error = await refusal(work);
        expect(error.code).toBe("version_conflict");
        const key = { aggregate_type: type, aggregate_id: "a-1" };
        expect(error.details).toEqual({ ...key, expected: expected_version, actual });
        expect(error.message).toContain(`${actual}`);
        expect(await headOf(world)).toBe(head);
      }
    });
  }

  check(
    "an expectation that is none is refused",
    async ({ admin }) => {
      const expected_version = -1;
      const error = await refusal(admin.appendEvent(eventOf("none", { expected_version })));
      expect(error.code).toBe("invalid_argument");
    },
    "negative numbers",
  );
}

function eventIds(check: Check): void {
  const first = (aggregate_type: string) =>
    eventOf(aggregate_type, {
      event_id: crypto.randomUUID(),
      payload: json('{"a":1.0}'),
      note: "n",
    });

  check("the same event with its id again is answered by the first record", async (world) => {
    const { admin } = world;
    const event = first("again");
    const record = await admin.appendEvent(event);
    const head = await headOf(world);
    const upper = event.event_id?.toUpperCase() ?? "";
    expect(record.metadata.event_id).toBe(upper.toLowerCase());
    expect(await admin.appendEvent(event)).toEqual(record);
    const asOther = { ...event, event_id: upper, payload: json('{ "a": 1 }') };
    expect(await admin.appendEvent({ ...asOther, expected_version: "no_stream" })).toEqual(record);
    expect(await admin.appendEvents({ events: [event] })).toEqual([record]);
    expect(await headOf(world)).toBe(head);
  });

  const changes: readonly Partial<Input<"appendEvent">>[] = [
    { payload: json('{"a":2}') },
    { note: "m" },
    { note: null },
    { event_type: "other" },
    { aggregate_id: "other" },
  ];
  for (const change of changes) {
    check(`an id that is taken refuses ${JSON.stringify(change)}`, async (world) => {
      const event = first("taken");
      await world.admin.appendEvent(event);
      const head = await headOf(world);
      const error = await refusal(world.admin.appendEvent({ ...event, ...change }));
      expect(error.code).toBe("already_exists");
      expect(error.details).toEqual({ event_id: event.event_id });
      expect(await headOf(world)).toBe(head);
    });
  }

  for (const event_id of ["", "1", "45c3013e9b954ed09af91a465f81d3cf", "g".repeat(36)]) {
    check(`the event id "${event_id}" is none`, async ({ admin }) => {
      expect(await codeOf(admin.appendEvent(eventOf("no-id", { event_id })))).toBe(
        "invalid_argument",
      );
    });
  }
}
