// Every rule of a column: what it accepts, and the words in which it refuses.

import { describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { checkColumns } from "../support/schema-rules.ts";

interface Row {
  readonly rules: Readonly<Record<string, unknown>>;
  readonly takes: readonly string[];
  /** By the words that follow `schema violation: field f `. */
  readonly refuses: Readonly<Record<string, readonly string[]>>;
}

const text: readonly Row[] = [
  {
    rules: { contains: ["a", "😀"] },
    takes: ['"a😀"', '"😀-a-"', '"\\ud83d\\ude00a"'],
    refuses: { "must contain 'a'": ['""', '"😀"', '"A😀"'], "must contain '😀'": ['"a"'] },
  },
  {
    rules: { does_not_contain: ["<", '"'] },
    takes: ['""', '"abc"'],
    refuses: { "must not contain '<'": ['"a<b"'], "must not contain '\"'": ['"a\\"b"'] },
  },
  {
    rules: { regex: ["[A-Z]{2}", "\\d$"] },
    takes: ['"AB1"', '"xxABxx9"'],
    refuses: { "must match pattern [A-Z]{2}": ['""', '"A1"'], "must match pattern \\d$": ['"AB"'] },
  },
  {
    rules: { regex: ["^.$"] },
    takes: ['"a"', '"😀"', '"\\u0000"'],
    refuses: { "must match pattern ^.$": ['"ab"', '"\\n"', '""'] },
  },
  { rules: { regex: ["(?i)^ja$|^nein$"] }, takes: ['"JA"', '"Nein"'], refuses: {} },
  {
    rules: { length: { min: 2, max: 3 } },
    takes: ['"ab"', '"😀😀😀"', '"äöü"', '"\\n\\n"'],
    refuses: {
      "must have length >= 2": ['""', '"a"', '"😀"'],
      "must have length <= 3": ['"abcd"', '"😀😀😀😀"', '"e\\u0301e\\u0301"'],
    },
  },
  {
    rules: { length: { min: 0, max: 0 } },
    takes: ['""'],
    refuses: { "must have length <= 0": ['"a"'] },
  },
  {
    rules: { length: { max: 2 }, regex: ["^a"], contains: ["a"], format: "email" },
    takes: [],
    refuses: {
      "must contain 'a'": ['"xxx"'],
      "must match pattern ^a": ['"xa"'],
      "must be a valid email address": ['"a"'],
      "must have length <= 2": ['"a@b"'],
    },
  },
  {
    rules: { contains: ["a"], does_not_contain: ["b"], regex: ["c"] },
    takes: ['"ac"'],
    refuses: {
      "must contain 'a'": ['"b"'],
      "must not contain 'b'": ['"ab"'],
      "must match pattern c": ['"a"'],
    },
  },
  {
    rules: { contains: [], does_not_contain: [], regex: [], length: {}, range: null, format: null },
    takes: ['""', '"anything"'],
    refuses: {},
  },
];

const range = (min: string | null, max: string | null) => ({ range: { min, max } });

const ranges: readonly (Row & { readonly type: string })[] = [
  {
    type: "integer",
    rules: range("-5", " +010 "),
    takes: ["-5", "0", "10", '"10"', "1e1"],
    refuses: { "must be >= -5": ["-6", '"-6"'], "must be <= 10": ["11", "9007199254740993"] },
  },
  {
    type: "integer",
    rules: range("9007199254740993", "9007199254740994"),
    takes: ["9007199254740993", "9007199254740994", '"9007199254740993"'],
    refuses: {
      "must be >= 9007199254740993": ["9007199254740992"],
      "must be <= 9007199254740994": ["9007199254740995"],
    },
  },
  {
    type: "integer",
    rules: range("-9223372036854775808", "9223372036854775807"),
    takes: ["-9223372036854775808", "9223372036854775807"],
    refuses: { "exceeds signed integer range": ["9223372036854775808"] },
  },
  {
    type: "integer",
    rules: range(null, "0"),
    takes: ["0", "-1"],
    refuses: { "must be <= 0": ["1"] },
  },
  {
    type: "float",
    rules: range("-0.5", "1e2"),
    takes: ["-0.5", "100", "0", '"100.0"', "1e-400"],
    refuses: {
      "must be >= -0.5": ["-0.6"],
      "must be <= 100": ["100.00000000000002", '"1e3"'],
      "must be a float": ['"nan"', '"inf"', "1e400"],
    },
  },
  {
    type: "decimal(30,20)",
    rules: range("0.10", "0.30000000000000000001"),
    takes: ["0.1", "0.3", "0.30000000000000000001", '"0.100"', '".3"'],
    refuses: {
      "must be >= 0.10": ["0.09999999999999999999", "0", "-0.2", '"-1"'],
      "must be <= 0.30000000000000000001": ["0.30000000000000000002", "1", '"0.4"'],
    },
  },
  {
    type: "timestamp",
    rules: range("2024-01-01T00:00:00Z", "2024-01-01T02:00:00.5+01:00"),
    takes: [
      ...['"2024-01-01T00:00:00Z"', '"2023-12-31T23:00:00-01:00"', '"2024-01-01T01:00:00.5Z"'],
      ...['"2024-01-01T00:30:00Z"', '"2024-01-01T01:00:00.50000000000Z"'],
    ],
    refuses: {
      "must be >= 2024-01-01T00:00:00Z": [
        '"2023-12-31T23:59:59.999999999999999Z"',
        '"2024-01-01T00:30:00+01:00"',
      ],
      "must be <= 2024-01-01T02:00:00.5+01:00": [
        '"2024-01-01T01:00:00.50000000000000000001Z"',
        '"2024-01-01T01:00:01Z"',
      ],
    },
  },
  {
    type: "date",
    rules: range("2024-02-29", "2024-03-01"),
    takes: ['"2024-02-29"', '"2024-03-01"'],
    refuses: {
      "must be on or after 2024-02-29": ['"2024-02-28"', '"0001-01-01"'],
      "must be on or before 2024-03-01": ['"2024-03-02"', '"9999-01-01"'],
    },
  },
];

const binary: Row & { readonly type: string } = {
  type: "binary",
  rules: { length: { min: 1, max: 2 } },
  takes: ['"AA=="', '"AAA="'],
  refuses: { "must have length >= 1": ['""'], "must have length <= 2": ['"AAAA"', '"AAAAAA=="'] },
};

const columns = [...text.map((row) => ({ ...row, type: "text" })), ...ranges, binary];

describe.each(columns.map((row) => ({ ...row, written: JSON.stringify(row.rules) })))(
  "a column of type $type with $written",
  ({ type, rules, takes, refuses }) => {
    const rows = [
      ...takes.map((value) => [value, null] as const),
      ...Object.entries(refuses).flatMap(([words, list]) =>
        list.map((value) => [value, words] as const),
      ),
    ];
    test.each(rows)("given %p: %p", (value, words) => {
      const refusal = checkColumns({ f: { type, ...rules } }, `{"f":${value}}`);
      expect(refusal?.message ?? null).toBe(
        words === null ? null : `schema violation: field f ${words}`,
      );
      if (words !== null) expect(refusal?.details["field"]).toBe("f");
    });
  },
);

describe("properties", () => {
  const address = {
    type: "object",
    properties: {
      city: { type: "text", required: true },
      geo: { type: "json", properties: { lat: { type: "float", range: { min: "-90" } } } },
    },
  };
  test.each([
    ["{}", null],
    ['{"address":{"city":"Ulm"}}', null],
    ['{"address":{"city":"Ulm","geo":{"lat":48.4}}}', null],
    ['{"address":{"city":"Ulm","geo":{"lon":"x"}}}', null],
    ['{"address":{"city":"Ulm","geo":null}}', null],
    ['{"address":{"city":"Ulm","geo":[{"lat":"x"}]}}', null],
    ['{"address":{}}', "address.city is required"],
    ['{"address":{"city":1}}', "address.city must be a string"],
    ['{"address":"Ulm"}', "address must be a JSON object"],
    ['{"address":{"city":"Ulm","geo":{"lat":"x"}}}', "address.geo.lat must be a float"],
    ['{"address":{"city":"Ulm","geo":{"lat":-91}}}', "address.geo.lat must be >= -90"],
    ['{"address":{"city":"Ulm","geo":{"lat":null}}}', "address.geo.lat must be a float"],
  ])("of object and json columns are checked: %s", (payload, words) => {
    const refusal = checkColumns({ address }, payload);
    expect(refusal?.message ?? null).toBe(words && `schema violation: field ${words}`);
    if (words !== null) expect(refusal?.details["field"]).toBe(words.split(" ")[0]);
  });
});

describe("must_match", () => {
  const matching = (type: string) => ({ a: type, b: { type, must_match: "a" } });
  test.each([
    ["integer", "1000", '"+1000"', true],
    ["integer", "1e3", "1000.0", true],
    ["integer", "9007199254740993", "9007199254740992", false],
    ["float", "0.1", '"1e-1"', true],
    ["float", "0", '"-0"', true],
    ["float", "0.1", "0.2", false],
    ["decimal(30,20)", "0.5", '".500"', true],
    ["decimal(30,20)", "0.30000000000000000001", "0.30000000000000000002", false],
    ["boolean", "true", '"1"', true],
    ["boolean", "1", "0", false],
    ["text", '"a"', '"\\u0061"', true],
    ["text", '"a"', '"a "', false],
    ["timestamp", '"2024-01-01T00:00:00Z"', '"2024-01-01T01:00:00.000+01:00"', true],
    ["timestamp", '"2024-01-01T00:00:00.0000001Z"', '"2024-01-01T00:00:00.0000002Z"', false],
    ["date", '"2024-01-01"', '"2024-01-01"', true],
    ["date", '"2024-01-01"', '"2024-01-02"', false],
    ["binary", '"AAA="', '"\\u0041AA="', true],
    ["binary", '"AAA="', '"AA=="', false],
    ["json", '{"x":1,"y":[1.0]}', '{"y":[1],"x":1}', true],
    ["json", "null", "null", true],
    ["json", "null", '"null"', false],
    ["object", '{"x":1}', '{"x":1.0}', true],
    ["object", '{"x":1}', '{"x":2}', false],
  ])("compares values of type %s: %s and %s", (type, a, b, same) => {
    expect(checkColumns(matching(type), `{"a":${a},"b":${b}}`)?.message ?? null).toBe(
      same ? null : "schema violation: field b must match a",
    );
  });

  test("asks for the other column only where the column itself is there", () => {
    expect(checkColumns(matching("text"), "{}")).toBeNull();
    expect(checkColumns(matching("text"), '{"a":"x"}')).toBeNull();
    expect(checkColumns(matching("text"), '{"b":"x"}')).toEqual({
      code: "schema_violation",
      message: "schema violation: field b must match a, but a is missing",
      details: { aggregate_type: "patient", event: "added", field: "b" },
    });
  });

  const nested = {
    contact: {
      type: "json",
      properties: { email: { type: "text", must_match: "login" }, again: "text" },
    },
    login: { type: "text", must_match: "contact.again" },
  };
  test.each([
    ['{"login":"a","contact":{"email":"a","again":"a"}}', null],
    ['{"contact":{"again":"a"}}', null],
    ['{"contact":"none"}', null],
    ['{"login":"a","contact":{"email":"b","again":"a"}}', "contact.email must match login"],
    ['{"contact":{"email":"b"}}', "contact.email must match login, but login is missing"],
    ['{"login":"a","contact":{"again":"b"}}', "login must match contact.again"],
    [
      '{"login":"a","contact":"none"}',
      "login must match contact.again, but contact.again is missing",
    ],
    ['{"login":"a"}', "login must match contact.again, but contact.again is missing"],
  ])("leads by dotted paths from the root: %s", (payload, words) => {
    const refusal = checkColumns(nested, payload);
    expect(refusal?.message ?? null).toBe(words && `schema violation: field ${words}`);
  });

  test("comes after all columns have been checked by themselves", () => {
    const columns = { ...matching("text"), z: "integer" };
    expect(checkColumns(columns, '{"a":"1","b":"2","z":"x"}')?.details["field"]).toBe("z");
  });
});

describe("a pattern takes bounded time", () => {
  test("for one that backtracks badly, linear in the text", () => {
    const column = { type: "text", regex: ["^(a+)+$"] };
    expect(checkColumns({ f: column }, `{"f":"${"a".repeat(100_000)}b"}`)?.message).toBe(
      "schema violation: field f must match pattern ^(a+)+$",
    );
  });
  test("because too long a text for too large a pattern is refused", () => {
    const column = { type: "text", regex: ["(a?){200}a{200}$"] };
    const most = Math.floor(limits.pattern_work_max / 1_003);
    const check = (length: number) =>
      checkColumns({ f: column }, `{"f":"${"a".repeat(length)}"}`)?.message ?? null;
    expect(check(most)).toBeNull();
    expect(check(most + 1)).toBe(
      `schema violation: field f must have at most ${most} characters to be matched`,
    );
  });
  test("for all fields of an event together", () => {
    const column = { type: "text", regex: ["(a?){200}a{200}$"] };
    const text = "a".repeat(Math.floor(limits.pattern_work_max / 2 / 1_003));
    const check = (columns: string) =>
      checkColumns(
        Object.fromEntries([...columns].map((name) => [name, column])),
        `{${[...columns].map((name) => `"${name}":"${text}"`).join(",")}}`,
      );
    expect(check("fg")).toBeNull();
    expect(check("fgh")).toEqual({
      code: "too_large",
      message:
        "matching the patterns of field h would take more work than one transaction may; append " +
        "fewer events at a time, or give the schema simpler patterns",
      details: { field: "h", limit: limits.pattern_work_max },
    });
  });
});
