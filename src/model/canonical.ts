// Canonical JSON: RFC 8785 with exact numbers (keys sorted by UTF-16 code units, shortest escapes, no white
// space; a number is rewritten only where no value is lost). It is the one form in which payloads are
// hashed, stored and given out. model/rewrite.ts makes it; here its parts are taken out and joined again.

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
 * In: one JSON value as text, without byte-order mark. Out: its canonical text.
 * Throws `invalid_argument` with `details.offset` (UTF-16 units) for anything but strict JSON, duplicate
 * keys, lone surrogates, more than 128 levels of nesting and number tokens over 1,100 characters.
 */
export const canonicalize = (source: string): Canonical => rewrite(source) as Canonical;

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

/** The key a canonical string token stands for. */
const keyOf = (token: string): string =>
  token.includes("\\") ? String(JSON.parse(token)) : token.slice(1, -1);
