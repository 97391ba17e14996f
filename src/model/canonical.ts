// Canonical JSON: RFC 8785 with exact numbers (keys sorted by UTF-16 code units, shortest escapes, no white
// space; a number is rewritten only where no value is lost). It is the one form in which payloads are
// hashed, stored and given out.
//
// A single pass over the text: a value that is canonical already is never copied. Only what differs is
// rebuilt. Built on charCodeAt because JSON.parse would round numbers and forget duplicate keys.

import { assert, invalidArgument } from "./error.ts";
import { limits } from "./limits.ts";

declare const canonical: unique symbol;
/** Canonical JSON text of one value. */
export type Canonical = string & { readonly [canonical]: true };

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * In: one JSON value as text, without byte-order mark. Out: its canonical text.
 * Throws `invalid_argument` with `details.offset` (UTF-16 units) for anything but strict JSON, duplicate
 * keys, lone surrogates, more than 128 levels of nesting and number tokens over 1,100 characters.
 */
export function canonicalize(source: string): Canonical {
  text = source;
  at = 0;
  depth = 0;
  members.length = 0;
  if (!text.isWellFormed()) throw invalidArgument("JSON must not contain a lone surrogate");
  blanks();
  const start = at;
  const changed = value();
  const end = at;
  blanks();
  if (at !== text.length) fail("unexpected text after the JSON value");
  return (changed ?? text.slice(start, end)) as Canonical;
}

/** In: the bytes of a JSON text. Throws `invalid_argument` unless they are UTF-8 without byte-order mark. */
export function decodeUtf8(bytes: Uint8Array): string {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw invalidArgument("JSON must not begin with a byte-order mark");
  }
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw invalidArgument("JSON must be valid UTF-8", {}, { cause });
  }
}
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The canonical text of a JavaScript value that came from JSON or from our own code. */
export const canonicalOf = (json: unknown): Canonical => canonicalize(JSON.stringify(json));

// The parser's state. It is synchronous and not re-entrant, so one set for the module is enough.
let text = "";
let at = 0;
let depth = 0;
/** Members of the objects being read: four entries each (key start, key end, value start, value end) ... */
const members: number[] = [];
/** ... and the rewritten key and value where they were not canonical. */
const rewritten: (string | null)[] = [];

/** Reads a value at `at`. Null: it was canonical as it stood. */
function value(): string | null {
  const code = text.charCodeAt(at);
  if (code === quote) return string();
  if (code === openBrace) return nested(object);
  if (code === openBracket) return nested(array);
  if (code === minus || (code >= zero && code <= nine)) return number();
  if (text.startsWith("true", at) || text.startsWith("null", at)) at += 4;
  else if (text.startsWith("false", at)) at += 5;
  else fail(at < text.length ? "expected a JSON value" : "the JSON ends too early");
  return null;
}

function nested(read: () => string | null): string | null {
  if (++depth > limits.json_depth_max)
    fail(`JSON is nested deeper than ${limits.json_depth_max} levels`);
  at++;
  const changed = read();
  depth--;
  return changed;
}

function object(): string | null {
  const base = members.length;
  let clean = true;
  let sorted = true;
  if (blanks()) clean = false;
  if (text.charCodeAt(at) === closeBrace) {
    at++;
    return clean ? null : "{}";
  }
  for (;;) {
    if (text.charCodeAt(at) !== quote) fail("expected a member name in double quotes");
    const keyStart = at;
    const key = string();
    const keyEnd = at;
    if (blanks()) clean = false;
    if (text.charCodeAt(at) !== colon) fail("expected `:` after a member name");
    at++;
    if (blanks()) clean = false;
    const valueStart = at;
    const slot = members.length;
    members.push(keyStart, keyEnd, valueStart, 0);
    rewritten[slot] = key;
    const changed = value();
    members.length = slot + 4;
    members[slot + 3] = at;
    rewritten[slot + 1] = changed;
    if (key !== null || changed !== null) clean = false;
    if (sorted && slot > base && !inOrder(slot - 4, slot)) sorted = false;
    if (blanks()) clean = false;
    const code = text.charCodeAt(at++);
    if (code === closeBrace) break;
    if (code !== comma) fail("expected `,` or `}` in an object", at - 1);
    if (blanks()) clean = false;
  }
  const result = clean && sorted ? null : rebuild(base, sorted);
  members.length = base;
  return result;
}

