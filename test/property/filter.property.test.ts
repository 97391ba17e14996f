// Filters against an oracle that looks at plain values: conditions and payloads are made as trees,
// written out in every way the grammar allows, and decided twice.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { emptyState, evolve } from "../../src/model/aggregate.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { matches, matchesInSteps } from "../../src/model/filter/match.ts";
import { parseFilter } from "../../src/model/filter/parse.ts";
import { limits } from "../../src/model/limits.ts";
import { runs, runs_ms_max } from "../support/json-texts.ts";

/** A number keeps its token: no double here knows more than the state does. */
type Value = string | boolean | null | { number: string } | Value[] | Map<string, Value>;
type Scalar = Exclude<Value, Value[] | Map<string, Value>>;
type Step = string | number;

type Asked =
  | { kind: "and"; parts: Asked[] }
  | { kind: "or"; parts: Asked[] }
  | { kind: "not"; part: Asked }
  | { kind: "exists"; path: Step[] }
  | { kind: "compare"; path: Step[]; sign: string; value: Scalar }
  | { kind: "in"; path: Step[]; values: Scalar[] }
  | { kind: "contains"; path: Step[]; value: Scalar };

/** Few, so that paths often lead somewhere. */
const keys = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", "b") },
  { weight: 1, arbitrary: fc.constantFrom("a b", "ab", 'q"', "\\", "in", "é", "😀", "10", "") },
);
const numbers = fc
  .oneof(
    fc.constantFrom("0", "-0", "0.0", "1", "1.0", "10e-1", "1e2", "100", "-5", "5e-1", "0.5"),
    fc.constantFrom(
      "9007199254740993",
      "9007199254740992",
      "9007199254740992.5",
      "1e400",
      "10e399",
    ),
    fc.stringMatching(/^-?(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,3})?(?:[eE][+-]?[0-9]{1,2})?$/),
  )
  .map((number) => ({ number }));
const texts = fc.oneof(
  fc.constantFrom("", "～", "😀"),
  fc.constantFrom("", "a", "b", "ab", "B", "true", "false", "null", "～", "😀", "1", "1.0", "01"),
  fc.constantFrom("it's", 'a"b', "\\", "\n", "\u0001", "1e400", "-0", " 1", "+1", "0x1"),
  fc.string({ unit: "binary", maxLength: 3 }),
);
const scalars: fc.Arbitrary<Scalar> = fc.oneof(
  { weight: 4, arbitrary: texts },
  { weight: 4, arbitrary: numbers },
  { weight: 3, arbitrary: fc.constantFrom(true, false, null) },
);
const mapOf = (inner: fc.Arbitrary<Value>) =>
  fc.array(fc.tuple(keys, inner), { maxLength: 6 }).map((members) => new Map(members));
const listOf = (inner: fc.Arbitrary<Value>) => fc.array(inner, { maxLength: 4 });
const inner: fc.Arbitrary<Value> = fc.oneof(
  { weight: 3, arbitrary: scalars },
  { weight: 1, arbitrary: fc.oneof(mapOf(scalars), listOf(scalars)) },
);
const payloads = mapOf(fc.oneof({ weight: 2, arbitrary: scalars }, mapOf(inner), listOf(inner)));

const paths = fc
  .tuple(keys, fc.array(fc.oneof(keys, fc.nat({ max: 3 })), { maxLength: 2 }))
  .map(([first, rest]): Step[] => [first, ...rest]);
const comparisons: fc.Arbitrary<Asked> = fc.oneof(
  fc.record({ kind: fc.constant("exists" as const), path: paths }),
  fc.record({
    kind: fc.constant("compare" as const),
    path: paths,
    sign: fc.constantFrom("=", "!="),
    value: scalars,
  }),
  fc.record({
    kind: fc.constant("compare" as const),
    path: paths,
    sign: fc.constantFrom("<", "<=", ">", ">="),
    value: fc.oneof(texts, numbers),
  }),
  fc.record({
    kind: fc.constant("in" as const),
    path: paths,
    values: fc.array(scalars, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant("contains" as const), path: paths, value: scalars }),
);
const conditions = fc.letrec<{ any: Asked }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    comparisons,
    fc.record({
      kind: fc.constantFrom("and" as const, "or" as const),
      parts: fc.array(tie("any"), { minLength: 2, maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant("not" as const), part: tie("any") }),
  ),
})).any;

// The oracle.

const missing = Symbol("missing");

function follow(state: Value, path: readonly Step[]): Value | typeof missing {
  let value: Value = state;
  for (const step of path) {
    const next: Value | undefined =
      typeof step === "string" && value instanceof Map
        ? value.get(step)
        : typeof step === "number" && Array.isArray(value)
          ? value[step]
          : undefined;
    if (next === undefined) return missing;
    value = next;
  }
  return value;
}

