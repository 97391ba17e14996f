// Whether an event may be appended: the mode, the locks, the event's own fields, and their order.

import { describe, expect, test } from "bun:test";
import { canonicalize } from "../../src/model/canonical.ts";
import type { Restriction } from "../../src/model/config.ts";
import { patternBudget } from "../../src/model/schema/budget.ts";
import { checkEvent } from "../../src/model/schema/check.ts";
import { compileSchema } from "../../src/model/schema/compile.ts";
import type { Schema } from "../../src/model/schema/schema.ts";
import { refusalOf, schemaOf } from "../support/schema-rules.ts";

interface Sent {
  readonly schema?: Partial<Schema> | undefined;
  readonly restriction?: Restriction;
  readonly event_type?: string;
  readonly payload?: string;
}

const refusal = ({ schema, restriction = "default", event_type = "added", payload = "{}" }: Sent) =>
  refusalOf(() =>
    checkEvent(
      restriction,
      schema && compileSchema(schemaOf(schema)),
      { aggregate_type: "patient", event_type, payload: canonicalize(payload) },
      patternBudget(),
    ),
  );

describe("the restriction", () => {
  const broken = { locked: true, column_types: { a: "integer" } };
  test("off checks nothing, not even locks", () => {
    expect(refusal({ restriction: "off" })).toBeNull();
    expect(refusal({ restriction: "off", schema: broken, payload: '{"a":"x"}' })).toBeNull();
  });
  test("default checks where there is a schema", () => {
    expect(refusal({})).toBeNull();
    expect(refusal({ schema: broken })?.code).toBe("schema_violation");
  });
  test("strict needs a schema, and checks it", () => {
    expect(refusal({ restriction: "strict" })).toEqual({
      code: "schema_violation",
      message:
        "schema violation: aggregate patient requires a schema before events can be appended " +
        "when restrict=strict",
      details: { aggregate_type: "patient" },
    });
    expect(refusal({ restriction: "strict", schema: {} })).toBeNull();
    expect(refusal({ restriction: "strict", schema: broken })?.code).toBe("schema_violation");
  });
});

const events = { added: { fields: ["age", "name"] }, moved: { fields: [] } };
const whole = '{"age":1,"name":"x"}';

/** Each row breaks the rule it is refused for, and rules that come later. */
const order: readonly [sent: Sent, message: string, field: string | null][] = [
  [
    { schema: { locked: true, field_locks: ["age"], events }, event_type: "died" },
    "aggregate patient is locked for updates",
    null,
  ],
  [
    { schema: { field_locks: ["age"], events }, event_type: "died", payload: whole },
    "field age is locked for aggregate patient",
    "age",
  ],
  [
    { schema: { events, column_types: { age: "text" } }, event_type: "died", payload: "[]" },
    "event died is not defined for aggregate patient",
    null,
  ],
  [
    { schema: { events, column_types: { age: "text" } }, payload: '{"age":1,"zip":1}' },
    "missing required field name for event added",
    "name",
  ],
  [
    { schema: { events, column_types: { age: "text" } }, payload: '{"age":1,"name":"x","zip":1}' },
    "field zip is not permitted for event added",
    "zip",
  ],
  [
    { schema: { events, column_types: { age: "text" } }, event_type: "moved", payload: "[]" },
    "aggregate patient expects object payload for validation",
    null,
  ],
  [
    { schema: { events, column_types: { age: "text" } }, payload: whole },
    "field age must be a string",
    "age",
  ],
];

test.each([...order])("the first fault is told: %j", (sent, message, field) => {
  expect(refusal(sent)).toEqual({
    code: "schema_violation",
    message: `schema violation: ${message}`,
    details: {
      aggregate_type: "patient",
      event: sent.event_type ?? "added",
      ...(field === null ? {} : { field }),
    },
  });
});

test("an event with fields has these and no others; null counts as there", () => {
  expect(refusal({ schema: { events }, payload: whole })).toBeNull();
  expect(refusal({ schema: { events }, payload: '{"age":null,"name":null}' })).toBeNull();
  expect(refusal({ schema: { events }, payload: "{}" })?.details["field"]).toBe("age");
});

test("an event without fields has any", () => {
  expect(refusal({ schema: { events }, event_type: "moved", payload: '{"x":1}' })).toBeNull();
  expect(refusal({ schema: { events }, event_type: "moved", payload: "[1]" })).toBeNull();
});

test("a payload that is no object is the field _value", () => {
  const single = { added: { fields: ["_value"] } };
  for (const payload of ["1", "null", '"x"', "[]"]) {
    expect(refusal({ schema: { events: single }, payload })).toBeNull();
    expect(refusal({ schema: { events }, payload })?.message).toBe(
      "schema violation: missing required field age for event added",
    );
    expect(refusal({ schema: { field_locks: ["_value"] }, payload })?.message).toBe(
      "schema violation: field _value is locked for aggregate patient",
    );
  }
});

test("locks and fields name members at the top only, however they are escaped", () => {
  const schema = { field_locks: ["age", 'a"b', "__proto__"] };
  expect(refusal({ schema, payload: '{"x":{"age":1}}' })).toBeNull();
  for (const payload of ['{"\\u0061ge":1}', '{"a\\"b":1}', '{"__proto__":1}'])
    expect(refusal({ schema, payload })?.message).toEndWith("is locked for aggregate patient");
});

test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])(
  "%s is a name like any other",
  (name) => {
    expect(refusal({ schema: {}, event_type: name })?.details["event"]).toBe(name);
    const columns = { column_types: { [name]: { type: "integer", required: true } } };
    expect(refusal({ schema: columns })?.message).toBe(
      `schema violation: field ${name} is required`,
    );
    expect(refusal({ schema: columns, payload: `{"${name}":1}` })).toBeNull();
    expect(
      refusal({ schema: { events: { [name]: { fields: [name] } } }, event_type: name }),
    ).toEqual({
      code: "schema_violation",
      message: `schema violation: missing required field ${name} for event ${name}`,
      details: { aggregate_type: "patient", event: name, field: name },
    });
  },
);

test("a refusal does not give back megabytes", () => {
  const name = "x".repeat(100_000);
  const answer = refusal({ schema: { events }, payload: `{"age":1,"name":1,"${name}":1}` });
  expect(JSON.stringify(answer).length).toBeLessThan(1_000);
});
