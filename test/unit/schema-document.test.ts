// `schemas.json`: what is written, what is read, and what is refused with its place.

import { describe, expect, test } from "bun:test";
import { writeSchemas } from "../../src/model/schema/document.ts";
import { readSchemas, refusalOf, schemaOf } from "../support/schema-rules.ts";

const read = (schemas: unknown) => readSchemas(JSON.stringify(schemas));

test("a blank document has no schemas, and none are written as an empty object", () => {
  for (const text of ["", " \n\t", "{}", "{ }\n"]) expect(readSchemas(text).size).toBe(0);
  expect(writeSchemas(new Map())).toBe("{}\n");
});

const ward = schemaOf({
  aggregate: "ward",
  snapshot_threshold: 3,
  field_locks: ["a"],
  hidden_fields: ["b"],
  column_types: { beds: { type: "integer", range: { min: "0", max: null } }, name: "text" },
  events: { closed: { fields: [] }, opened: { fields: ["name"], notes: "first" } },
});

test("the document is this text, to the byte", () => {
  const text = writeSchemas(
    new Map([
      ["ward", ward],
      ["bed", schemaOf({ aggregate: "bed" })],
    ]),
  );
  expect(text).toBe(`{
  "bed": {
    "aggregate": "bed",
    "snapshot_threshold": null,
    "locked": false,
    "field_locks": [],
    "hidden": false,
    "hidden_fields": [],
    "column_types": {},
    "events": {
      "added": {
        "fields": []
      }
    },
    "created_at": "2026-01-02T03:04:05.678901Z",
    "updated_at": "2026-01-02T03:04:05.678901Z"
  },
  "ward": {
    "aggregate": "ward",
    "snapshot_threshold": 3,
    "locked": false,
    "field_locks": [
      "a"
    ],
    "hidden": false,
    "hidden_fields": [
      "b"
    ],
    "column_types": {
      "beds": {
        "type": "integer",
        "range": {
          "min": "0",
          "max": null
        }
      },
      "name": "text"
    },
    "events": {
      "closed": {
        "fields": []
      },
      "opened": {
        "fields": [
          "name"
        ],
        "notes": "first"
      }
    },
    "created_at": "2026-01-02T03:04:05.678901Z",
    "updated_at": "2026-01-02T03:04:05.678901Z"
  }
}
`);
  expect([...readSchemas(text)]).toEqual([
    ["bed", schemaOf({ aggregate: "bed" })],
    ["ward", ward],
  ]);
});

test("what is missing has its default", () => {
  expect(read({ patient: {} }).get("patient")).toEqual({
    aggregate: "patient",
    snapshot_threshold: null,
    locked: false,
    field_locks: [],
    hidden: false,
    hidden_fields: [],
    column_types: {},
    events: {},
    created_at: "1970-01-01T00:00:00Z",
    updated_at: "1970-01-01T00:00:00Z",
  });
});

test("what people and EventDBX write differently is made one", () => {
  const patient = {
    aggregate: "patient",
    snapshot_threshold: 0,
    field_locks: ["b", "a", "b"],
    column_types: { b: { type: "numeric(8, 2)" }, a: { type: "INT", required: false } },
    events: { moved: { notes: null }, added: { fields: ["z", "y", "z"] } },
    created_at: "2024-12-01T17:22:43.512345678Z",
  };
  expect(read({ patient }).get("patient")).toEqual({
    ...schemaOf(),
    snapshot_threshold: 0,
    field_locks: ["a", "b"],
    column_types: { a: "integer", b: "decimal(8,2)" },
    events: { added: { fields: ["y", "z"] }, moved: { fields: [] } },
    created_at: "2024-12-01T17:22:43.512345678Z",
    updated_at: "2024-12-01T17:22:43.512345678Z",
  });
});

test.each([
  "2024-12-01T17:22:43Z",
  "2024-12-01T17:22:43.512Z",
  "2024-12-01T17:22:43.512345678Z",
  "2024-12-01T17:22:43+00:00",
  "2024-12-01T18:22:43.5+01:00",
])("the time %s is kept as it is", (updated_at) => {
  const text = writeSchemas(read({ patient: { updated_at } }));
  expect(readSchemas(text).get("patient")?.updated_at).toBe(updated_at);
});

describe("a document is damaged", () => {
  test.each([
    ["[]", "schemas.json must be an object of schemas by name"],
    ["null", "schemas.json must be an object of schemas by name"],
    ["{", "schemas.json is no JSON: "],
    ['{"patient":{}', "schemas.json is no JSON: "],
    ['{"patient":{},"patient":{}}', "schemas.json is no JSON: "],
    ['{"patient":{"locked":true,"locked":false}}', "schemas.json is no JSON: "],
    ["[".repeat(100_000), "schemas.json is no JSON: "],
  ])("as the text %p", (text, says) => {
    const refusal = refusalOf(() => readSchemas(text));
    expect(refusal?.code).toBe("data_corrupted");
    expect(refusal?.message).toStartWith(says);
  });

  const table: readonly [patient: unknown, member: string, says: string][] = [
    [[], "", "schema patient must be an object"],
    [null, "", "schema patient must be an object"],
    [{ lockd: true }, "lockd", "lockd of schema patient is unknown; did you mean locked?"],
    [{ zzz: 1 }, "zzz", "zzz of schema patient is unknown"],
    [
      { aggregate: "ward" },
      "aggregate",
      "aggregate of schema patient must be the name it is kept under",
    ],
    [{ aggregate: 1 }, "aggregate", "aggregate of schema patient must be a string"],
    [{ locked: "yes" }, "locked", "locked of schema patient must be true or false"],
    [{ hidden: null }, "hidden", "hidden of schema patient must be true or false"],
    [{ field_locks: "a" }, "field_locks", "field_locks of schema patient must be a list of names"],
    [{ hidden_fields: [1] }, "hidden_fields", "hidden_fields of schema patient must be a string"],
    ...[-1, 1.5, "3", 2 ** 53].map((snapshot_threshold): [unknown, string, string] => [
      { snapshot_threshold },
      "snapshot_threshold",
      "snapshot_threshold of schema patient must be null or a whole number from 0",
    ]),
    [{ events: [] }, "events", "events of schema patient must be an object of events by name"],
    [{ events: { e: [] } }, "events.e", "events.e of schema patient must be an object"],
    [{ events: { e: { fields: "a" } } }, "events.e", "events.e of schema patient must be a list"],
    [{ events: { e: { notes: 1 } } }, "events.e", "events.e of schema patient must be a string"],
    [
      { events: { e: { note: "x" } } },
      "events.e",
      "events.e of schema patient has unknown member note; use fields and notes",
    ],
    [
      { created_at: "yesterday" },
      "created_at",
      "created_at of schema patient must be an RFC 3339 timestamp",
    ],
    [
      { updated_at: "2024-12-01" },
      "updated_at",
      "updated_at of schema patient must be an RFC 3339 timestamp",
    ],
    [
      { column_types: { a: "txt" } },
      "column_types",
      "column_types of schema patient are wrong: invalid schema: invalid column type 'txt'",
    ],
    [{ column_types: [] }, "column_types", "column_types of schema patient are wrong: "],
  ];
  test.each([...table])("in a schema such as %j", (patient, member, says) => {
    const refusal = refusalOf(() => read({ bed: {}, patient }));
    expect(refusal?.code).toBe("data_corrupted");
    expect(refusal?.message).toStartWith(`schemas.json: ${says}`);
    expect(refusal?.details).toEqual({ schema: "patient", member });
  });
});
