// How a schema begins and changes: what each change does, and that a wrong one does nothing.

import { describe, expect, test } from "bun:test";
import { changeSchema, newSchema, removeSchemaEvent } from "../../src/model/schema/change.ts";
import type { Schema, SchemaChange } from "../../src/model/schema/schema.ts";
import { refusalOf, schemaOf } from "../support/schema-rules.ts";

const now = "2026-02-03T04:05:06.000001Z";

const change = (over: Partial<Schema>, changes: SchemaChange): Schema =>
  changeSchema(schemaOf(over), changes, { now });
const columnsAfter = (column_types: Schema["column_types"], columns: Schema["column_types"]) =>
  change({ column_types }, { columns }).column_types;

describe("a new schema", () => {
  const create = (events: string[], over = {}) =>
    newSchema({ aggregate: "patient", events, ...over }, { now, snapshot_threshold: 9 });

  test("has its events in order and everything else open", () => {
    expect(create(["b", "a", "b"])).toEqual({
      aggregate: "patient",
      snapshot_threshold: 9,
      locked: false,
      field_locks: [],
      hidden: false,
      hidden_fields: [],
      column_types: {},
      events: { a: { fields: [] }, b: { fields: [] } },
      created_at: now,
      updated_at: now,
    });
    expect(Object.keys(create(["b", "a"]).events)).toEqual(["a", "b"]);
  });
  test("has the threshold it asks for, none if it asks for none", () => {
    expect(create(["a"], { snapshot_threshold: 3 }).snapshot_threshold).toBe(3);
    expect(create(["a"], { snapshot_threshold: 0 }).snapshot_threshold).toBe(0);
    expect(create(["a"], { snapshot_threshold: null }).snapshot_threshold).toBeNull();
  });
  test.each([
    [[], {}, "at least one event must be provided"],
    [["a", " "], {}, "event names cannot be empty"],
    [["a", "b\n"], {}, "event name b\n must not contain control characters"],
    [["a"], { aggregate: " " }, "aggregate name must be provided"],
  ])("of events %j and %j is refused: %s", (events, over, says) => {
    const refusal = refusalOf(() => create(events, over));
    expect(refusal?.code).toBe("invalid_argument");
    expect(refusal?.message).toBe(`invalid schema: ${says}`);
  });
});

