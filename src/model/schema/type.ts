// The types a column may have, and every way to write one. What values they take is in value.ts.

import { shown, schemaFault } from "./fault.ts";

export type ColumnType =
  | { readonly name: SimpleName }
  | { readonly name: "decimal"; readonly precision: number; readonly scale: number };

type SimpleName =
  "integer" | "float" | "boolean" | "text" | "timestamp" | "date" | "json" | "binary" | "object";

const simple = new Map<string, SimpleName>([
  ["integer", "integer"],
  ["int", "integer"],
  ["float", "float"],
  ["double", "float"],
  ["boolean", "boolean"],
  ["bool", "boolean"],
  ["text", "text"],
  ["string", "text"],
  ["timestamp", "timestamp"],
  ["date", "date"],
  ["json", "json"],
  ["binary", "binary"],
  ["bytes", "binary"],
  ["object", "object"],
]);

/** One word for each, without those that take digits. */
export const simpleNames: readonly string[] = [...new Set(simple.values())];

const words =
  "integer, float, decimal(p,s), boolean, text, timestamp, date, json, binary or object";

/** Digits of a decimal: what fits one byte, as older schemas have it. */
const digits_max = 255;

/**
 * In: the word, in any case and with blanks around it. Throws `invalid_argument` for one that is no
 * type, naming those that are.
 */
export function parseColumnType(text: string, field: string): ColumnType {
  const word = text.trim().toLowerCase();
  const name = simple.get(word);
  if (name !== undefined) return { name };
  const refuse = (why: string) =>
    schemaFault(`invalid column type '${shown(text)}' of field ${field}: ${why}`, { field });
  const digits = /^(?:decimal|numeric)\s*\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)$/.exec(word);
  if (digits === null) throw refuse(`use ${words}`);
  const precision = Number(digits[1]);
  const scale = Number(digits[2]);
  if (precision > digits_max) throw refuse(`a decimal has at most ${digits_max} digits`);
  if (scale > precision) throw refuse("the scale is above the precision");
  return { name: "decimal", precision, scale };
}

/** The one spelling in which types are kept, and in which equal types are equal. */
export const showColumnType = (type: ColumnType): string =>
  type.name === "decimal" ? `decimal(${type.precision},${type.scale})` : type.name;
