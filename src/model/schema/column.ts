// One column made ready: its type and rules as one function from a value to what is wrong with it.
// Rules that make no sense for the type are refused here, when they are defined.

import type { Canonical } from "../canonical.ts";
import type { Decimal } from "../decimal.ts";
import type { PatternBudget } from "./budget.ts";
import { schemaFault } from "./fault.ts";
import { formatFault } from "./format.ts";
import { compilePatterns } from "./pattern.ts";
import type { Settings } from "./settings.ts";
import type { ColumnType } from "./type.ts";
import * as value from "./value.ts";

export interface Check {
  /** Of a value: what breaks type or rules, as a sentence; null if nothing. */
  readonly fault: (token: Canonical, budget: PatternBudget) => string | null;
  /** Whether two values that the type accepts are the same. */
  readonly same: (left: Canonical, right: Canonical) => boolean;
}

/** Words that follow the field's name; null if the value is right. */
type Rule<Value> = (found: Value, budget: PatternBudget) => string | null;

/** Throws `invalid_argument` with `details.field`, which is the column's dotted path. */
export function compileColumn(settings: Settings, field: string): Check {
  refuseMisplacedRules(settings, field);
  switch (settings.type.name) {
    case "integer":
      return check(value.integers, [int64, ...range(value.integers, settings, field)], field);
    case "float":
      return check(value.floats, range(value.floats, settings, field), field);
    case "decimal": {
      const rules = [digitsOf(settings.type), ...range(value.decimals, settings, field)];
      return check(value.decimals, rules, field);
    }
    case "boolean":
      return check(value.booleans, [], field);
    case "text":
      return check(value.texts, textRules(settings, field), field);
    case "timestamp":
      return check(value.timestamps, range(value.timestamps, settings, field), field);
    case "date":
      return check(value.dates, range(value.dates, settings, field), field);
    case "json":
      return check(value.anything, [], field);
    case "binary":
      return check(value.binaries, length(settings, field, value.bytesOf), field);
    case "object":
      return check(value.objects, [], field);
  }
}

const ordered: readonly string[] = ["integer", "float", "decimal", "timestamp", "date"];
const nesting: readonly string[] = ["object", "json"];

function refuseMisplacedRules(settings: Settings, field: string): void {
  const refuse = (message: string) => schemaFault(`field ${field} ${message}`, { field });
  const { name } = settings.type;
  if (name !== "text") {
    for (const rule of ["contains", "does_not_contain", "regex"] as const) {
      if (settings[rule].length > 0) throw refuse(`does not support ${rule} validation`);
    }
    if (settings.format !== null) throw refuse("does not support format validation");
  }
  if (settings.length !== null && name !== "text" && name !== "binary")
    throw refuse("does not support length validation");
  if (settings.range !== null && !ordered.includes(name))
    throw refuse("does not support range validation");
  if (settings.properties.size > 0 && !nesting.includes(name))
    throw refuse("cannot define nested properties on non-object type");
}

function check<Value>(
  kind: value.Kind<Value>,
  rules: readonly Rule<Value>[],
  field: string,
): Check {
  return {
    fault: (token, budget) => {
      const found = kind.read(token);
      if (found === undefined) return `field ${field} must be ${kind.expected}`;
      for (const rule of rules) {
        const broken = rule(found, budget);
        if (broken !== null) return `field ${field} ${broken}`;
      }
      return null;
    },
    same: (left, right) => {
      const first = kind.read(left);
      const second = kind.read(right);
      return first !== undefined && second !== undefined && kind.same(first, second);
    },
  };
}

const int64: Rule<Decimal> = (found) =>
  value.fitsInt64(found) ? null : "exceeds signed integer range";

/**
 * Only digits that count: neither a zero before the point nor zeros at the end, which a number
 * loses in canonical JSON and which must therefore not matter in a string either.
 */
