// TypeBox kinds of our own. `Text` counts code points where TypeBox counts UTF-16 units;
// `ExactJson` is a value that stays canonical JSON text, so that no number is ever rounded;
// `Named` looks at every member of an object. All are plain JSON Schema to whoever reads them
// (OpenAPI, GraphQL, help).

import {
  Kind,
  Type,
  TypeRegistry,
  type SchemaOptions,
  type TSchema,
  type TUnsafe,
} from "@sinclair/typebox";
import type { Canonical } from "./canonical.ts";

interface TextOptions {
  readonly description: string;
  readonly examples?: readonly string[];
  /** Bounds in code points. */
  readonly minLength: number;
  readonly maxLength: number;
  /** What it may have in a URL, for what is sent in one: most characters take several there. */
  readonly urlLength?: number;
  /** Refuses control characters and a blank at either end. */
  readonly name: boolean;
}

type TextSchema = TSchema & TextOptions;

const control = /[\u0000-\u001f\u007f-\u009f]/;
const blankEnd = /^\s|\s$/;

TypeRegistry.Set<TextSchema>("Text", (schema, value) => textFault(schema, value) === null);
TypeRegistry.Set("ExactJson", (_schema, value) => typeof value === "string");

/** A string of `minLength` to `maxLength` code points. */
export const Text = (options: TextOptions): TUnsafe<string> =>
  Type.Unsafe<string>({ [Kind]: "Text", type: "string", ...options });

/** Any JSON value, carried as its canonical text. */
export const ExactJson = (description: string): TUnsafe<Canonical> =>
  Type.Unsafe<Canonical>({ [Kind]: "ExactJson", description });

/**
 * An object by names that nobody knows beforehand. TypeBox by itself matches names with a pattern
 * that knows no line ends, and would leave what is named with one unchecked.
 */
export const Named = <Value extends TSchema>(value: Value, options: SchemaOptions = {}) =>
  Type.Record(Type.String({ pattern: "^[\\s\\S]*$" }), value, {
    ...options,
    additionalProperties: false,
  });

export const isExactJson = (schema: TSchema): boolean => schema[Kind] === "ExactJson";
export const isText = (schema: TSchema): schema is TextSchema => schema[Kind] === "Text";

/**
 * What is wrong with `value` as such a text, in words that follow the member's name; null if
 * nothing.
 */
export function textFault(schema: TextSchema, value: unknown): string | null {
  if (typeof value !== "string") return "must be a string";
  if (!value.isWellFormed()) return "must not contain a lone surrogate";
  const { minLength, maxLength, urlLength = Infinity, name } = schema;
  // A code point is one or two UTF-16 units, so most values need no counting.
  const length =
    value.length <= maxLength && value.length >= 2 * minLength ? value.length : [...value].length;
  if (length < minLength)
    return minLength === 1 ? "must not be empty" : `must have at least ${minLength} characters`;
  if (length > maxLength) return `must have at most ${maxLength} characters, but has ${length}`;
  const encoded = urlLength === Infinity ? 0 : inUrl(value).length;
  if (encoded > urlLength)
    return `must have at most ${urlLength} characters percent-encoded, but has ${encoded}`;
  if (name && control.test(value)) return "must not contain control characters";
  if (name && blankEnd.test(value)) return "must not begin or end with a blank";
  return null;
}

/** As a query of a URL carries it. */
const inUrl = (value: string): string => new URLSearchParams([["", value]]).toString().slice(1);
