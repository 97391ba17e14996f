// The machine behind `canonicalize`: one pass over the UTF-8 of a JSON text. Every value is
// written to `output` in canonical form as it is read, and the members of an object are put in
// order when it closes. If nothing had to change, the text itself is the answer. Not built on
// JSON.parse, which rounds numbers and forgets duplicate keys.

import { canonicalNumber } from "./decimal.ts";
import { assert, invalidArgument } from "./error.ts";
import {
  escapedChar,
  escapeLength,
  isCanonicalEscape,
  loneSurrogate,
  writeChar,
} from "./escape.ts";
import { limits } from "./limits.ts";
import { compareKeys, sortMembers, stride } from "./order.ts";

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

/** Out: the canonical text of one JSON value. Refuses what `canonicalize` says it refuses. */
export function rewrite(source: string, envelope: number): string {
  begin(source);
  depth = -envelope;
  blanks();
  value();
  blanks();
  if (at !== inputEnd) fail("unexpected text after the JSON value");
  assert(end <= output.length, "every canonical byte has its place");
  assert(changed || end === inputEnd, "an unchanged text keeps its length");
  const result = changed ? output.toString("utf8", 0, end) : source;
  finish();
  return result;
}

// The machine's state. It is synchronous and not re-entrant, so one set for the module is enough.
// Hot loops copy it into local variables, which the compiler can keep in registers.

/** For texts of common size. Larger buffers are made for one text and given back after it. */
const commonBytes = 262_144;
const commonInput = Buffer.alloc(commonBytes);
const commonOutput = Buffer.alloc(commonBytes);
const commonMembers = new Uint32Array(4_096 * stride);
/** The text's bytes, then a zero: no JSON may contain one, so no loop has to look for the end. */
let input = commonInput;
let inputEnd = 0;
let text = "";
let at = 0;
/** The input with one character per byte, made when a long string is met. */
let inputChars: string | null = null;
/** What is written so far. Behind `end` there is always room for the rest of the input. */
let output = commonOutput;
let end = 0;
/** Whether the output differs from the input. */
let changed = false;
let depth = 0;
/** The members of the objects being read, as model/order.ts wants them. */
let members = commonMembers;
let membersEnd = 0;
const encoder = new TextEncoder();

function begin(source: string): void {
  if (!source.isWellFormed()) throw invalidArgument("JSON must not contain a lone surrogate");
  // UTF-8 takes at most three bytes for a UTF-16 unit, so most texts need no counting.
  if (source.length * 3 >= commonBytes) {
    const needed = Buffer.byteLength(source) + 1;
    if (needed > commonBytes) input = Buffer.allocUnsafe(needed);
  }
  inputEnd = encoder.encodeInto(source, input).written;
  input[inputEnd] = 0;
  text = source;
  inputChars = null;
  at = end = membersEnd = 0;
  changed = false;
  reserve(0);
}

/** Lets go of the text and of large buffers. */
function finish(): void {
  text = "";
  inputChars = null;
  input = commonInput;
  output = commonOutput;
  members = commonMembers;
}

/** Makes room for the rest of the input and `bytes` more. */
function reserve(bytes: number): void {
  const needed = end + (inputEnd - at) + bytes;
  if (needed <= output.length) return;
  // Twice as much where it grows once, because then it may grow again.
  const larger = Buffer.allocUnsafe(end === 0 ? needed : needed * 2);
  output.copy(larger, 0, 0, end);
  output = larger;
}

function value(): void {
  const code = input[at] ?? 0;
  if (code === quote) string();
  else if (code === openBrace) nested(object);
  else if (code === openBracket) nested(array);
  else if (code === minus || (code >= zero && code <= nine)) number();
  else if (code === 0x74) literal("true");
  else if (code === 0x66) literal("false");
  else if (code === 0x6e) literal("null");
  else fail(at < inputEnd ? "expected a JSON value" : "the JSON ends too early");
}

function literal(word: string): void {
  for (let index = 0; index < word.length; index++) {
    const code = word.charCodeAt(index);
    if (input[at + index] !== code) fail("expected a JSON value");
    output[end + index] = code;
  }
  at += word.length;
  end += word.length;
}

function nested(read: () => void): void {
  if (++depth > limits.json_depth_max)
    fail(`JSON is nested deeper than ${limits.json_depth_max} levels`);
  output[end++] = input[at++] ?? 0;
  blanks();
  read();
  output[end++] = input[at++] ?? 0;
  depth--;
}