/** Whether the key at `left` comes before the key at `right`. Escaped keys are left to `rebuild`. */
function inOrder(left: number, right: number): boolean {
  if (rewritten[left] !== null || rewritten[right] !== null) return false;
  let a = slotAt(left) + 1;
  let b = slotAt(right) + 1;
  const aEnd = slotAt(left + 1) - 1;
  const bEnd = slotAt(right + 1) - 1;
  for (; a < aEnd && b < bEnd; a++, b++) {
    const difference = text.charCodeAt(a) - text.charCodeAt(b);
    if (difference !== 0) return difference < 0 && !hasEscape(left) && !hasEscape(right);
  }
  return a === aEnd && b < bEnd && !hasEscape(left) && !hasEscape(right);
}

/** A canonical key may still hold escapes (`\"`, `\\`, `\n`), which do not sort as they are written. */
const hasEscape = (slot: number): boolean =>
  text.slice(slotAt(slot), slotAt(slot + 1)).includes("\\");

function slotAt(index: number): number {
  const offset = members[index];
  assert(offset !== undefined, "every member has four offsets");
  return offset;
}

/** The object whose members begin at `base`, written canonically. */
function rebuild(base: number, sorted: boolean): string {
  const list: { key: string; raw: string; value: string; offset: number }[] = [];
  for (let slot = base; slot < members.length; slot += 4) {
    const offset = slotAt(slot);
    const raw = rewritten[slot] ?? text.slice(offset, slotAt(slot + 1));
    const inner = rewritten[slot + 1] ?? text.slice(slotAt(slot + 2), slotAt(slot + 3));
    list.push({ key: keyOf(raw), raw, value: inner, offset });
  }
  if (!sorted) {
    list.sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0));
    for (let index = 1; index < list.length; index++) {
      const member = list[index];
      if (member !== undefined && member.key === list[index - 1]?.key) {
        fail(`the member ${member.raw.slice(0, 100)} appears twice`, member.offset);
      }
    }
  }
  let joined = "{";
  for (const member of list)
    joined += `${joined.length > 1 ? "," : ""}${member.raw}:${member.value}`;
  return `${joined}}`;
}

/** The key a canonical string token stands for. */
const keyOf = (token: string): string =>
  token.includes("\\") ? String(JSON.parse(token)) : token.slice(1, -1);

function array(): string | null {
  const start = at - 1;
  let parts: string | null = null;
  if (blanks()) parts = "[";
  if (text.charCodeAt(at) === closeBracket) {
    at++;
    return parts === null ? null : "[]";
  }
  for (;;) {
    const elementStart = at;
    const changed = value();
    // The first difference copies what came before it; from then on every element is appended.
    if (parts === null && changed !== null) parts = text.slice(start, elementStart);
    if (parts !== null) parts += changed ?? text.slice(elementStart, at);
    const elementEnd = at;
    if (blanks() && parts === null) parts = text.slice(start, elementEnd);
    const code = text.charCodeAt(at++);
    if (code === closeBracket) break;
    if (code !== comma) fail("expected `,` or `]` in an array", at - 1);
    const commaEnd = at;
    if (blanks() && parts === null) parts = text.slice(start, commaEnd);
    else if (parts !== null) parts += ",";
  }
  return parts === null ? null : `${parts}]`;
}

/** Passes white space; says whether there was any. */
function blanks(): boolean {
  const start = at;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at !== start;
    at++;
  }
}

function string(): string | null {
  const start = at++;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === quote) break;
    if (code === backslash) return escapedString(start);
    // NaN, past the end, fails this comparison too.
    if (!(code >= 0x20))
      fail(
        at < text.length
          ? "control characters in strings must be escaped"
          : "a string is not closed",
      );
    at++;
  }
  at++;
  return null;
}

/** A string with at least one escape: found, decoded and written again by the built-in parser. */
function escapedString(start: number): string | null {
  at = start + 1;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === quote) break;
    if (!(code >= 0x20))
      fail(
        at < text.length
          ? "control characters in strings must be escaped"
          : "a string is not closed",
      );
    at += code === backslash ? 2 : 1;
  }
  at++;
  const token = text.slice(start, at);
  let decoded: unknown;
  try {
    decoded = JSON.parse(token);
  } catch {
    return fail("a string has an escape that JSON does not know", start);
  }
  assert(typeof decoded === "string", "a string token decodes to a string");
  if (!decoded.isWellFormed()) fail("a string must not contain a lone surrogate", start);
  const written = JSON.stringify(decoded);
  return written === token ? null : written;
}

