// Escapes in JSON strings: what one stands for, and how canonical JSON writes that character.
// Many clients escape everything that is not ASCII, so this runs in the hot loop of
// model/rewrite.ts, on its bytes.

const backslash = 0x5c;
const lowerU = 0x75;

/** `escapedChar` found no escape that JSON knows. */
const unknownEscape = -1;
/** `escapedChar` found one half of a surrogate pair without the other. */
export const loneSurrogate = -2;

/** What the letter of a two-character escape stands for; 0 where there is none. */
const meanings = new Uint8Array(256);
/** The letter of the two-character escape for a character; 0 where it has none. */
const letters = new Uint8Array(256);
for (const [letter = "", meaning = ""] of ["b\b", "f\f", "n\n", "r\r", "t\t", '""', "\\\\"]) {
  meanings[letter.charCodeAt(0)] = meaning.charCodeAt(0);
  letters[meaning.charCodeAt(0)] = letter.charCodeAt(0);
}
// Known, but never written.
meanings[0x2f] = 0x2f;

/** Whether a backslash and this letter are the canonical way to write what they stand for. */
export const isCanonicalEscape = (letter: number): boolean =>
  letters[meanings[letter] ?? 0] === letter && letter !== 0;

/** The code point that the escape at `at` stands for, or one of the two numbers above. */
export function escapedChar(bytes: Uint8Array, at: number): number {
  const letter = bytes[at + 1] ?? 0;
  if (letter !== lowerU) return meanings[letter] || unknownEscape;
  const unit = hexUnit(bytes, at + 2);
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit > 0xdbff || bytes[at + 6] !== backslash || bytes[at + 7] !== lowerU)
    return loneSurrogate;
  const low = hexUnit(bytes, at + 8);
  if (low < 0) return unknownEscape;
  if (low < 0xdc00 || low > 0xdfff) return loneSurrogate;
  return 0x10000 + (unit - 0xd800) * 0x400 + low - 0xdc00;
}

/** How many bytes the escape at `at` takes, which stands for `char`. */
export const escapeLength = (bytes: Uint8Array, at: number, char: number): number =>
  bytes[at + 1] !== lowerU ? 2 : char > 0xffff ? 12 : 6;

function hexUnit(bytes: Uint8Array, at: number): number {
  let unit = 0;
  for (let index = at; index < at + 4; index++) {
    const code = bytes[index] ?? 0;
    const letter = code | 0x20;
    if (code >= 0x30 && code <= 0x39) unit = unit * 16 + code - 0x30;
    else if (letter >= 0x61 && letter <= 0x66) unit = unit * 16 + letter - 0x57;
    else return unknownEscape;
  }
  return unit;
}

/**
 * Writes a character as canonical JSON does; answers where the next one goes. At most six bytes.
 */
export function writeChar(bytes: Uint8Array, at: number, char: number): number {
  let to = at;
  const letter = char < 0x80 ? (letters[char] ?? 0) : 0;
  if (letter !== 0) {
    bytes[to++] = backslash;
    bytes[to++] = letter;
  } else if (char < 0x20) {
    bytes[to++] = backslash;
    bytes[to++] = lowerU;
    bytes[to++] = 0x30;
    bytes[to++] = 0x30;
    bytes[to++] = 0x30 + (char >> 4);
    bytes[to++] = (char & 15) + ((char & 15) < 10 ? 0x30 : 0x57);
  } else if (char < 0x80) {
    bytes[to++] = char;
  } else if (char < 0x800) {
    bytes[to++] = 0xc0 | (char >> 6);
    bytes[to++] = 0x80 | (char & 0x3f);
  } else {
    if (char < 0x10000) bytes[to++] = 0xe0 | (char >> 12);
    else {
      bytes[to++] = 0xf0 | (char >> 18);
      bytes[to++] = 0x80 | ((char >> 12) & 0x3f);
    }
    bytes[to++] = 0x80 | ((char >> 6) & 0x3f);
    bytes[to++] = 0x80 | (char & 0x3f);
  }
  return to;
}