/** The members of an object, up to its closing brace. */
function object(): void {
  if (input[at] === closeBrace) return;
  const base = membersEnd;
  let sorted = true;
  let escaped = false;
  for (;;) {
    if (input[at] !== quote) fail("expected a member name in double quotes");
    const member = membersEnd;
    membersEnd += stride;
    if (membersEnd > members.length) growMembers();
    members[member] = end;
    members[member + 2] = at;
    if (string()) escaped = true;
    if (sorted && member > base) sorted = !escaped && isBefore(member - stride);
    blanks();
    if (input[at] !== colon) fail("expected `:` after a member name");
    output[end++] = colon;
    at++;
    blanks();
    value();
    members[member + 1] = end;
    blanks();
    const code = input[at];
    if (code === closeBrace) break;
    if (code !== comma) fail("expected `,` or `}` in an object");
    output[end++] = comma;
    at++;
    blanks();
  }
  if (!sorted) arrange(base, escaped);
  membersEnd = base;
}

/** The elements of an array, up to its closing bracket. */
function array(): void {
  if (input[at] === closeBracket) return;
  for (;;) {
    value();
    blanks();
    const code = input[at];
    if (code === closeBracket) break;
    if (code !== comma) fail("expected `,` or `]` in an array");
    output[end++] = comma;
    at++;
    blanks();
  }
}

function growMembers(): void {
  const larger = new Uint32Array(members.length * 2);
  larger.set(members);
  members = larger;
}

/** Whether a member's key comes before that of the next one. Equal keys are for `arrange`. */
const isBefore = (left: number): boolean =>
  compareKeys(output, members[left] ?? 0, members[left + stride] ?? 0) < 0;

/** Puts the members from `base` to the end of the output in order. */
function arrange(base: number, escaped: boolean): void {
  const first = members[base] ?? 0;
  const twice = sortMembers(output, members, { base, limit: membersEnd, escaped });
  if (twice >= 0) fail("a member name appears twice in one object", twice);
  const size = end - first;
  // One more for the comma behind the last member.
  reserve(size + 1);
  let to = end;
  for (let member = base; member < membersEnd; member += stride) {
    const from = members[member] ?? 0;
    const until = members[member + 1] ?? 0;
    if (from - first !== to - end) changed = true;
    output.copyWithin(to, from, until);
    to += until - from;
    output[to++] = comma;
  }
  assert(to - 1 - end === size, "members take the same room in any order");
  output.copyWithin(first, end, to - 1);
}

/** Copies bytes of the input to `to` of the output. A few are copied faster here than by a call. */
function copy(from: number, until: number, to: number): void {
  const bytes = input;
  const written = output;
  if (until - from > 24) bytes.copy(written, to, from, until);
  else for (let read = from, write = to; read < until;) written[write++] = bytes[read++] ?? 0;
}

/** Passes white space. */
function blanks(): void {
  const start = at;
  for (;;) {
    const code = input[at] ?? 0;
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break;
    at++;
  }
  if (at !== start) changed = true;
}

/** Copies a string; says whether it holds an escape. */
function string(): boolean {
  const bytes = input;
  const written = output;
  let read = at + 1;
  let write = end;
  let escaped = false;
  let long = read + longStringBytes;
  written[write++] = quote;
  for (;;) {
    let code = bytes[read] ?? 0;
    // The loop where the time goes: everything but the rare bytes.
    while ((code > backslash || (code > quote && code < backslash)) && read < long) {
      written[write++] = code;
      code = bytes[++read] ?? 0;
    }
    if (code === quote) break;
    if (code < 0x20) failString(read);
    if (code === backslash) {
      const letter = bytes[read + 1] ?? 0;
      if (isCanonicalEscape(letter)) {
        written[write++] = backslash;
        written[write++] = letter;
        read += 2;
        escaped = true;
      } else {
        const char = escapedChar(bytes, read);
        if (char < 0) failEscape(char, read);
        const start = write;
        write = writeChar(written, write, char);
        const length = escapeLength(bytes, read, char);
        read += length;
        if (written[start] === backslash) escaped = true;
        // Of these only `\u000b` and its like may be canonical, and the last digit tells.
        if (write - start !== length || written[write - 1] !== bytes[read - 1]) changed = true;
      }
      long = read + longStringBytes;
    } else if (read >= long) {
      const special = nextSpecial(read);
      copy(read, special, write);
      write += special - read;
      read = special;
      long = read + longStringBytes;
    } else {
      written[write++] = code;
      read++;
    }
  }
  written[write++] = quote;
  at = read + 1;
  end = write;
  return escaped;
}