/** Times ten to the 1,000th: whole for every number here. */
function scaled(token: string): bigint {
  const [mantissa = "", power = "0"] = token.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  return BigInt(whole + fraction) * 10n ** BigInt(1_000 + Number(power) - fraction.length);
}

const isScalarNumber = (value: Value): value is { number: string } =>
  typeof value === "object" && value !== null && "number" in value;

function asNumber(value: Value | typeof missing): bigint | undefined {
  if (value === missing) return undefined;
  if (isScalarNumber(value)) return scaled(value.number);
  if (typeof value !== "string" || value !== value.trim()) return undefined;
  try {
    return typeof JSON.parse(value) === "number" ? scaled(value) : undefined;
  } catch {
    return undefined;
  }
}

function order(left: Value | typeof missing, right: Scalar): number | undefined {
  if (right !== null && typeof right === "object") {
    const [a, b] = [asNumber(left), scaled(right.number)];
    return a === undefined ? undefined : a < b ? -1 : a > b ? 1 : 0;
  }
  if (typeof left !== "string" || typeof right !== "string") return undefined;
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function same(left: Value | typeof missing, right: Scalar): boolean {
  if (right === null) return left === missing || left === null || left === "";
  if (typeof right === "boolean") return left === right || left === String(right);
  return order(left, right) === 0;
}

function decide(asked: Asked, state: Value): boolean {
  if (asked.kind === "and") return asked.parts.every((part) => decide(part, state));
  if (asked.kind === "or") return asked.parts.some((part) => decide(part, state));
  if (asked.kind === "not") return !decide(asked.part, state);
  const value = follow(state, asked.path);
  if (asked.kind === "exists") return value !== missing;
  if (asked.kind === "in") return asked.values.some((one) => same(value, one));
  if (asked.kind === "contains") {
    if (typeof value === "string" && typeof asked.value === "string")
      return value.includes(asked.value);
    return Array.isArray(value) && value.some((element) => same(element, asked.value));
  }
  if (asked.sign === "=") return same(value, asked.value);
  if (asked.sign === "!=") return value !== missing && !same(value, asked.value);
  const compared = order(value, asked.value);
  if (compared === undefined) return false;
  if (compared === 0) return asked.sign.endsWith("=");
  return asked.sign.startsWith(compared < 0 ? "<" : ">");
}

// Writing it out.

/** One of so many ways to write the next thing; the same ways again where they run out. */
type Ways = (most: number) => number;
const waysOf = (dice: readonly number[]): Ways => {
  let index = 0;
  return (most) => (dice[index++ % dice.length] ?? 0) % (most + 1);
};

function writtenText(text: string, ways: Ways): string {
  const json = JSON.stringify(text);
  if (ways(1) === 0) return json;
  return `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}

function writtenValue(value: Scalar, ways: Ways): string {
  if (typeof value === "string") return writtenText(value, ways);
  if (value !== null && typeof value === "object") return value.number;
  return cased(String(value), ways);
}

const cased = (word: string, ways: Ways): string =>
  [word.toLowerCase(), word.toUpperCase()][ways(1)] ?? word;

const writtenPath = (path: readonly Step[], ways: Ways): string =>
  path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      const bare = /^[abé]+$/.test(step) && ways(2) > 0;
      return (index === 0 ? "" : ".") + (bare ? step : writtenText(step, ways));
    })
    .join("");

function written(asked: Asked, ways: Ways): string {
  const blank = () => ["", " ", "\n\t "][ways(2)] ?? "";
  const word = (text: string) => ` ${cased(text, ways)} `;
  if (asked.kind === "and" || asked.kind === "or") {
    const loose = asked.kind === "and" ? ["or"] : [];
    return asked.parts
      .map((part) => {
        const text = written(part, ways);
        const needed = loose.includes(part.kind) || ways(3) === 0;
        return needed ? `(${blank()}${text}${blank()})` : text;
      })
      .join(word(asked.kind));
  }
  if (asked.kind === "not") {
    const text = written(asked.part, ways);
    return ["and", "or"].includes(asked.part.kind) || ways(1) === 0
      ? `${cased("not", ways)}${blank()}(${text})`
      : `${cased("not", ways)} ${text}`;
  }
  const path = writtenPath(asked.path, ways);
  if (asked.kind === "exists") return `${cased("exists", ways)} ${path}`;
  if (asked.kind === "contains") {
    return `${path}${word("contains")}${writtenValue(asked.value, ways)}`;
  }
  if (asked.kind === "in") {
    const values = asked.values.map((value) => writtenValue(value, ways));
    return `${path}${word("in")}(${values.join(`${blank()},${blank()}`)}${blank()})`;
  }
  return `${path}${blank()}${asked.sign}${blank()}${writtenValue(asked.value, ways)}`;
}

function writtenJson(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(writtenJson).join(",")}]`;
  if (value instanceof Map) {
    const members = [...value].map(([key, one]) => `${JSON.stringify(key)}:${writtenJson(one)}`);
    return `{${members.join(",")}}`;
  }
  if (value !== null && typeof value === "object") return value.number;
  return JSON.stringify(value);
}

/** What an aggregate's state makes of the top level of a payload. */
const inState = (value: Value): Value => {
  if (value === null) return "";
  if (typeof value === "boolean") return String(value);
  return isScalarNumber(value) ? String(canonicalize(value.number)) : value;
};

test(
  "a filter decides as the plain values say, however it is written",
  () => {
    const held = { yes: 0, no: 0 };
    fc.assert(
      fc.property(
        payloads,
        conditions,
        fc.array(fc.nat({ max: 11 }), { minLength: 1, maxLength: 12 }),
        (payload, asked, dice) => {
          const text = written(asked, waysOf(dice));
          const state = evolve(emptyState, canonicalize(writtenJson(payload)));
          const plain = new Map([...payload].map(([key, value]) => [key, inState(value)]));
          const expected = decide(asked, plain);
          const filter = parseFilter(text);
          const steps = matchesInSteps(filter, state);
          let last = steps.next();
          while (last.done !== true) last = steps.next();
          const told = { holds: matches(filter, state), inSteps: last.value };
          expect({ text, ...told }).toEqual({ text, holds: expected, inSteps: expected });
          held[expected ? "yes" : "no"]++;
        },
      ),
      runs(4_000),
    );
    // Neither answer is so rare that nothing was tried.
    expect(Math.min(held.yes, held.no)).toBeGreaterThan(400);
  },
  runs_ms_max,
);

/** Pieces that filters are made of, and some that they are not. */
const pieces = fc.constantFrom(
  ...["a", "b.c", "[0]", "[", "]", "(", ")", ",", ".", " ", "=", "!=", "<", ">=", "!", "'", '"'],
  ...["AND", "or", "NOT ", "IN", "exists ", "CONTAINS", "null", "true", "1", "-1.5e3", "0x", "\\"],
  ...["'x'", '"y"', "\\u0041", "\n", "😀", "\ud800", "\u0000", "é", "$", "-", "a = 1", " AND "],
);

test(
  "whatever is sent as a filter is taken, or refused at a place within it",
  () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(pieces, { maxLength: 40 }).map((list) => list.join("")),
          fc.string({ unit: "binary", maxLength: 60 }),
        ),
        (text) => {
          try {
            const filter = parseFilter(text);
            expect(matches(filter, emptyState)).toBeBoolean();
          } catch (error) {
            if (!(error instanceof DbxError)) throw error;
            expect(error.code).toBe("invalid_argument");
            expect(error.message).toMatch(/^filter at character \d+: expected .+, found ./s);
            expect(error.details["offset"]).toBeWithin(0, text.length + 1);
            refused++;
          }
        },
      ),
      runs(4_000),
    );
    expect(refused).toBeGreaterThan(1_000);
  },
  runs_ms_max,
);