function digitsOf({ precision, scale }: Extract<ColumnType, { name: "decimal" }>): Rule<Decimal> {
  return ({ digits, exponent }) => {
    const decimals = Math.max(0, digits.length - exponent);
    if (decimals > scale) return `must have at most ${scale} decimal places`;
    return Math.max(0, exponent) + decimals > precision
      ? `must have precision <= ${precision}`
      : null;
  };
}

function textRules(settings: Settings, field: string): Rule<string>[] {
  const { contains, does_not_contain, regex, format } = settings;
  const rules: Rule<string>[] = [];
  for (const part of contains)
    rules.push((text) => (text.includes(part) ? null : `must contain '${part}'`));
  for (const part of does_not_contain)
    rules.push((text) => (text.includes(part) ? `must not contain '${part}'` : null));
  if (regex.length > 0) rules.push(compilePatterns(regex, field).fault);
  if (format !== null) rules.push((text) => formatFault(format, text));
  return [...rules, ...length(settings, field, charactersOf)];
}

/** Unicode scalar values: a pair of surrogates is one. */
function charactersOf(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xd800 && unit < 0xdc00) count--;
  }
  return count;
}

function length(
  settings: Settings,
  field: string,
  measure: (text: string) => number,
): Rule<string>[] {
  if (settings.length === null) return [];
  const { min, max } = settings.length;
  if (min !== null && max !== null && min > max) {
    throw schemaFault(`field ${field} length minimum ${min} is above its maximum ${max}`, {
      field,
    });
  }
  return [
    (text) => {
      const measured = measure(text);
      if (min !== null && measured < min) return `must have length >= ${min}`;
      return max !== null && measured > max ? `must have length <= ${max}` : null;
    },
  ];
}

interface RangeWords {
  /** A bound that the type cannot have. */
  readonly malformed: (side: "minimum" | "maximum", bound: string) => string;
  readonly below: (bound: string) => string;
  readonly above: (bound: string) => string;
}

const limitWords = {
  below: (bound: string) => `must be >= ${bound}`,
  above: (bound: string) => `must be <= ${bound}`,
};
const numberWords = (noun: string): RangeWords => ({
  ...limitWords,
  malformed: (side, bound) => `range ${side} '${bound}' is not a valid ${noun}`,
});
const rangeWords: Readonly<Partial<Record<ColumnType["name"], RangeWords>>> = {
  integer: numberWords("integer"),
  float: numberWords("float"),
  decimal: numberWords("decimal"),
  timestamp: {
    ...limitWords,
    malformed: (_side, bound) => `range boundary '${bound}' is not a valid RFC3339 timestamp`,
  },
  date: {
    below: (bound) => `must be on or after ${bound}`,
    above: (bound) => `must be on or before ${bound}`,
    malformed: (_side, bound) => `range boundary '${bound}' is not a valid date (YYYY-MM-DD)`,
  },
};

function range<Value>(
  kind: value.OrderedKind<Value>,
  settings: Settings,
  field: string,
): Rule<Value>[] {
  const words = rangeWords[settings.type.name];
  if (settings.range === null || words === undefined) return [];
  const refuse = (message: string) => schemaFault(`field ${field} ${message}`, { field });
  const { min, max } = settings.range;
  const bound = (text: string | null, side: "minimum" | "maximum") => {
    if (text === null) return null;
    const parsed = kind.parse(text);
    if (parsed === undefined) throw refuse(words.malformed(side, text));
    return { parsed, shown: kind.show(text) };
  };
  const lower = bound(min, "minimum");
  const upper = bound(max, "maximum");
  if (lower !== null && upper !== null && kind.order(lower.parsed, upper.parsed) > 0)
    throw refuse(`range minimum '${min}' is above its maximum '${max}'`);
  return [
    (found) => {
      if (lower !== null && kind.order(found, lower.parsed) < 0) return words.below(lower.shown);
      if (upper !== null && kind.order(found, upper.parsed) > 0) return words.above(upper.shown);
      return null;
    },
  ];
}