/**
 * From here on a string is searched by the regular expression engine, which looks at many bytes
 * at once.
 */
const longStringBytes = 64;
const specialChars = /["\\\u0000-\u001f]/g;

/** The first byte from `from` on that means something in a string. */
function nextSpecial(from: number): number {
  inputChars ??= input.toString("latin1", 0, inputEnd);
  specialChars.lastIndex = from;
  return specialChars.test(inputChars) ? specialChars.lastIndex - 1 : inputEnd;
}

function failEscape(fault: number, byte: number): never {
  if (fault === loneSurrogate) fail("a string must not contain a lone surrogate", byte);
  fail("a string has an escape that JSON does not know", byte);
}

function failString(byte: number): never {
  if (byte < inputEnd) fail("control characters in strings must be escaped", byte);
  fail("a string is not closed", byte);
}

/** Copies a number, or writes it as `canonicalNumber` does. */
function number(): void {
  const start = at;
  if (input[at] === minus) at++;
  const whole = at;
  digits();
  const wholeDigits = at - whole;
  if (input[whole] === zero && wholeDigits > 1) fail("a number must not begin with 0", start);
  // A token is rewritten only to another spelling of its exact value. ECMAScript spells without
  // exponent from 0.000001 to 21 digits, and a value has one such spelling without needless
  // zeros. Beyond 21 digits no value with decimals has a spelling of 17 digits, which is all that
  // ECMAScript ever writes.
  let plain = wholeDigits <= 21 && (input[whole] !== zero || whole === start);
  if (input[at] === point) {
    at++;
    const fraction = at;
    digits();
    plain = input[at - 1] !== zero && (input[whole] !== zero || isWrittenOut(fraction));
  }
  const code = input[at] ?? 0;
  const exponent = code === 0x65 || code === 0x45;
  // Up to 15 digits a double keeps the value, so that zeros at the end can go: 60.0, 12.50.
  if (!plain && !exponent && input[whole] !== zero && at - whole <= 16) return trimmed(start);
  if (exponent) {
    at++;
    if (input[at] === minus || input[at] === 0x2b) at++;
    digits();
  }
  const length = at - start;
  if (length > limits.json_number_chars_max)
    fail(`a number must have at most ${limits.json_number_chars_max} characters`, start);
  if (!plain || exponent) return rewrittenNumber(start);
  copy(start, at, end);
  end += length;
}

/** Copies a number with decimals, without the zeros at its end. */
function trimmed(start: number): void {
  let until = at;
  while (input[until - 1] === zero) until--;
  if (input[until - 1] === point) until--;
  copy(start, until, end);
  end += until - start;
  changed = true;
}

/**
 * Whether ECMAScript writes zeros out, not an exponent, for a number below 1 with these decimals:
 * down to 0.000001.
 */
const isWrittenOut = (fraction: number): boolean => {
  for (let place = 0; place < 6; place++) if (input[fraction + place] !== zero) return true;
  return false;
};

function digits(): void {
  const bytes = input;
  let read = at;
  for (let code = bytes[read] ?? 0; code >= zero && code <= nine; code = bytes[read] ?? 0) read++;
  if (read === at) fail("expected a digit");
  at = read;
}

function rewrittenNumber(start: number): void {
  // Taking it from the text is much faster, where bytes and characters are the same.
  const token =
    text.length === inputEnd ? text.slice(start, at) : input.toString("latin1", start, at);
  const written = canonicalNumber(token);
  if (written === token) {
    copy(start, at, end);
    end += token.length;
    return;
  }
  changed = true;
  // Only here can the output grow over the input: 1e20 takes 21 digits.
  reserve(written.length);
  end += output.write(written, end, "latin1");
}

/** Refuses the text for what stands at a byte of the input; the caller is told a character. */
function fail(problem: string, byte = at): never {
  const offset = input.toString("utf8", 0, byte).length;
  finish();
  throw invalidArgument(`invalid JSON at character ${offset + 1}: ${problem}`, { offset });
}
