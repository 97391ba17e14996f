// Random histories for the comparison of surfaces: what may be asked, by whom, and what is done
// meanwhile behind all surfaces alike.

import fc from "fast-check";
import type { Input } from "../../src/api/operations.ts";
import { root } from "../support/store.ts";
import { json, type Caller, type World } from "../support/surfaces.ts";

/** `outsider` holds a token that nobody issued, `poor` one that may append little. */
export type Who = "admin" | "member" | "poor" | "outsider";

export type Step =
  | {
      readonly kind: "ask";
      readonly who: Who;
      readonly name: string;
      readonly ask: (caller: Caller, memory: Memory) => Promise<unknown>;
    }
  | {
      readonly kind: "arrange";
      readonly name: string;
      readonly arrange: (world: World) => Promise<unknown>;
    };

/** What an earlier answer of the same world gave. */
export interface Memory {
  cursor: string | null;
}

/** Few, so that steps meet each other. */
const types = ["order", "order", "patient", "größe/😀"];
const type = fc.constantFrom(...types);
const id = fc.constantFrom("a", "a", "b", "%2F ?#");
const name = fc.oneof(
  { weight: 20, arbitrary: id },
  { weight: 1, arbitrary: fc.constantFrom(" a", "x".repeat(257), "a\u0007") },
);
const eventType = fc.constantFrom("noted", "noted", "made", "$own");
const payload = fc
  .oneof(
    fc.constantFrom('{"n":1}', '{"n":1.0,"m":[9007199254740993]}', "{}", "[]", '"x"', "1e400"),
    fc.constantFrom('{"status":"open"}', '{"n":"5","__proto__":{"10":1,"9":2}}', '{"ssn":"1"}'),
    fc.json({ maxDepth: 3 }).filter((text) => text !== "null"),
  )
  .map(json);
const eventId = fc.constantFrom(1, 2, 3).map((n) => `00000000-0000-4000-8000-00000000000${n}`);
const expected = fc.constantFrom("any" as const, "no_stream" as const, "stream_exists" as const);
const optional = <Value>(value: fc.Arbitrary<Value>) =>
  fc.option(value, { nil: undefined, freq: 2 });

/** Without the members that came out undefined. */
const record = <Shape extends object>(shape: {
  [Name in keyof Shape]: fc.Arbitrary<Shape[Name]>;
}) =>
  fc
    .record(shape)
    .map(
      (value) =>
        Object.fromEntries(
          Object.entries(value).filter(([, member]) => member !== undefined),
        ) as unknown as { [Name in keyof Shape]: Exclude<Shape[Name], undefined> },
    );

const event = record({
  aggregate_type: type,
  aggregate_id: name,
  event_type: eventType,
  payload,
  note: optional(fc.constantFrom("", "why", "😀".repeat(128), "x".repeat(129))),
  event_id: optional(fc.oneof({ weight: 3, arbitrary: eventId }, fc.constant("none"))),
  expected_version: optional(fc.oneof(expected, fc.nat({ max: 3 }))),
});

const take = optional(fc.constantFrom(0, 1, 2, 7, 2 ** 31 - 1));
const skip = optional(fc.nat({ max: 3 }));
const include_hidden = optional(fc.boolean());
const key = { aggregate_type: type, aggregate_id: name };
/** Steps are a second apart, from the clock's first instant on. */
const at = optional(
  fc.oneof(
    fc.nat({ max: 30 }).map((second) => instantOf(second)),
    fc.constant("yesterday"),
  ),
);

export const instantOf = (second: number): string =>
  Temporal.Instant.from("2026-01-01T00:00:00Z")
    .add({ seconds: second })
    .toString({ fractionalSecondDigits: 6 });

const filter = optional(
  fc.constantFrom('status = "open"', "n >= 1", "NOT EXISTS n", 'ssn = "1"', "n = = 1", '"'),
);

