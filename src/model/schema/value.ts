// What a canonical JSON value is worth as a column of some type. Nothing is rounded: integers and
// decimals are compared as the exact decimals they are written as, only `float` is a double.

import type { Canonical } from "../canonical.ts";
import { compareDecimals, decimalOf, type Decimal } from "../decimal.ts";
import { DbxError } from "../error.ts";
import { parseInstant } from "../instant.ts";
import { limits } from "../limits.ts";

/** A type's values. They are compared with `same`, and ordered if there is an `order`. */
export interface Kind<Value> {
  /** Follows `field F must be`. */
  readonly expected: string;
  readonly read: (token: Canonical) => Value | undefined;
  readonly same: (left: Value, right: Value) => boolean;
}

export interface OrderedKind<Value> extends Kind<Value> {
  readonly order: (left: Value, right: Value) => number;
  /** A bound as somebody wrote it. */
  readonly parse: (text: string) => Value | undefined;
  /** A bound as messages show it. */
  readonly show: (text: string) => string;
}

const identical = <Value>(left: Value, right: Value): boolean => left === right;
const compareTexts = (left: string, right: string): number =>
  left < right ? -1 : left > right ? 1 : 0;

export const integers: OrderedKind<Decimal> = {
  expected: "an integer",
  read: (token) => whole(decimalIn(token, parseInteger)),
  same: (left, right) => compareDecimals(left, right) === 0,
  order: compareDecimals,
  parse: (text) => {
    const bound = parseInteger(text);
    return bound !== undefined && fitsInt64(bound) ? bound : undefined;
  },
  show: (text) => String(BigInt(text.trim().replace(/^\+/, ""))),
};

const least = decimalOf("-9223372036854775808");
const most = decimalOf("9223372036854775807");
export const fitsInt64 = (integer: Decimal): boolean =>
  compareDecimals(integer, least) >= 0 && compareDecimals(integer, most) <= 0;

export const decimals: OrderedKind<Decimal> = {
  expected: "a decimal value",
  read: (token) => decimalIn(token, parseDecimal),
  same: (left, right) => compareDecimals(left, right) === 0,
  order: compareDecimals,
  parse: (text) => parseDecimal(text),
  show: (text) => text.trim().replace(/^\+/, "").replaceAll("_", ""),
};

export const floats: OrderedKind<number> = {
  expected: "a float",
  read: (token) => {
    const text = stringIn(token);
    if (text !== undefined) return parseFloat(text);
    return isNumber(token) ? finite(Number(token)) : undefined;
  },
  same: identical,
  order: (left, right) => left - right,
  parse: (text) => parseFloat(text),
  show: (text) => String(Number(text)),
};

export const timestamps: OrderedKind<string> = {
  expected: "an RFC3339 timestamp",
  read: (token) => parseTimestamp(stringIn(token)),
  same: identical,
  order: compareTexts,
  parse: (text) => parseTimestamp(text),
  show: (text) => text,
};

export const dates: OrderedKind<string> = {
  expected: "a date formatted as YYYY-MM-DD",
  read: (token) => parseDate(stringIn(token)),
  same: identical,
  order: compareTexts,
  parse: (text) => parseDate(text),
  show: (text) => text,
};

export const booleans: Kind<boolean> = {
  expected: "a boolean",
  read: (token) => truth.get(token) ?? truth.get(stringIn(token)?.trim().toLowerCase() ?? ""),
  same: identical,
};
const truth = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

export const texts: Kind<string> = {
  expected: "a string",
  read: stringIn,
  same: identical,
};

/** As base64: it has one form for each sequence of bytes. */
export const binaries: Kind<string> = {
  expected: "base64 encoded",
  read: (token) => {
    const text = stringIn(token);
    if (text === undefined || text.length % 4 !== 0) return undefined;
    return base64.test(text) ? text : undefined;
  },
  same: identical,
};

export const objects: Kind<Canonical> = {
  expected: "a JSON object",
  read: (token) => (token.startsWith("{") ? token : undefined),
  same: identical,
};

export const anything: Kind<Canonical> = {
  expected: "JSON",
  read: (token) => token,
  same: identical,
};

/** RFC 4648 section 4, padded; the bits that the padding leaves over are zero. */
const base64 = /^[A-Za-z0-9+/]*(?:[AEIMQUYcgkosw048]=|[AQgw]==)?$/;

export const bytesOf = (text: string): number =>
  (text.length / 4) * 3 - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0);

function stringIn(token: string): string | undefined {
  if (!token.startsWith('"')) return undefined;
  return token.includes("\\") ? String(JSON.parse(token)) : token.slice(1, -1);
}

const isNumber = (token: string): boolean => /^[-0-9]/.test(token);

/** A number, or a string that a parser takes for one. */
function decimalIn(
  token: Canonical,
  parse: (text: string) => Decimal | undefined,
): Decimal | undefined {
  const text = stringIn(token);
  if (text !== undefined) return parse(text);
  return isNumber(token) ? decimalOf(token) : undefined;
}

const whole = (value: Decimal | undefined): Decimal | undefined =>
  value !== undefined && value.exponent >= value.digits.length ? value : undefined;

/** Strings of digits are bounded like number tokens: what is done to them is not linear. */
const matching = (form: RegExp, text: string): string | undefined => {
  if (text.length > limits.json_number_chars_max) return undefined;
  const trimmed = text.trim();
  return form.test(trimmed) ? trimmed.replace(/^\+/, "") : undefined;
};

function parseInteger(text: string): Decimal | undefined {
  const digits = matching(/^[+-]?\d+$/, text);
  return digits === undefined ? undefined : decimalOf(digits);
}

/** Without exponent; `_` may stand between digits. */
function parseDecimal(text: string): Decimal | undefined {
  const form = /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)$/;
  const digits = matching(form, text);
  return digits === undefined ? undefined : decimalOf(digits.replaceAll("_", ""));
}

function parseFloat(text: string): number | undefined {
  const digits = matching(/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/, text);
  return digits === undefined ? undefined : finite(Number(digits));
}

const finite = (double: number): number | undefined =>
  Number.isFinite(double) ? double : undefined;

/** UTC text with the whole fraction, which sorts as it reads. */
function parseTimestamp(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    const second = parseInstant(text, { path: "" }).slice(0, 19);
    return `${second}.${/\.(\d*[1-9])/.exec(text)?.[1] ?? ""}`;
  } catch (error) {
    if (error instanceof DbxError) return undefined;
    throw error;
  }
}

/** Days that the calendar has. */
function parseDate(text: string | undefined): string | undefined {
  if (text === undefined || !/^\d{4}-\d{2}-\d{2}$/.test(text)) return undefined;
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text) ? text : undefined;
}