describe("a change", () => {
  const rich = {
    snapshot_threshold: 5,
    field_locks: ["a", "c"],
    hidden_fields: ["x"],
    column_types: { age: "integer" },
    events: { added: { fields: ["age"], notes: "first" }, moved: { fields: [] } },
  };

  test("of nothing only tells when", () => {
    expect(change(rich, {})).toEqual({ ...schemaOf(rich), updated_at: now });
  });

  const table: readonly [changes: SchemaChange, changed: Partial<Schema>][] = [
    [{ snapshot_threshold: 7 }, { snapshot_threshold: 7 }],
    [{ snapshot_threshold: 0 }, { snapshot_threshold: 0 }],
    [{ snapshot_threshold: null }, { snapshot_threshold: null }],
    [{ locked: true }, { locked: true }],
    [{ hidden: true }, { hidden: true }],
    [{ field_lock: { field: "b", lock: true } }, { field_locks: ["a", "b", "c"] }],
    [{ field_lock: { field: "a", lock: true } }, { field_locks: ["a", "c"] }],
    [{ field_lock: { field: "a", lock: false } }, { field_locks: ["c"] }],
    [{ field_lock: { field: "zzz", lock: false } }, { field_locks: ["a", "c"] }],
    [{ hidden_field: { field: "b", hidden: true } }, { hidden_fields: ["b", "x"] }],
    [{ hidden_field: { field: "x", hidden: false } }, { hidden_fields: [] }],
    [{ add_events: ["left", "added"] }, { events: { ...rich.events, left: { fields: [] } } }],
    [
      { add_fields: { added: ["name", "age", "name"], left: ["why"] } },
      {
        events: {
          added: { fields: ["age", "name"], notes: "first" },
          moved: { fields: [] },
          left: { fields: ["why"] },
        },
      },
    ],
    [
      { remove_fields: { added: ["age", "zzz"], unknown: ["x"] } },
      { events: { added: { fields: [], notes: "first" }, moved: { fields: [] } } },
    ],
    [
      { event_notes: { added: null, moved: "n".repeat(128) } },
      { events: { added: { fields: ["age"] }, moved: { fields: [], notes: "n".repeat(128) } } },
    ],
    [
      {
        add_events: ["left"],
        add_fields: { left: ["a", "b"] },
        remove_fields: { left: ["a"] },
        event_notes: { left: "😀".repeat(128) },
        locked: true,
      },
      {
        locked: true,
        events: { ...rich.events, left: { fields: ["b"], notes: "😀".repeat(128) } },
      },
    ],
    [{ columns: { name: "string" } }, { column_types: { age: "integer", name: "text" } }],
    [{ columns: { age: null, gone: null } }, { column_types: {} }],
  ];
  test.each([...table])("of %j does that and nothing else", (changes, changed) => {
    expect(change(rich, changes)).toEqual({ ...schemaOf(rich), ...changed, updated_at: now });
  });

  test.each(["", " ", "a.b", "a\n", "x".repeat(300)])(
    "takes away what somebody put into the file, though no change would put it there: %j",
    (field) => {
      const events = { added: { fields: [field] } };
      const edited = { events, field_locks: [field], hidden_fields: [field] };
      const off = {
        remove_fields: { added: [field] },
        field_lock: { field, lock: false },
        hidden_field: { field, hidden: false },
      };
      expect(change(edited, off)).toEqual(
        schemaOf({ events: { added: { fields: [] } }, updated_at: now }),
      );
    },
  );

  test("keeps names in order", () => {
    const changed = change({ events: { b: { fields: [] } } }, { add_events: ["c", "a"] });
    expect(Object.keys(changed.events)).toEqual(["a", "b", "c"]);
    expect(Object.keys(columnsAfter({ b: "int" }, { c: "int", a: "int" }))).toEqual([
      ...["a", "b", "c"],
    ]);
  });

  const topLevel = (field: string) =>
    `field ${field} has a dot: only members at the top level of a payload can be hidden, locked or ` +
    "listed";
  const wrong: readonly [changes: SchemaChange, says: string][] = [
    [{ field_lock: { field: " ", lock: true } }, "field name cannot be empty"],
    [{ hidden_field: { field: "", hidden: true } }, "field name cannot be empty"],
    [{ field_lock: { field: "address.city", lock: true } }, topLevel("address.city")],
    [{ hidden_field: { field: "address.city", hidden: true } }, topLevel("address.city")],
    [{ add_fields: { added: ["age", "a.b"] } }, topLevel("a.b")],
    [{ remove_fields: { added: ["age", "a.b"] } }, topLevel("a.b")],
    [{ remove_fields: { unknown: ["."] } }, topLevel(".")],
    [{ remove_fields: { added: [""] } }, "field names cannot be empty"],
    [{ add_events: [""] }, "event names cannot be empty"],
    [{ add_fields: { "": [] } }, "event names cannot be empty"],
    [{ add_fields: { added: [" "] } }, "field names cannot be empty"],
    [{ event_notes: { left: "x" } }, "event left is not defined for aggregate patient"],
    [{ event_notes: { left: null } }, "event left is not defined for aggregate patient"],
    [
      { event_notes: { added: "n".repeat(129) } },
      "default note for event added cannot exceed 128 characters",
    ],
    [{ columns: { "address.city": "text" } }, "cannot update rules for undefined field address"],
    [
      { columns: { "age.x": "text" } },
      "field age cannot define nested properties on non-object type",
    ],
    [{ columns: { "": "text" } }, "field names cannot be empty"],
    [{ columns: { name: "txt" } }, "invalid column type 'txt' of field name: use integer, float"],
    [{ columns: { age: { type: "int", rnage: {} } } }, "field age has unknown member 'rnage'"],
    [
      { columns: { name: { type: "text", must_match: "age" } } },
      "field name must match age, but their types differ",
    ],
  ];
  test.each([...wrong])("of %j is refused: %s", (changes, says) => {
    const before = schemaOf(rich);
    const refusal = refusalOf(() => changeSchema(before, { locked: true, ...changes }, { now }));
    expect(refusal?.code).toBe("invalid_argument");
    expect(refusal?.message).toStartWith(`invalid schema: ${says}`);
    expect(before).toEqual(schemaOf(rich));
  });

  test("may not take away the column that another must match", () => {
    const column_types = { a: "text", b: { type: "text", must_match: "a" } };
    const refusal = refusalOf(() => columnsAfter(column_types, { a: null }));
    expect(refusal?.message).toBe(
      "invalid schema: field b must match a, but a is not defined in schema",
    );
    expect(columnsAfter(column_types, { a: null, b: null })).toEqual({});
    expect(columnsAfter(column_types, { a: "date", b: "date" })).toEqual({ a: "date", b: "date" });
  });
});

