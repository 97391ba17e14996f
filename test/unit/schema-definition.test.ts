// What is wrong with a schema is found when it is defined: every fault, with its words and place.

import { describe, expect, spyOn, test } from "bun:test";
import { RE2JS } from "re2js";
import { limits } from "../../src/model/limits.ts";
import { compileSchema } from "../../src/model/schema/compile.ts";
import { defineColumns, refusalOf, schemaOf } from "../support/schema-rules.ts";

const many = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`);
const most = limits.schema_entries_max;
const chars = limits.pattern_chars_max;

const words =
  "integer, float, decimal(p,s), boolean, text, timestamp, date, json, binary or object";
const notText = ["integer", "float", "decimal(2,1)", "boolean", "timestamp", "date", "json"].concat(
  ["binary", "object"],
);
const noLength = notText.filter((type) => type !== "binary");
const noRange = ["boolean", "text", "json", "binary", "object"];
const noNesting = [
  "integer",
  "float",
  "decimal(2,1)",
  "boolean",
  "text",
  "timestamp",
  "date",
].concat(["binary"]);

type Row = readonly [settings: unknown, words: string];

const shapes: readonly Row[] = [
  [1, "field f needs a type such as integer, or an object with type and rules"],
  [null, "field f needs a type such as integer, or an object with type and rules"],
  [[], "field f needs a type such as integer, or an object with type and rules"],
  [{}, "field f has no type"],
  [{ required: true }, "field f has no type"],
  [{ type: 1 }, "field f type must be a string"],
  [{ type: "text", lenght: {} }, "field f has unknown member 'lenght'; did you mean length?"],
  [{ type: "text", require: true }, "field f has unknown member 'require'; did you mean required?"],
  [{ type: "text", zzz: 1 }, "field f has unknown member 'zzz'"],
  [{ type: "text", required: "yes" }, "field f required must be true or false"],
  [{ type: "text", contains: "a" }, "field f contains must be a list of strings"],
  [{ type: "text", does_not_contain: [1] }, "field f does_not_contain must be a list of strings"],
  [{ type: "text", regex: {} }, "field f regex must be a list of strings"],
  [{ type: "text", must_match: 1 }, "field f must_match must be a string"],
  [{ type: "text", length: 3 }, "field f length must be an object with min and max"],
  [
    { type: "text", length: { mni: 1 } },
    "field f length has unknown member 'mni'; use min and max",
  ],
  [{ type: "text", length: { min: -1 } }, "field f length minimum must be a whole number from 0"],
  [{ type: "text", length: { max: 1.5 } }, "field f length maximum must be a whole number from 0"],
  [{ type: "text", length: { max: "1" } }, "field f length maximum must be a whole number from 0"],
  [{ type: "text", length: { min: 2, max: 1 } }, "field f length minimum 2 is above its maximum 1"],
  [{ type: "integer", range: [1, 2] }, "field f range must be an object with min and max"],
  [
    { type: "integer", range: { minimum: "1" } },
    "field f range has unknown member 'minimum'; use min and max",
  ],
  [{ type: "integer", range: { min: 1 } }, 'field f range minimum must be a string, such as "10"'],
  [
    { type: "text", format: "e-mail" },
    "field f has unknown format 'e-mail'; use email, url, credit_card",
  ],
  [{ type: "text", format: 1 }, "field f has unknown format; use email, url, credit_card"],
  [{ type: "object", properties: [] }, "field f must have its properties by name"],
  [
    { type: "text", must_match: "x".repeat(chars + 1) },
    `field f must_match must have at most ${chars} characters`,
  ],
  [
    { type: "text", contains: many(most + 1) },
    `field f contains must have at most ${most} entries`,
  ],
  [
    { type: "text", does_not_contain: ["x".repeat(chars + 1)] },
    `field f each of does_not_contain must have at most ${chars} characters`,
  ],
  [
    { type: "text", regex: ["x".repeat(chars + 1)] },
    `field f each of regex must have at most ${chars} characters`,
  ],
  [
    { type: "decimal(9,0)", range: { min: "1".repeat(chars + 1) } },
    `field f range minimum must have at most ${chars} characters`,
  ],
];

const types: readonly Row[] = [
  ...["strng", "", "decimal", "decimal()", "decimal(4)", "decimal(4,2)x", "decimal(4,2))"],
  ...["decimal(-1,0)", "decimal(4.0,2)", "decimal(1000,2)", "numeric (4;2)", "integer(4)"],
].map((type) => [type, `invalid column type '${type}' of field f: use ${words}`] as const);

const decimals: readonly Row[] = [
  [
    "decimal(2,3)",
    "invalid column type 'decimal(2,3)' of field f: the scale is above the precision",
  ],
  [
    "decimal(256,3)",
    "invalid column type 'decimal(256,3)' of field f: a decimal has at most 255 digits",
  ],
];

const misplaced: readonly Row[] = [
  ...notText.flatMap((type): Row[] => [
    [{ type, contains: ["a"] }, "field f does not support contains validation"],
    [{ type, does_not_contain: ["a"] }, "field f does not support does_not_contain validation"],
    [{ type, regex: ["a"] }, "field f does not support regex validation"],
    [{ type, format: "url" }, "field f does not support format validation"],
  ]),
  ...noLength.map((type): Row => [
    { type, length: { min: 1 } },
    "field f does not support length validation",
  ]),
  ...noRange.map((type): Row => [
    { type, range: { min: "1" } },
    "field f does not support range validation",
  ]),
  ...noNesting.map((type): Row => [
    { type, properties: { x: "text" } },
    "field f cannot define nested properties on non-object type",
  ]),
];

const bounds: readonly Row[] = [
  ...["1.5", "", "1e3", "x", "9223372036854775808", "-9223372036854775809"].map((bound): Row => [
    { type: "integer", range: { min: bound } },
    `field f range minimum '${bound}' is not a valid integer`,
  ]),
  ...["nan", "inf", "", "1e400"].map((bound): Row => [
    { type: "float", range: { max: bound } },
    `field f range maximum '${bound}' is not a valid float`,
  ]),
  ...["1e2", "", "nan"].map((bound): Row => [
    { type: "decimal(4,2)", range: { min: bound } },
    `field f range minimum '${bound}' is not a valid decimal`,
  ]),
  ...["2024-01-01", "2024-02-30T00:00:00Z", ""].map((bound): Row => [
    { type: "timestamp", range: { max: bound } },
    `field f range boundary '${bound}' is not a valid RFC3339 timestamp`,
  ]),
  ...["2024-1-1", "2023-02-29", ""].map((bound): Row => [
    { type: "date", range: { min: bound } },
    `field f range boundary '${bound}' is not a valid date (YYYY-MM-DD)`,
  ]),
  ...(
    [
      ["integer", "10", "9"],
      ["float", "1e1", "9.5"],
      ["decimal(4,2)", "0.11", "0.1"],
      ["timestamp", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00+00:01"],
      ["date", "2024-01-02", "2024-01-01"],
    ] as const
  ).map(([type, min, max]): Row => [
    { type, range: { min, max } },
    `field f range minimum '${min}' is above its maximum '${max}'`,
  ]),
];

const patterns: readonly Row[] = [
  ...["(?=a)b", "a(?!b)", "(?<=a)b", "(?<!a)b", "(a)\\1", "[", "(", "*", "a{1001}"].map(
    (pattern): Row => [
      { type: "text", regex: ["ok", pattern] },
      `field f has invalid regex '${pattern}': `,
    ],
  ),
];

describe("a column is refused when it is defined", () => {
  test.each([...shapes, ...types, ...decimals, ...misplaced, ...bounds])("as %j: %s", (f, says) => {
    expect(defineColumns({ f })).toEqual({
      code: "invalid_argument",
      message: `invalid schema: ${says}`,
      details: { field: "f" },
    });
  });
  test.each([...patterns])("as %j, because no linear engine can match it", (f, says) => {
    const refusal = defineColumns({ f });
    expect(refusal?.message).toStartWith(`invalid schema: ${says}`);
    expect(refusal?.message.length).toBeGreaterThan(`invalid schema: ${says}`.length);
    expect(refusal).toMatchObject({ code: "invalid_argument", details: { field: "f" } });
  });
  test.each([["(abcdefghij){1000}"], ["x{0,1000}", "y{0,1000}".repeat(5)]])(
    "with patterns of too many steps: %s %s",
    (...regex) => {
      const refusal = defineColumns({ f: { type: "text", regex } });
      expect(refusal?.message).toMatch(/^invalid schema: field f has patterns of \d+ steps, more/);
      expect(refusal?.details).toMatchObject({ field: "f" });
    },
  );
  test("with patterns of too many characters in all, before any of them is compiled", () => {
    const compile = spyOn(RE2JS, "compile");
    const text = (length: number) => ({ type: "text", regex: ["x".repeat(length)] });
    const limit = limits.schema_pattern_chars_max;
    const full = Object.fromEntries(
      many(Math.floor(limit / chars)).map((name) => [name, text(chars)]),
    );
    const rest = limit % chars;
    const within = (length: number) => ({
      ...full,
      o: { type: "json", properties: { p: text(length) } },
    });
    try {
      expect(defineColumns(within(rest))).toBeNull();
      expect(compile).toHaveBeenCalled();
      compile.mockClear();
      expect(defineColumns(within(rest + 1))).toEqual({
        code: "invalid_argument",
        message:
          `invalid schema: at most ${limit} characters of patterns in all columns, but there are ` +
          `${limit + 1}`,
        details: { pattern_chars: limit + 1, limit },
      });
      expect(compile).not.toHaveBeenCalled();
    } finally {
      compile.mockRestore();
    }
  });
  test.each([...patterns, ...shapes.slice(0, 3)])("also as a property: %j", (city, says) => {
    const refusal = defineColumns({ f: { type: "json", properties: { city } } });
    expect(refusal?.message).toStartWith(
      `invalid schema: ${says.replace("field f", "field f.city")}`,
    );
    expect(refusal?.details["field"]).toBe("f.city");
  });
});

test("rules where they make sense are accepted", () => {
  const range = { min: "1", max: "1" };
  const column_types = {
    a: { type: "text", contains: ["a"], regex: ["x"], format: "url", length: { min: 1, max: 1 } },
    b: { type: "binary", length: { max: Number.MAX_SAFE_INTEGER } },
    c: { type: "integer", range },
    d: { type: "float", range },
    e: { type: "decimal(1,0)", range: { min: "-99999999999999999999999.5" } },
    f: { type: "timestamp", range: { min: "2024-01-01T00:00:00Z" } },
    g: { type: "date", range: { min: "2024-02-29", max: "2024-02-29" } },
    h: { type: "object", properties: { x: { type: "json", properties: { y: "int" } } } },
    i: { type: "text", must_match: "a", required: true },
    ["__proto__"]: "text",
  };
  expect(defineColumns(column_types)).toBeNull();
});

describe("must_match is refused when it is defined", () => {
  const nested = (type: string) => ({ o: { type: "object", properties: { x: type } } });
  test.each([
    [{ f: { type: "text", must_match: "g" } }, "f", "g", "g is not defined in schema"],
    [{ f: { type: "text", must_match: "" } }, "f", "", " is not defined in schema"],
    [{ f: { type: "text", must_match: "g" }, g: "date" }, "f", "g", "their types differ"],
    [
      { f: { type: "decimal(4,2)", must_match: "g" }, g: "decimal(4,1)" },
      ...(["f", "g", "their types differ"] as const),
    ],
    [
      { f: { type: "text", must_match: "x" }, ...nested("text") },
      ...(["f", "x", "x is not defined in schema"] as const),
    ],
    [
      { f: { type: "text", must_match: "o.x" }, ...nested("integer") },
      ...(["f", "o.x", "their types differ"] as const),
    ],
    [
      { o: { type: "object", properties: { x: { type: "text", must_match: "y" }, y: "text" } } },
      ...(["o.x", "y", "y is not defined in schema"] as const),
    ],
  ])("as %j", (column_types, field, must_match, why) => {
    expect(defineColumns(column_types)).toEqual({
      code: "invalid_argument",
      message: `invalid schema: field ${field} must match ${must_match}, but ${why}`,
      details: { field, must_match },
    });
  });
  test.each([
    [{ f: { type: "string", must_match: "g" }, g: "text" }],
    [{ f: { type: "numeric( 4, 2 )", must_match: "g" }, g: "decimal(4,2)" }],
    [{ f: { type: "text", must_match: "o.x" }, ...nested("text") }],
  ])("but not as %j", (column_types) => {
    expect(defineColumns(column_types)).toBeNull();
  });
});

describe("names and numbers of columns", () => {
  test.each([
    ["", "field names cannot be empty"],
    [" \t", "field names cannot be empty"],
    [" a", "field name  a must not begin or end with a blank"],
    ["a\n", "field name a\n must not contain control characters"],
    [
      "x".repeat(257),
      `field name ${"x".repeat(256)}… must have at most 256 characters, but has 257`,
    ],
    ["a.b", "field a.b must not have a dot in its name: it leads to a property"],
  ])("%j is refused", (name, says) => {
    for (const columns of [
      { [name]: "text" },
      { o: { type: "json", properties: { [name]: "text" } } },
    ])
      expect(defineColumns(columns)?.message).toBe(`invalid schema: ${says}`);
  });

  test("there is a bound for each list, with words at it", () => {
    const named = <Value>(count: number, value: Value) =>
      Object.fromEntries(many(count).map((name) => [name, value]));
    const bounded = [
      ["field locks", (count: number) => ({ field_locks: many(count) })],
      ["hidden fields", (count: number) => ({ hidden_fields: many(count) })],
      ["events", (count: number) => ({ events: named(count, { fields: [] }) })],
      ["fields of event e", (count: number) => ({ events: { e: { fields: many(count) } } })],
      ["columns", (count: number) => ({ column_types: named(count, "text") })],
      [
        "columns of field o",
        (count: number) => ({
          column_types: { o: { type: "json", properties: named(count, "text") } },
        }),
      ],
    ] as const;
    for (const [what, over] of bounded) {
      expect(refusalOf(() => compileSchema(schemaOf(over(most))))).toBeNull();
      const refusal = refusalOf(() => compileSchema(schemaOf(over(most + 1))));
      expect(refusal?.message).toBe(
        `invalid schema: at most ${most} ${what}, but there are ${most + 1}`,
      );
      expect(refusal?.code).toBe("invalid_argument");
    }
  });

  test("columns lie in columns to a bounded depth", () => {
    const deep = (levels: number): unknown =>
      levels === 1 ? "text" : { type: "json", properties: { p: deep(levels - 1) } };
    expect(defineColumns({ p: deep(limits.schema_depth_max) })).toBeNull();
    expect(defineColumns({ p: deep(limits.schema_depth_max + 1) })?.message).toEndWith(
      `.p cannot have properties: ${limits.schema_depth_max} levels are most`,
    );
  });
});
