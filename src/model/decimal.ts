// Exact decimals: what a JSON number token is worth, and the one way it is written. Doubles are
// only ever used to find the shortest spelling, never as the value.

export interface Decimal {
  readonly negative: boolean;
  /** Significant digits, no zero at either end; empty for zero. */
  readonly digits: string;
  /** The value is 0.digits × 10^exponent. */
  readonly exponent: number;
}

/**
 * In: a JSON number token. Out: `0` for zero, ECMAScript's Number::toString where that is the
 * same exact decimal, otherwise the token as it is.
 */
export function canonicalNumber(token: string): string {
  const nearest = Number(token);
  const shortest = String(nearest);
  // Most tokens were written by a program that writes them shortest.
  if (shortest === token) return token;
  // Decimals of up to 15 digits survive the way to a normal double and back.
  const magnitude = Math.abs(nearest);
  if (token.length <= 15 && magnitude > 1e-290 && magnitude < 1e290) return shortest;
  const exact = decimalOf(token);
  if (exact.digits === "") return "0";
  if (!Number.isFinite(nearest) || nearest === 0) return token;
  const rounded = decimalOf(shortest);
  return rounded.digits === exact.digits && rounded.exponent === exact.exponent ? shortest : token;
}

/**
 * The exact value of a JSON number token. Its exponent is Infinity where nobody could tell the
 * difference.
 */
export function decimalOf(token: string): Decimal {
  const negative = token.startsWith("-");
  const [mantissa = "", power = "0"] = (negative ? token.slice(1) : token).toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const all = whole + fraction;
  // Loops, because a pattern for zeros at the end would try at every zero before it.
  let leading = 0;
  while (all.charCodeAt(leading) === zero) leading++;
  let end = all.length;
  while (end > leading && all.charCodeAt(end - 1) === zero) end--;
  const digits = all.slice(leading, end);
  return { negative, digits, exponent: digits === "" ? 0 : whole.length - leading + Number(power) };
}

const zero = 0x30;

/** Negative, zero or positive as `left` is less than, equal to or more than `right`. */
export function compareDecimals(left: Decimal, right: Decimal): number {
  const sign = signOf(left);
  if (sign !== signOf(right)) return sign - signOf(right);
  if (left.exponent !== right.exponent) return left.exponent < right.exponent ? -sign : sign;
  // Digits behind the point, so they sort as text does.
  return left.digits === right.digits ? 0 : left.digits < right.digits ? -sign : sign;
}

const signOf = ({ negative, digits }: Decimal): number => (digits === "" ? 0 : negative ? -1 : 1);