describe("a column", () => {
  const address = { type: "object", required: true, properties: { city: "text", zip: "text" } };

  test("is kept in one form, however it was written", () => {
    const forms = columnsAfter(
      {},
      {
        a: { type: " INT " },
        b: { type: "Numeric( 8 , 2 )", required: false, contains: [], length: null, range: {} },
        c: { format: "email", regex: ["a"], type: "string", length: { max: 3 }, required: true },
        d: { type: "object", properties: { y: { type: "bool" }, x: "bytes" } },
        e: { type: "float", range: { max: "1" } },
      },
    );
    expect(JSON.stringify(forms)).toBe(
      JSON.stringify({
        a: "integer",
        b: "decimal(8,2)",
        c: {
          type: "text",
          required: true,
          regex: ["a"],
          length: { min: null, max: 3 },
          format: "email",
        },
        d: { type: "object", properties: { x: "binary", y: "boolean" } },
        e: { type: "float", range: { min: null, max: "1" } },
      }),
    );
  });
  test("gets new settings for old ones", () => {
    const column_types = { a: { type: "text", required: true, regex: ["x"] } };
    expect(columnsAfter(column_types, { a: { type: "text", format: "url" } })).toEqual({
      a: { type: "text", format: "url" },
    });
  });
  test("keeps its properties where the new settings say nothing of them", () => {
    const kept = { type: "json", properties: address.properties };
    expect(columnsAfter({ address }, { address: "json" })).toEqual({ address: kept });
    expect(columnsAfter({ address }, { address: { type: "json", properties: {} } })).toEqual({
      address: "json",
    });
    expect(columnsAfter({ address }, { address: "text" })).toEqual({ address: "text" });
  });
  test("is set and removed by its path", () => {
    expect(columnsAfter({ address }, { "address.city": { type: "text", required: true } })).toEqual(
      {
        address: {
          ...address,
          properties: { city: { type: "text", required: true }, zip: "text" },
        },
      },
    );
    expect(columnsAfter({ address }, { "address.zip": null, "address.x": null })).toEqual({
      address: { ...address, properties: { city: "text" } },
    });
    expect(columnsAfter({ address }, { "gone.x": null, "address.city.x": null })).toEqual({
      address,
    });
  });
  test("and its properties may come in one change, in any order", () => {
    expect(columnsAfter({}, { "a.b.c": "int", "a.b": "json", a: "object" })).toEqual({
      a: {
        type: "object",
        properties: { b: { type: "json", properties: { c: "integer" } } },
      },
    });
  });
});

describe("an event", () => {
  const events = { added: { fields: ["a"] }, moved: { fields: [] } };
  const remove = (over: Partial<Schema>, event: string) =>
    removeSchemaEvent(schemaOf(over), event, { now });

  test("is removed with its fields", () => {
    expect(remove({ events }, "added")).toEqual(
      schemaOf({ events: { moved: { fields: [] } }, updated_at: now }),
    );
  });
  test.each(["died", "__proto__"])("that is unknown is not: %s", (event) => {
    expect(refusalOf(() => remove({ events }, event))).toEqual({
      code: "schema_violation",
      message: `schema violation: event ${event} is not defined for aggregate patient`,
      details: { aggregate_type: "patient", event },
    });
  });
  test("that is the last stays", () => {
    expect(refusalOf(() => remove({}, "added"))).toEqual({
      code: "schema_violation",
      message: "schema violation: aggregate patient must define at least one event",
      details: { aggregate_type: "patient", event: "added" },
    });
  });
});