test("a filter made to be slow is read, and asked, at once", () => {
  const long = limits.filter_chars_max;
  const slow = [
    ...["(", "[", "NOT ", "'", '"', "\\", "1", "1.", "1e", "-", "a.", "a[0]", "a=1 OR ", "a IN(1,"],
    ...["'\\", "é", "(a=1)", "NOT (", "a='", 'a="\\', "a = 1", "a.b.c.", " ", "\t\n", "0", "1e1e"],
  ].map((piece) => piece.repeat(Math.ceil(long / piece.length)).slice(0, long));
  const begun = performance.now();
  for (const text of [...slow, ...slow.map((one) => `a=${one.slice(2)}`)]) {
    try {
      parseFilter(text);
    } catch (error) {
      expect(error).toBeInstanceOf(DbxError);
    }
  }
  const members = Array.from({ length: 20_000 }, (_, index) => `"m${index}":[{"x":${index}}]`);
  const state = evolve(emptyState, canonicalize(`{${members.join(",")}}`));
  const asked = Array(limits.filter_comparisons_max).fill("z = 1 OR z = 2").slice(0, 50);
  expect(matches(parseFilter(asked.join(" OR ")), state)).toBe(false);
  // As long a number as there may be, against as many as there may be.
  const number = evolve(emptyState, canonicalize(`{"n":1${"0".repeat(1_089)}1}`));
  const values = parseFilter(`n IN (${Array(limits.filter_values_max).fill(1).join(",")})`);
  for (let times = 0; times < 3_000; times++) expect(matches(values, number)).toBe(false);
  // A part that nearly is one at every second place of a megabyte.
  const text = evolve(emptyState, canonicalize(`{"t":"${"ab".repeat(500_000)}"}`));
  const part = parseFilter(`t CONTAINS "${"ab".repeat(2_000)}ba"`);
  for (let times = 0; times < 20; times++) expect(matches(part, text)).toBe(false);
  // 52 readings and 100 walks through half a megabyte: a tenth of this on a quiet machine.
  expect(performance.now() - begun).toBeLessThan(5_000);
});
