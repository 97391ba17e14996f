// Asks a state. It walks the canonical text as far as a path leads, and parses nothing but the
// value it finds there: numbers are compared exactly, and large states are not copied.

import { compareKeyTokens, endOfString, endOfValue, type Canonical } from "../canonical.ts";
import { compareDecimals, decimalOf, type Decimal } from "../decimal.ts";
import { limits } from "../limits.ts";
import { compareUtf8 } from "../stream.ts";
import type { Condition, Filter, Literal, Path } from "./filter.ts";

/**
 * Whether the state fulfils the filter. A path that leads nowhere makes a comparison false, and NOT
 * turns that round; only `= null` holds for it, as for null and for "". Numbers compare with JSON
 * numbers and with strings that are JSON numbers; true and false with JSON booleans and with
 * "true" and "false", which is what a state makes of them; strings with strings, in the order of
 * their UTF-8 bytes. Values that do not compare are unequal, and none is above the other. A list
 * contains the elements that are equal, a text its parts.
 */
export const matches = ({ condition }: Filter, state: Canonical): boolean =>
  holds(condition, state);

/**
 * The same, one comparison after the other: yields before each, because each may walk over all of a
 * state, and states may be large.
 */
export const matchesInSteps = (
  { condition }: Filter,
  state: Canonical,
): Generator<undefined, boolean, undefined> => holdsInSteps(condition, state);

function* holdsInSteps(
  condition: Condition,
  state: string,
): Generator<undefined, boolean, undefined> {
  switch (condition.kind) {
    case "and":
      for (const part of condition.parts) if (!(yield* holdsInSteps(part, state))) return false;
      return true;
    case "or":
      for (const part of condition.parts) if (yield* holdsInSteps(part, state)) return true;
      return false;
    case "not":
      return !(yield* holdsInSteps(condition.part, state));
    default:
      yield;
      return holds(condition, state);
  }
}

function holds(condition: Condition, state: string): boolean {
  switch (condition.kind) {
    case "and":
      return condition.parts.every((part) => holds(part, state));
    case "or":
      return condition.parts.some((part) => holds(part, state));
    case "not":
      return !holds(condition.part, state);
    case "exists":
      return find(state, condition.path) !== nowhere;
    case "in":
      return isOneOf(state, find(state, condition.path), condition.values);
    case "contains":
      return contains(state, find(state, condition.path), condition.value);
    case "=":
      return equals(state, find(state, condition.path), condition.value);
    case "!=": {
      const at = find(state, condition.path);
      return at !== nowhere && !equals(state, at, condition.value);
    }
    default: {
      const order = compare(state, find(state, condition.path), condition.value);
      if (order === undefined) return false;
      if (order === 0) return condition.kind === "<=" || condition.kind === ">=";
      return order < 0 === condition.kind.startsWith("<");
    }
  }
}

const nowhere = -1;
const quote = 0x22;
const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Where the value begins to which the path leads. */
function find(state: string, path: Path): number {
  let at = 0;
  for (const step of path) {
    at = typeof step === "string" ? memberAt(state, at, step) : elementAt(state, at, step);
    if (at === nowhere) return nowhere;
  }
  return at;
}

function memberAt(state: string, object: number, key: string): number {
  if (state.charCodeAt(object) !== openBrace) return nowhere;
  for (let start = object + 1; state.charCodeAt(start) !== closeBrace;) {
    const value = endOfString(state, start) + 2;
    const order = compareKeyTokens(state, start, key, 0);
    if (order === 0) return value;
    // Members are sorted by key.
    if (order > 0) return nowhere;
    start = behind(state, value);
  }
  return nowhere;
}

function elementAt(state: string, list: number, index: number): number {
  if (state.charCodeAt(list) !== openBracket) return nowhere;
  let start = list + 1;
  for (let left = index; state.charCodeAt(start) !== closeBracket; left--) {
    if (left === 0) return start;
    start = behind(state, start);
  }
  return nowhere;
}

/** A number is read once, however many values it is compared with. */
function isOneOf(state: string, at: number, values: readonly Literal[]): boolean {
  const found = numberAt(state, at);
  return values.some((value) => {
    if (value.kind !== "number") return equals(state, at, value);
    return found !== undefined && compareDecimals(found, value.value) === 0;
  });
}

/** A list has the element, or a text the part. */
function contains(state: string, at: number, value: Literal): boolean {
  if (at === nowhere) return false;
  if (state.charCodeAt(at) === quote)
    return value.kind === "string" && textAt(state, at).includes(value.text);
  if (state.charCodeAt(at) !== openBracket) return false;
  for (let start = at + 1; state.charCodeAt(start) !== closeBracket;) {
    if (equals(state, start, value)) return true;
    start = behind(state, start);
  }
  return false;
}

/** Where the next member or element begins, or the bracket that closes around them. */
function behind(state: string, value: number): number {
  const end = endOfValue(state, value);
  return state.charCodeAt(end) === comma ? end + 1 : end;
}

function equals(state: string, at: number, value: Literal): boolean {
  if (at === nowhere) return value.kind === "null";
  switch (value.kind) {
    // A canonical string token is no other one's beginning: it ends with its only bare quote.
    case "string":
      return state.startsWith(value.token, at);
    case "boolean":
      return state.startsWith(value.word, at) || state.startsWith(`"${value.word}"`, at);
    case "null":
      return state.startsWith("null", at) || state.startsWith('""', at);
    case "number":
      return compare(state, at, value) === 0;
  }
}

/** Below, at or above zero, as the value at `at` is below, at or above the literal. */
function compare(state: string, at: number, value: Literal): number | undefined {
  if (value.kind === "number") {
    const found = numberAt(state, at);
    return found === undefined ? undefined : compareDecimals(found, value.value);
  }
  if (at === nowhere || value.kind !== "string" || state.charCodeAt(at) !== quote) return undefined;
  return compareUtf8(textAt(state, at), value.text);
}

/** What the string means that opens at `at`. */
function textAt(state: string, at: number): string {
  const end = endOfString(state, at);
  const inner = state.slice(at + 1, end);
  return inner.includes("\\") ? String(JSON.parse(state.slice(at, end + 1))) : inner;
}

const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** The number that stands at `at`, bare or as a string. */
function numberAt(state: string, at: number): Decimal | undefined {
  if (at === nowhere) return undefined;
  const bare = state.charCodeAt(at) !== quote;
  const start = bare ? at : at + 1;
  const end = bare ? endOfValue(state, at) : endOfString(state, at);
  // A longer one is refused wherever it comes in, so a longer string is none.
  if (end - start > limits.json_number_chars_max) return undefined;
  const token = state.slice(start, end);
  return number.test(token) ? decimalOf(token) : undefined;
}
