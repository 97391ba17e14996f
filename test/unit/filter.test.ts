// Filters: what holds for which state, what a person reads who wrote one wrongly, and the bounds.

import { describe, expect, test } from "bun:test";
import { emptyState, evolve } from "../../src/model/aggregate.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { matches } from "../../src/model/filter/match.ts";
import { parseFilter } from "../../src/model/filter/parse.ts";
import { limits } from "../../src/model/limits.ts";

/** The state that events with these payloads leave. */
const stateOf = (...payloads: string[]) =>
  payloads.map((payload) => canonicalize(payload)).reduce(evolve, emptyState);

const state = stateOf(
  `{"status":"active","age":42,"price":"12.50","big":9007199254740993,"yes":true,"none":null,
    "blank":"","é":"ü","say":"a \\"b\\" \\\\ \\n","list":[],"word":"01",
    "tags":["x","y z",3,true,null,["deep"],{"k":"v"}],
    "meta":{"source":"api","n":1.5,"off":false,"nil":null,"in":1,"2024":{"x":"y"}},
    "odd key":{"x":{"y.z":"dotted"}},"and":"keyword","a-b":1,"$m":1,"huge":1e400}`,
);

const holding = [
  // Strings.
  ...['status = "active"', "status = 'active'", 'status="active"', 'status != "x"', "é = 'ü'"],
  ...['status < "b"', 'status <= "active"', 'status > "abc"', 'status >= "active"', 'age = "42"'],
  ...['say = "a \\"b\\" \\\\ \\n"', "say = 'a \"b\" \\\\ \\n'", 'status = "\\u0061ctive"'],
  // Numbers, as the state has them: as strings at the top, as numbers within.
  ...["age = 42", "age = 42.0", "age = 4.2e1", "age > 41.9", "age <= 42", "age >= 42", "age < 1e9"],
  ...["price = 12.5", "price > 12.49", "meta.n = 1.50", "meta.n < 2", "age > -1", "age != 43"],
  ...["big = 9007199254740993", "big > 9007199254740992", "big < 9007199254740993.5"],
  ...["huge > 1e399", "huge < 1e401", "huge = 10e399", "huge != 1e399", "huge > 0"],
  // What does not compare is unequal, and neither above nor below.
  ...["status != 5", "NOT status > 5", "NOT status <= 5", "tags != 'x'", "meta != 1", "word != 1"],
  ...["NOT meta.n = '1.5'", "meta.n != '1.5'", "NOT meta < 'z'", "NOT tags > 0", "list != null"],
  // true, false, null.
  ...["yes = true", "yes = TRUE", "yes = 'true'", "yes != false", "meta.off = false"],
  ...["meta.off != 'false'", "none = null", "blank = null", "missing = null", "none = ''"],
  ...["meta.nil = null", "meta.nil != ''", "meta.missing.more = NULL", "status != null"],
  ...["NOT status = null", "NOT missing != null", "NOT none != null"],
  // A missing path makes a comparison false, and NOT turns that round.
  ...["NOT missing = 'x'", "NOT missing != 'x'", "NOT missing > 0", "NOT missing IN (1)"],
  ...["NOT status.inner = 'x'", "NOT status[0] = 'a'", "NOT tags.k = 'v'", "NOT meta[0] = 1"],
  // Paths.
  ...["meta.source = 'api'", '"meta"."source" = "api"', "'odd key'.x.\"y.z\" = 'dotted'"],
  ...["tags[0] = 'x'", "tags[2] = 3", "tags[5][0] = 'deep'", "tags[6].k = 'v'", "NOT tags[7] = 1"],
  ...['"and" = "keyword"', "meta.in = 1", "meta.2024.x = 'y'", "a-b = 1", "$m = 1"],
  // EXISTS, CONTAINS, IN.
  ...["EXISTS none", "EXISTS tags[4]", "NOT EXISTS tags[7]", "NOT EXISTS meta.x", "exists list"],
  ...["tags CONTAINS 'x'", "tags contains 3.0", "tags CONTAINS true", "tags CONTAINS null"],
  ...["NOT tags CONTAINS 'z'", "NOT list CONTAINS null", "NOT tags CONTAINS 'y'"],
  // A text has parts, whatever it looks like and however it is written; other values have none.
  ...[
    "status CONTAINS 'active'",
    "status contains 'tiv'",
    "status CONTAINS ''",
    "blank CONTAINS ''",
  ],
  ...["NOT status CONTAINS 'A'", "NOT status CONTAINS 'actives'", "meta.source CONTAINS 'pi'"],
  ...["tags[1] CONTAINS ' '", "é CONTAINS '\\u00fc'", "'odd key'.x.\"y.z\" CONTAINS 'otte'"],
  ...[
    'say CONTAINS "\\"b\\" \\\\"',
    "say CONTAINS '\\n'",
    "NOT say CONTAINS 'n'",
    "NOT status CONTAINS '\"'",
  ],
  ...["age CONTAINS '2'", "NOT age CONTAINS 2", "NOT meta.n CONTAINS '1'", "NOT yes CONTAINS true"],
  ...["NOT blank CONTAINS null", "NOT none CONTAINS null", "NOT meta CONTAINS 'source'"],
  ...["NOT tags CONTAINS 'deep'", "tags[5] CONTAINS 'deep'", "NOT missing CONTAINS null"],
  ...["status IN ('x', \"active\")", "age IN (1, 42.00)", "missing IN (1, null)", "yes IN (true)"],
  ...["NOT status IN ('x')", "NOT missing IN ('x', 1)", "meta.n IN ('x', 1.5)", "NOT tags IN (3)"],
  // AND before OR, NOT before both.
  ...["age = 1 AND age = 2 OR age = 42", "age = 42 OR age = 1 AND age = 2"],
  ...["NOT (age = 42 AND (age = 1 OR age = 2))", "(age = 42 OR age = 1) AND NOT age = 1"],
  ...["NOT age = 1 AND age = 42", "not not age=42", "NOT(age=1)AND(age=42)", "\tage\n=\r42 "],
];

