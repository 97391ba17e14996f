// Every column type: which JSON values it takes, which it refuses, and in which words. Values are
// given as JSON text, because the digits of a number are the point.

import { describe, expect, test } from "bun:test";
import { checkColumns } from "../support/schema-rules.ts";

interface Row {
  readonly types: readonly string[];
  readonly takes: readonly string[];
  /** By the words that follow `schema violation: field f `. */
  readonly refuses: Readonly<Record<string, readonly string[]>>;
}

const noNumber = ["null", "true", "[1]", "{}", '""', '" "', '"x"', '"0x10"', '"1 2"', '"١"'];
/** Too long for a number: what is done with digits is not linear. */
const manyDigits = `"1${"0".repeat(1_100)}"`;

const table: readonly Row[] = [
  {
    types: ["integer", "int", " INTEGER ", "Int"],
    takes: [
      ...["0", "-0", "7", "-7", "1e3", "1.0", "120e-1", "9007199254740993"],
      ...["9223372036854775807", "-9223372036854775808", "9223372036854775807.0"],
      ...['"7"', '" -7\\n"', '"+7"', '"007"', '"9223372036854775807"', '"-9223372036854775808"'],
    ],
    refuses: {
      "must be an integer": [
        ...noNumber,
        ...["1.5", "1e-1", "9007199254740992.5", "1e-400", '"1.0"', '"1e3"', '"1_000"', '"+-1"'],
        ...['"-"', manyDigits],
      ],
      "exceeds signed integer range": [
        ...["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19", "1e400"],
        ...["-1e400", '"9223372036854775808"', '"-9223372036854775809"'],
        ...["1e99999999999999999999", "9223372036854775807000e-2"],
      ],
    },
  },
  {
    types: ["float", "double", "FLOAT"],
    takes: [
      ...["0", "-1", "1.5", "1e308", "5e-324", "1e-400", "9007199254740993", '"1.5"', '" 1 "'],
      ...['"1."', '".5"', '"-1e-3"', '"+2E5"'],
    ],
    refuses: {
      "must be a float": [
        ...noNumber,
        ...["1e400", "-1e400", '"1e400"', '"nan"', '"NaN"', '"inf"', '"-Infinity"', '"."', '"e5"'],
        ...['"1e"', '"1_0"', manyDigits],
      ],
    },
  },
  {
    types: ["decimal(4,2)", "numeric(4,2)", " Decimal ( 4 , 2 ) ", "NUMERIC(04,2)"],
    takes: [
      ...["0", "-0.0", "0.5", "12.34", "-12.34", "1234", "123.4", "0.05", "1e3", "1e-2"],
      ...["12.340000000000000000000000000", '"12.34"', '" -12.34 "', '"+12.3"', '"012.34"'],
      ...['"12.34000"', '"1_2.3_4"', '"12."', '".25"', '"0.00"', '"000000"'],
    ],
    refuses: {
      "must be a decimal value": [
        ...noNumber,
        ...['"nan"', '"inf"', '"1e2"', '"_1"', '"1_"', '"1__2"', '"1._2"', '"."', '"--1"'],
        ...[manyDigits],
      ],
      "must have at most 2 decimal places": [
        ...["0.001", "1.234", "1e-400", "12.345", "12.340000000000000000000000001", '"1.234"'],
        ...["1e-99999999999999999999", '"1.2345"', "1234.567"],
      ],
      "must have precision <= 4": [
        ...["12345", "123.45", "-123.45", "1e4", "1e400", "1e99999999999999999999", '"123.45"'],
        ...["123456789012345678901234567890"],
      ],
    },
  },
  {
    types: ["decimal(1,1)"],
    takes: ["0", "0.5", "-0.9", '"0.5"', '".5"', "1", "9"],
    refuses: {
      "must have precision <= 1": ["10", "1.5"],
      "must have at most 1 decimal places": ["0.05", "0.55"],
    },
  },
  {
    types: ["decimal(38,0)"],
    takes: ["99999999999999999999999999999999999999", '"99999999999999999999999999999999999999"'],
    refuses: { "must have precision <= 38": ["100000000000000000000000000000000000000"] },
  },
  {
    types: ["decimal(255,255)"],
    takes: [`0.${"9".repeat(255)}`, `"0.${"9".repeat(255)}"`],
    refuses: { "must have at most 255 decimal places": [`0.${"9".repeat(256)}`] },
  },
  {
    types: ["boolean", "bool", "Boolean"],
    takes: ["true", "false", "0", "1", "0.0", "1.0", '"true"', '" FALSE "', '"1"', '"0"'],
    refuses: {
      "must be a boolean": ["null", "2", "-1", '"yes"', '""', '"t"', "[]", "{}", '"01"', "1.5"],
    },
  },
  {
    types: ["text", "string", "TEXT"],
    takes: ['""', '" "', '"a\\u0000b"', '"\\ud83d\\ude00"', '"1"'],
    refuses: { "must be a string": ["null", "1", "true", "[]", "{}", '["a"]'] },
  },
  {
    types: ["timestamp", "Timestamp"],
    takes: [
      ...['"2024-02-29T23:59:59Z"', '"2024-01-01t00:00:00z"', '"2024-01-01T00:00:00+23:59"'],
      ...['"2024-01-01T00:00:00.1234567890123456789-12:30"', '"0001-01-01T00:00:00Z"'],
      ...['"2016-12-31T23:59:60Z"', '"2017-01-01T01:59:60+02:00"', '"2024-01-01T00:00:00-00:00"'],
    ],
    refuses: {
      "must be an RFC3339 timestamp": [
        ...["null", "0", "1704067200", "{}", '""', '"2024-01-01"', '"2024-01-01T00:00:00"'],
        ...['"2024-01-01 00:00:00Z"', '"2024-1-1T00:00:00Z"', '"2023-02-29T00:00:00Z"'],
        ...['"2024-01-01T24:00:00Z"', '"2024-01-01T00:60:00Z"', '"2024-01-01T00:00:61Z"'],
        ...['"2024-01-01T00:00:00.Z"', '"2024-01-01T00:00:00+24:00"', '"2024-01-01T00:00:00+0100"'],
        ...['"2024-01-01T12:00:60Z"', '" 2024-01-01T00:00:00Z"', '"2024-13-01T00:00:00Z"'],
        ...['"2024-01-01T00:00:00Z\\n"', '"2024-04-31T00:00:00Z"'],
      ],
    },
  },
  {
    types: ["date", "DATE"],
    takes: ['"2024-02-29"', '"0001-01-01"', '"9999-12-31"', '"2000-02-29"'],
    refuses: {
      "must be a date formatted as YYYY-MM-DD": [
        ...["null", "20240101", "{}", '""', '"2023-02-29"', '"1900-02-29"', '"2024-04-31"'],
        ...['"2024-1-01"', '"2024-01-1"', '"2024-00-10"', '"2024-13-01"', '"2024-01-00"'],
        ...['"24-01-01"', '"2024/01/01"', '"2024-01-01T00:00:00Z"', '" 2024-01-01"'],
        ...['"2024-01-01\\n"', '"+2024-01-01"', '"12024-01-01"'],
      ],
    },
  },
  {
    types: ["json", "JSON"],
    takes: ["null", "1e400", '"x"', "true", "[1,[2]]", '{"a":{}}'],
    refuses: {},
  },
  {
    types: ["binary", "bytes", "Binary"],
    takes: ['""', '"AA=="', '"AAA="', '"AAAA"', '"+/+/"', '"\\u0041A=="', '"SGVsbG8sIHdvcmxkIQ=="'],
    refuses: {
      "must be base64 encoded": [
        ...["null", "1", "{}", '"A"', '"AA"', '"AAA"', '"AA="', '"A==="', '"===="', '"AB=="'],
        ...['"AAB="', '"AA==AAAA"', '"AA-_"', '"AAAA\\n"', '" AAAA"', '"AA A"', '"ÄAAA"'],
      ],
    },
  },
  {
    types: ["object", "Object"],
    takes: ["{}", '{"a":1}'],
    refuses: { "must be a JSON object": ["null", "[]", '"{}"', "1", "true"] },
  },
];

