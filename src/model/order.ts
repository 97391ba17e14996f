// The order of an object's members in canonical JSON: by key as UTF-16 code units, worked out on
// the UTF-8 that model/rewrite.ts has just written. Duplicate keys are found on the way: no sort
// can do without comparing every two members that end up as neighbours.

/**
 * A member is three entries of a table: where it begins and ends in `bytes`, and where it began in
 * the text it came from.
 */
export const stride = 3;

const quote = 0x22;
const backslash = 0x5c;

/**
 * Up to here insertion is the fastest sort; most objects are smaller, and many are nearly sorted.
 */
const insertionMembersMax = 24;

/**
 * Compares two keys without escapes that begin, with their quotes, at `left` and `right`. The
 * closing quote ends the comparison: such a key has no other one.
 */
export function compareKeys(bytes: Uint8Array, left: number, right: number): number {
  let a = left + 1;
  let b = right + 1;
  let x = bytes[a] ?? 0;
  let y = bytes[b] ?? 0;
  while (x === y) {
    if (x === quote) return 0;
    x = bytes[++a] ?? 0;
    y = bytes[++b] ?? 0;
  }
  if (x === quote) return -1;
  if (y === quote) return 1;
  return utf16Rank(x) - utf16Rank(y);
}

/**
 * UTF-8 and UTF-16 order differ in one case: four-byte characters (first byte 0xf0 to 0xf4) are
 * surrogates in UTF-16 and come before U+E000 to U+FFFF (first byte 0xee or 0xef).
 */
const utf16Rank = (byte: number): number =>
  byte < 0xee ? byte : byte >= 0xf0 ? byte - 2 : byte + 16;

/** Some members of a table, and whether any of their keys holds an escape. */
interface Span {
  readonly base: number;
  readonly limit: number;
  readonly escaped: boolean;
}

/** Sorts members by key. Answers where one whose key appears twice began in the text, or -1. */
export function sortMembers(bytes: Buffer, table: Uint32Array, span: Span): number {
  const { base, limit, escaped } = span;
  if (escaped || limit - base > insertionMembersMax * stride) return sortByText(bytes, table, span);
  for (let index = base + stride; index < limit; index += stride) {
    const begin = table[index] ?? 0;
    const end = table[index + 1] ?? 0;
    const origin = table[index + 2] ?? 0;
    let hole = index;
    for (; hole > base; hole -= stride) {
      const order = compareKeys(bytes, table[hole - stride] ?? 0, begin);
      if (order === 0) return Math.max(origin, table[hole - 1] ?? 0);
      if (order < 0) break;
      table[hole] = table[hole - 3] ?? 0;
      table[hole + 1] = table[hole - 2] ?? 0;
      table[hole + 2] = table[hole - 1] ?? 0;
    }
    table[hole] = begin;
    table[hole + 1] = end;
    table[hole + 2] = origin;
  }
  return -1;
}

/**
 * The same for many members, or for keys with escapes, which do not sort as they are written. The
 * built-in sort of strings is by UTF-16 code units.
 */
function sortByText(bytes: Buffer, table: Uint32Array, { base, limit }: Span): number {
  const before = table.slice(base, limit);
  const members = new Map<string, number>();
  for (let index = 0; index < before.length; index += stride) {
    const key = keyAt(bytes, before[index] ?? 0);
    if (members.has(key)) return before[index + 2] ?? 0;
    members.set(key, index);
  }
  let to = base;
  for (const key of [...members.keys()].sort()) {
    const from = members.get(key) ?? 0;
    for (let entry = 0; entry < stride; entry++) table[to++] = before[from + entry] ?? 0;
  }
  return -1;
}

/** What the key means that begins, with its quote, at `begin`. */
function keyAt(bytes: Buffer, begin: number): string {
  let escaped = false;
  let close = begin + 1;
  for (; bytes[close] !== quote; close++) {
    if (bytes[close] !== backslash) continue;
    escaped = true;
    close++;
  }
  if (!escaped) return bytes.toString("utf8", begin + 1, close);
  return String(JSON.parse(bytes.toString("utf8", begin, close + 1)));
}
