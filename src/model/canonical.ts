// Canonical JSON: RFC 8785 with exact numbers (keys sorted by UTF-16 code units, shortest
// escapes, no white space; a number is rewritten only where no value is lost). It is the one form
// in which payloads are hashed, stored and given out. model/rewrite.ts makes it; here its parts
// are taken out and joined again.

import { assert, invalidArgument } from "./error.ts";
import { rewrite } from "./rewrite.ts";

declare const canonical: unique symbol;
/** Canonical JSON text of one value. */
export type Canonical = string & { readonly [canonical]: true };

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * In: one JSON value as text, without byte-order mark. Out: its canonical text. Throws
 * `invalid_argument` with `details.offset` (UTF-16 units) for anything but strict JSON, duplicate
 * keys, lone surrogates, more than 128 levels of nesting and number tokens over 1,100 characters.
 * Levels are counted for what lies within an envelope of so many: a payload may be as deep in a
 * batch as it may be alone.
 */
export const canonicalize = (source: string, { envelope } = { envelope: 0 }): Canonical =>
  rewrite(source, envelope) as Canonical;

/**
 * In: the bytes of a JSON text. Throws `invalid_argument` unless they are UTF-8 without
 * byte-order mark.
 */
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

/** The members of a canonical object, sorted by key as they stand; at most the first `most`. */
export function splitMembers(
  object: Canonical,
  { most } = { most: Infinity },
): [key: string, value: Canonical][] {
  assert(object.charCodeAt(0) === openBrace, "only an object has members");
  const list: [string, Canonical][] = [];
  for (let index = 1; object.charCodeAt(index) !== closeBrace && list.length < most;) {
    if (object.charCodeAt(index) === comma) index++;
    const keyEnd = endOfString(object, index) + 1;
    const valueEnd = endOfValue(object, keyEnd + 1);
    list.push([
      keyOf(object.slice(index, keyEnd)),
      object.slice(keyEnd + 1, valueEnd) as Canonical,
    ]);
    index = valueEnd;
  }
  return list;
}

/** The elements of a canonical array; at most the first `most`. */
export function splitElements(list: Canonical, { most } = { most: Infinity }): Canonical[] {
  assert(list.charCodeAt(0) === openBracket, "only an array has elements");
  const elements: Canonical[] = [];
  for (let index = 1; list.charCodeAt(index) !== closeBracket && elements.length < most;) {
    if (list.charCodeAt(index) === comma) index++;
    const end = endOfValue(list, index);
    elements.push(list.slice(index, end) as Canonical);
    index = end;
  }
  return elements;
}

/** A canonical object without the members of these keys, unknown ones among them. */
export function withoutMembers(object: Canonical, keys: readonly string[]): Canonical {
  assert(object.charCodeAt(0) === openBrace, "only an object has members");
  const leftOut = new Set(keys);
  let kept = "";
  for (let start = 1; object.charCodeAt(start) !== closeBrace;) {
    const keyEnd = endOfString(object, start) + 1;
    const end = endOfValue(object, keyEnd + 1);
    if (!leftOut.has(keyOf(object.slice(start, keyEnd))))
      kept += (kept === "" ? "" : ",") + object.slice(start, end);
    start = object.charCodeAt(end) === comma ? end + 1 : end;
  }
  return `{${kept}}` as Canonical;
}

/** Where the value that begins at `start` of a canonical text ends. */
export function endOfValue(list: string, start: number): number {
  let open = 0;
  for (let index = start; index < list.length; index++) {
    const code = list.charCodeAt(index);
    // The characters of numbers, most of what is not a string.
    if (code > comma && code < colon) continue;
    if (code === quote) index = endOfString(list, index);
    else if (code === openBrace || code === openBracket) open++;
    else if (code === closeBrace || code === closeBracket) {
      if (open === 0) return index;
      open--;
    } else if (code === comma && open === 0) return index;
  }
  return list.length;
}

/** The index of the closing quote of the string that opens at `start`. */
export function endOfString(list: string, start: number): number {
  for (let index = start + 1; index < list.length; index++) {
    const code = list.charCodeAt(index);
    if (code === quote) return index;
    if (code === backslash) index++;
  }
  return list.length;
}

/**
 * Orders two keys by what they mean. They are given as canonical string tokens that begin at
 * `left` of `a` and `right` of `b`.
 */
export function compareKeyTokens(a: string, left: number, b: string, right: number): number {
  for (let i = left + 1, j = right + 1; ; i++, j++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(j);
    if (x === y && x === backslash) {
      // What follows may be another escape, or an escaped quote, which does not end the key.
      if (a.charCodeAt(++i) === b.charCodeAt(++j)) continue;
      return compareDecoded(a, left, b, right);
    }
    if (x === y && x === quote) return 0;
    if (x === y) continue;
    // Escapes do not sort as they are written.
    if (x === backslash || y === backslash) return compareDecoded(a, left, b, right);
    return x === quote ? -1 : y === quote ? 1 : x - y;
  }
}

function compareDecoded(a: string, left: number, b: string, right: number): number {
  const x = keyOf(a.slice(left, endOfString(a, left) + 1));
  const y = keyOf(b.slice(right, endOfString(b, right) + 1));
  return x < y ? -1 : x > y ? 1 : 0;
}

/** The key a canonical string token stands for. */
const keyOf = (token: string): string =>
  token.includes("\\") ? String(JSON.parse(token)) : token.slice(1, -1);