describe.each(table.flatMap((row) => row.types.map((type) => ({ ...row, type }))))(
  "a column of type $type",
  ({ type, takes, refuses }) => {
    test.each([...takes])("takes %p", (value) => {
      expect(checkColumns({ f: type }, `{"f":${value}}`)).toBeNull();
      expect(checkColumns({ f: { type } }, `{"f":${value}}`)).toBeNull();
    });
    const refused = Object.entries(refuses).flatMap(([words, values]) =>
      values.map((value) => [value, words] as const),
    );
    // Tables may be empty: json refuses nothing.
    if (refused.length > 0) {
      test.each(refused)("refuses %p: it %s", (value, words) => {
        expect(checkColumns({ f: type }, `{"f":${value}}`)).toEqual({
          code: "schema_violation",
          message: `schema violation: field f ${words}`,
          details: { aggregate_type: "patient", event: "added", field: "f" },
        });
      });
    }
  },
);

test("a column that is absent asks for nothing, and one that is null is there", () => {
  expect(checkColumns({ f: "integer" }, "{}")).toBeNull();
  expect(checkColumns({ f: { type: "integer", required: true } }, "{}")).toEqual({
    code: "schema_violation",
    message: "schema violation: field f is required",
    details: { aggregate_type: "patient", event: "added", field: "f" },
  });
  expect(checkColumns({ f: { type: "json", required: true } }, '{"f":null}')).toBeNull();
});

test("members without a column are free", () => {
  expect(checkColumns({ f: "integer" }, '{"g":"x","f":1}')).toBeNull();
});

test.each(["[1]", '"x"', "1", "null"])("columns ask for an object, and %s is none", (payload) => {
  expect(checkColumns({ f: "json" }, payload)).toEqual({
    code: "schema_violation",
    message: "schema violation: aggregate patient expects object payload for validation",
    details: { aggregate_type: "patient", event: "added" },
  });
  expect(checkColumns({}, payload)).toBeNull();
});

test("columns are checked by name, properties right after the column they are in", () => {
  const columns = { c: "integer", b: { type: "object", properties: { z: "integer" } }, a: "text" };
  const faults = ['{"a":1,"b":{"z":"x"},"c":"x"}', '{"b":{"z":"x"},"c":"x"}', '{"c":"x","b":{}}'];
  expect(faults.map((payload) => checkColumns(columns, payload)?.details["field"])).toEqual([
    "a",
    "b.z",
    "c",
  ]);
});