function number(): string | null {
  const start = at;
  if (text.charCodeAt(at) === minus) at++;
  const integer = at;
  digits();
  if (text.charCodeAt(integer) === zero && at > integer + 1)
    fail("a number must not begin with 0", start);
  let plain = true;
  if (text.charCodeAt(at) === point) {
    plain = false;
    at++;
    digits();
  }
  if ((text.charCodeAt(at) | 0x20) === 0x65) {
    plain = false;
    at++;
    const sign = text.charCodeAt(at);
    if (sign === minus || sign === 0x2b) at++;
    digits();
  }
  const length = at - start;
  if (length > limits.json_number_chars_max)
    fail(`a number must have at most ${limits.json_number_chars_max} characters`, start);
  // Up to 15 digits a double holds every integer; only -0 is not written as it should be.
  if (plain && length <= 15 && (integer === start || text.charCodeAt(integer) !== zero))
    return null;
  const token = text.slice(start, at);
  const written = canonicalNumber(token);
  return written === token ? null : written;
}

function digits(): void {
  const start = at;
  for (;;) {
    const code = text.charCodeAt(at);
    if (!(code >= zero && code <= nine)) break;
    at++;
  }
  if (at === start) fail("expected a digit");
}

/**
 * In: a JSON number token. Out: `0` for zero, ECMAScript's Number::toString where that is the same exact
 * decimal, otherwise the token as it is.
 */
export function canonicalNumber(token: string): string {
  const exact = decimalOf(token);
  if (exact.digits === "") return "0";
  const nearest = Number(token);
  if (!Number.isFinite(nearest) || nearest === 0) return token;
  const shortest = String(nearest);
  const rounded = decimalOf(shortest);
  return rounded.digits === exact.digits && rounded.exponent === exact.exponent ? shortest : token;
}

export interface Decimal {
  readonly negative: boolean;
  /** Significant digits, no zero at either end; empty for zero. */
  readonly digits: string;
  /** The value is 0.digits × 10^exponent. */
  readonly exponent: number;
}

/** The exact value of a JSON number token. Its exponent is Infinity where nobody could tell the difference. */
export function decimalOf(token: string): Decimal {
  const negative = token.charCodeAt(0) === minus;
  const [mantissa = "", power = "0"] = (negative ? token.slice(1) : token).toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const all = whole + fraction;
  const leading = all.length - all.replace(/^0+/, "").length;
  const digits = all.slice(leading).replace(/0+$/, "");
  return { negative, digits, exponent: digits === "" ? 0 : whole.length - leading + Number(power) };
}

function fail(problem: string, offset = at): never {
  throw invalidArgument(`invalid JSON at character ${offset + 1}: ${problem}`, { offset });
}

/** The members of a canonical object, sorted by key as they stand. */
export function splitMembers(object: Canonical): [key: string, value: Canonical][] {
  assert(object.charCodeAt(0) === openBrace, "only an object has members");
  const list: [string, Canonical][] = [];
  for (let index = 1; object.charCodeAt(index) !== closeBrace;) {
    if (object.charCodeAt(index) === comma) index++;
    const keyEnd = endOfValue(object, index);
    const valueEnd = endOfValue(object, keyEnd + 1);
    list.push([
      keyOf(object.slice(index, keyEnd)),
      object.slice(keyEnd + 1, valueEnd) as Canonical,
    ]);
    index = valueEnd;
  }
  return list;
}

/** The elements of a canonical array. */
export function splitElements(list: Canonical): Canonical[] {
  assert(list.charCodeAt(0) === openBracket, "only an array has elements");
  const elements: Canonical[] = [];
  for (let index = 1; list.charCodeAt(index) !== closeBracket;) {
    if (list.charCodeAt(index) === comma) index++;
    const end = endOfValue(list, index);
    elements.push(list.slice(index, end) as Canonical);
    index = end;
  }
  return elements;
}

/** The canonical object with these members, which MUST be sorted by key. */
export function joinMembers(
  sorted: readonly (readonly [key: string, value: Canonical])[],
): Canonical {
  let joined = "{";
  for (const [key, inner] of sorted) {
    joined += `${joined.length > 1 ? "," : ""}${JSON.stringify(key)}:${inner}`;
  }
  return `${joined}}` as Canonical;
}

/** Where the value that begins at `start` of a canonical text ends. */
function endOfValue(list: string, start: number): number {
  let open = 0;
  for (let index = start; index < list.length; index++) {
    const code = list.charCodeAt(index);
    if (code === quote) index = endOfString(list, index);
    else if (code === openBrace || code === openBracket) open++;
    else if (code === closeBrace || code === closeBracket) {
      if (open === 0) return index;
      open--;
    } else if ((code === comma || code === colon) && open === 0) return index;
  }
  return list.length;
}

/** The index of the closing quote of the string that opens at `start`. */
function endOfString(list: string, start: number): number {
  for (let index = start + 1; index < list.length; index++) {
    const code = list.charCodeAt(index);
    if (code === quote) return index;
    if (code === backslash) index++;
  }
  return list.length;
}