describe("a filter", () => {
  test.each(holding)("%s holds", (text) => {
    expect(matches(parseFilter(text), state)).toBe(true);
    // And its opposite does not: no condition holds whatever is asked.
    expect(matches(parseFilter(`NOT (${text})`), state)).toBe(false);
  });

  test("a payload that is no object is asked by its name in the state", () => {
    expect(matches(parseFilter("_value[1] = 'b'"), stateOf('["a","b"]'))).toBe(true);
    expect(matches(parseFilter("_value = 7"), stateOf("7.0"))).toBe(true);
    expect(matches(parseFilter("EXISTS _value"), emptyState)).toBe(false);
  });

  test("strings are ordered by their UTF-8 bytes, not by UTF-16 units", () => {
    // U+FF5E is below U+1F600 as a character and in UTF-8, but above its first surrogate.
    expect(matches(parseFilter("a < '😀'"), stateOf('{"a":"～"}'))).toBe(true);
    expect(matches(parseFilter("a < '\\ud83d\\ude00'"), stateOf('{"a":"～"}'))).toBe(true);
  });

  test("a string too long for a JSON number is no number", () => {
    const digits = "1".repeat(limits.json_number_chars_max);
    const number = `{"a":"${digits}","b":"1${digits}"}`;
    expect(matches(parseFilter("a > 0"), stateOf(number))).toBe(true);
    expect(matches(parseFilter("b > 0"), stateOf(number))).toBe(false);
  });
});