const asks: readonly fc.Arbitrary<Pick<Step & { kind: "ask" }, "name" | "ask">>[] = [
  event.map((input) => ({ name: show("appendEvent", input), ask: (by) => by.appendEvent(input) })),
  fc.array(event, { maxLength: 3 }).map((events) => ({
    name: show("appendEvents", events),
    ask: (by) => by.appendEvents({ events }),
  })),
  record({
    ...{ skip, take, type: optional(type), archived: optional(fc.boolean()), filter, at },
    include_hidden,
    cursor: optional(fc.constantFrom("last", "x")),
  }).map(({ cursor, ...input }) => ({
    name: show("listAggregates", { ...input, cursor }),
    ask: async (by, memory) => {
      const from = cursor === "last" ? memory.cursor : (cursor ?? null);
      const page = await by.listAggregates({
        ...input,
        ...(from === null ? {} : { cursor: from }),
      });
      memory.cursor = page.next_cursor;
      return page;
    },
  })),
  fc
    .oneof(
      { weight: 3, arbitrary: record({ ...key, version: optional(fc.nat({ max: 2 })) }) },
      { weight: 2, arbitrary: record({ ...key, at, include_hidden }) },
      { weight: 1, arbitrary: record({ ...key, version: fc.nat({ max: 3 }), at }) },
    )
    .map((input) => ({
      name: show("getAggregate", input),
      ask: (by) => by.getAggregate(input),
    })),
  record({ ...key, skip, take, include_hidden }).map((input) => ({
    name: show("listEvents", input),
    ask: (by) => by.listEvents(input),
  })),
  record({
    ...{ after: optional(fc.nat({ max: 9 })), take, include_hidden },
    ...{ aggregate_type: optional(type), aggregate_id: optional(id) },
    event_type: optional(eventType),
  }).map((input) => ({ name: show("readLog", input), ask: (by) => by.readLog(input) })),
  record({ ...key, include_hidden }).map((input) => ({
    name: show("verifyAggregate", input),
    ask: (by) => by.verifyAggregate(input),
  })),
  record({ aggregate_type: optional(type), event_type: optional(fc.constant("noted")) }).map(
    (selection) => ({ name: show("follow", selection), ask: (by) => followToEnd(by, selection) }),
  ),
];

/** All that was appended, and the event that ends it: nothing else tells on every surface. */
async function followToEnd(
  by: Caller,
  selection: { aggregate_type?: string; event_type?: string },
): Promise<unknown> {
  const { aggregate_type = "order", event_type = "noted" } = selection;
  const end = { aggregate_type, aggregate_id: "end", event_type, payload: json("{}") };
  const { position } = await by.appendEvent(end);
  const stop = new AbortController();
  const seen = [];
  const input = { ...selection, after: 0, include_hidden: true };
  for await (const each of by.follow(input, stop.signal)) {
    seen.push(each);
    if (each.position === position) break;
  }
  stop.abort();
  return seen;
}

const arrangements: readonly fc.Arbitrary<Pick<Step & { kind: "arrange" }, "name" | "arrange">>[] =
  [
    fc.record({ aggregate_type: type, aggregate_id: id }).map((input) => ({
      name: show("archive", input),
      arrange: async ({ store }) => {
        // One without events would be archived as well, but seldom be there.
        await store.dbx.appendEvent(root, { ...input, event_type: "noted", payload: json("{}") });
        return store.dbx.archiveAggregate(root, input);
      },
    })),
    fc.record({ aggregate_type: type, aggregate_id: id }).map((input) => ({
      name: show("restore", input),
      arrange: ({ store }) => store.dbx.restoreAggregate(root, input),
    })),
    type.map((aggregate) => ({
      name: show("schema", aggregate),
      arrange: ({ store }) => store.dbx.createSchema(root, { aggregate, events: ["noted"] }),
    })),
    fc.record({ aggregate: type, change: schemaChange() }).map(({ aggregate, change }) => ({
      name: show("change", { aggregate, change }),
      arrange: ({ store }) => store.dbx.changeSchema(root, { aggregate, ...change }),
    })),
  ];

function schemaChange(): fc.Arbitrary<Omit<Input<"changeSchema">, "aggregate">> {
  return fc.constantFrom(
    { hidden: true },
    { hidden: false },
    { locked: true },
    { locked: false },
    { hidden_field: { field: "ssn", hidden: true } },
    { columns: { n: "integer" } },
    { add_fields: { noted: ["n"] } },
  );
}

const show = (operation: string, input: unknown): string => `${operation} ${JSON.stringify(input)}`;

const who = fc.constantFrom<Who>("admin", "admin", "admin", "admin", "member", "poor", "outsider");

/** Mostly appends at first, so that there is something to ask about. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  ...[4, 2, 2, 2, 2, 2, 3, 1].flatMap((weight, index) => {
    const ask = asks[index];
    if (ask === undefined) return [];
    const arbitrary = fc
      .tuple(who, ask)
      .map(([by, asked]): Step => ({ kind: "ask", who: by, ...asked }));
    return [{ weight: weight * 2, arbitrary }];
  }),
  ...arrangements.map((each, index) => ({
    weight: [3, 1, 3, 3][index] ?? 1,
    arbitrary: each.map((arranged): Step => ({ kind: "arrange", ...arranged })),
  })),
);