/** What the message says after `filter at character `. */
const refused: readonly [string, string][] = [
  ["", "1: expected a path, NOT, EXISTS or (, found its end"],
  ["  ", "3: expected a path, NOT, EXISTS or (, found its end"],
  ["5 = a", '1: expected a path, NOT, EXISTS or (, found "5 = a"'],
  ["status", "7: expected =, !=, <, <=, >, >=, IN or CONTAINS, found its end"],
  ["status like 'x'", "8: expected =, !=, <, <=, >, >=, IN or CONTAINS, found \"like 'x'\""],
  ["status IS NULL", '8: expected =, !=, <, <=, >, >=, IN or CONTAINS, found "IS NULL"'],
  ["a ! b", '3: expected =, !=, <, <=, >, >=, IN or CONTAINS, found "! b"'],
  ["status =", "9: expected a string, a number, true, false or null, found its end"],
  ["a == 1", '4: expected a string, a number, true, false or null, found "= 1"'],
  [
    "é = active AND a = 1 OR b = 2",
    "5: expected a string, a number, true, false or null; strings stand in quotes, " +
      'found "active AND a = 1 OR "…',
  ],
  ["😀 = 1", '1: expected a path, NOT, EXISTS or (, found "😀 = 1"'],
  ["'😀' = 1 1", '9: expected AND, OR or its end, found "1"'],
  ["a = 01", '5: expected a string, a number, true, false or null, found "01"'],
  ["a = .5", '5: expected a string, a number, true, false or null, found ".5"'],
  ["a = +1", '5: expected a string, a number, true, false or null, found "+1"'],
  ["a = 1.", '5: expected a string, a number, true, false or null, found "1."'],
  ["a = 1x", '5: expected a string, a number, true, false or null, found "1x"'],
  ['a = "x', '5: expected a string with its closing quote, found "\\"x"'],
  ["a = 'x\ny'", "5: expected a string with its closing quote, found \"'x\\ny'\""],
  ['a = "\\x"', '5: expected a string with the escapes of JSON, found "\\"\\\\x\\""'],
  ['a = "\\ud800"', '5: expected a string with the escapes of JSON, found "\\"\\\\ud800\\""'],
  ["a < true", '5: expected a number or a string behind <, found "true"'],
  ["a >= null", '6: expected a number or a string behind >=, found "null"'],
  ["a IN 1", '6: expected ( and a list of values, found "1"'],
  ["a IN ()", '7: expected a string, a number, true, false or null, found ")"'],
  ["a IN (1 2)", '9: expected a comma or ), found "2)"'],
  ["a IN (1,)", '9: expected a string, a number, true, false or null, found ")"'],
  ["(a = 1", "7: expected AND, OR or ), found its end"],
  ["a = 1)", '6: expected AND, OR or its end, found ")"'],
  ["a = 1 AND", "10: expected a path, NOT, EXISTS or (, found its end"],
  ["a = 1 b = 2", '7: expected AND, OR or its end, found "b = 2"'],
  ["in = 1", '1: expected a path (a member of this name is written "in"), found "in = 1"'],
  [
    "NOT null = 1",
    '5: expected a path (a member of this name is written "null"), found "null = 1"',
  ],
  ["EXISTS", "7: expected a path, found its end"],
  ["a. = 1", '3: expected the name of a member, found " = 1"'],
  ["a[-1] = 1", '3: expected an index such as 0 and ], found "-1] = 1"'],
  ["a['x'] = 1", "3: expected an index such as 0 and ], found \"'x'] = 1\""],
  ["a .b = 1", '3: expected =, !=, <, <=, >, >=, IN or CONTAINS, found ".b = 1"'],
];

function faultOf(text: string): DbxError {
  try {
    parseFilter(text);
  } catch (error) {
    if (error instanceof DbxError) return error;
    throw error;
  }
  throw new Error(`${text} was taken`);
}

describe("a filter that is none", () => {
  test.each(refused)("%j is told at its place", (text, message) => {
    const fault = faultOf(text);
    expect(fault.code).toBe("invalid_argument");
    expect(fault.message).toBe(`filter at character ${message}`);
    expect(fault.details["path"]).toBe("/filter");
    const { offset } = fault.details;
    if (typeof offset !== "number") throw new Error("the offset is a number");
    expect([...text.slice(0, offset)].length + 1).toBe(Number.parseInt(message, 10));
  });
});

describe("the bounds of a filter", () => {
  const comparisons = (count: number) => Array(count).fill("a=1").join(" OR ");
  const values = (count: number) => `a IN (${Array(count).fill("1").join(",")})`;
  const nested = (depth: number) => `${"(".repeat(depth)}a=1${")".repeat(depth)}`;
  const denied = (depth: number) => `${"NOT ".repeat(depth)}a=1`;
  const digits = (count: number) => `a=${"1".repeat(count)}`;
  const bounds: readonly [string, (count: number) => string, number][] = [
    ["comparisons", comparisons, limits.filter_comparisons_max],
    ["values", values, limits.filter_values_max],
    ["parentheses", nested, limits.filter_depth_max],
    ["NOTs", denied, limits.filter_depth_max],
    ["digits of a number", digits, limits.json_number_chars_max],
  ];

  test.each(bounds)("%s: the last that fits is taken, one more is refused", (_, make, most) => {
    parseFilter(make(most));
    expect(faultOf(make(most + 1)).message).toContain(`at most ${most} `);
  });

  test("depth is counted for what lies within, not for what stands beside", () => {
    parseFilter(Array(90).fill("NOT (a=1)").join(" AND "));
  });
});
