// JSON in and out by schema. Exact members (payload, state) pass through as canonical text, so no
// surface and no client ever rounds a number; everything else is ordinary JavaScript.

import type { TSchema } from "@sinclair/typebox";
import { splitElements, splitMembers, type Canonical } from "../model/canonical.ts";
import { isExactJson } from "../model/kinds.ts";

/**
 * In: canonical text. Out: what the schema describes, unchecked; unknown members are kept for the
 * gate to refuse.
 */
export function fromJson(schema: TSchema | undefined, text: Canonical): unknown {
  if (schema === undefined) return parse(text);
  if (isExactJson(schema)) return text;
  if (holdsExact(schema)) {
    const first = text[0];
    if (first === "{" && isRecord(schema["properties"]))
      return fromObject(schema["properties"], text);
    if (first === "[" && isSchema(schema["items"])) {
      const { items, maxItems } = schema;
      const elements = splitElements(text);
      // One element too many is enough for the gate to refuse them all.
      const most = typeof maxItems === "number" ? maxItems + 1 : elements.length;
      return elements.slice(0, most).map((element) => fromJson(items, element));
    }
  }
  return parse(text);
}

/** A string without escapes, as most are, need not go through the parser. */
const parse = (text: Canonical): unknown =>
  text.startsWith('"') && !text.includes("\\") ? text.slice(1, -1) : JSON.parse(text);

function fromObject(properties: Record<string, unknown>, text: Canonical): unknown {
  const members = splitMembers(text).map(([key, inner]) => {
    const schema = Object.hasOwn(properties, key) ? properties[key] : undefined;
    return [key, fromJson(isSchema(schema) ? schema : undefined, inner)];
  });
  // fromEntries makes `__proto__` an ordinary member.
  return Object.fromEntries(members);
}

/** In: a value the schema describes. Out: JSON text, members in the schema's order. */
export function toJson(schema: TSchema, value: unknown): string {
  return encoderOf(schema)(value);
}

type Encode = (value: unknown) => string;
const encoders = new WeakMap<TSchema, Encode>();

function encoderOf(schema: TSchema): Encode {
  const known = encoders.get(schema);
  if (known !== undefined) return known;
  const encode = makeEncoder(schema);
  encoders.set(schema, encode);
  return encode;
}

function makeEncoder(schema: TSchema): Encode {
  if (isExactJson(schema)) return String;
  if (!holdsExact(schema)) return (value) => JSON.stringify(value) ?? "null";
  const { properties, items } = schema;
  if (isSchema(items)) {
    const encode = encoderOf(items);
    return (value) => (Array.isArray(value) ? `[${value.map(encode).join(",")}]` : "null");
  }
  if (!isRecord(properties)) return (value) => JSON.stringify(value) ?? "null";
  const members = Object.entries(properties).flatMap(([name, inner]) =>
    isSchema(inner) ? [{ name, label: `${JSON.stringify(name)}:`, encode: encoderOf(inner) }] : [],
  );
  return (value) => {
    if (!isRecord(value)) return "null";
    let text = "{";
    for (const { name, label, encode } of members) {
      const inner = value[name];
      if (inner !== undefined) text += `${text.length > 1 ? "," : ""}${label}${encode(inner)}`;
    }
    return `${text}}`;
  };
}

const exactness = new WeakMap<TSchema, boolean>();

/** Whether an exact member lies anywhere within. */
function holdsExact(schema: TSchema): boolean {
  const known = exactness.get(schema);
  if (known !== undefined) return known;
  const { properties, items } = schema;
  const inner = isRecord(properties) ? Object.values(properties) : [items];
  const holds = isExactJson(schema) || inner.some((child) => isSchema(child) && holdsExact(child));
  exactness.set(schema, holds);
  return holds;
}

/** How many levels lie around the exact members of what the schema describes; 0 without any. */
export function levelsAround(schema: TSchema): number {
  if (isExactJson(schema) || !holdsExact(schema)) return 0;
  const { properties, items } = schema;
  const inner = isRecord(properties) ? Object.values(properties) : [items];
  return 1 + Math.max(...inner.map((child) => (isSchema(child) ? levelsAround(child) : 0)));
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isSchema = (value: unknown): value is TSchema => isRecord(value);

/**
 * In: names and values of a path or query, as strings. Out: the same, with integers and booleans
 * where the schema wants them; what does not convert stays a string for the gate to refuse.
 */
export function fromStrings(
  schema: TSchema,
  strings: Iterable<readonly [string, string]>,
): Record<string, unknown> {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {};
  return Object.fromEntries(
    [...strings].map(([name, text]) => {
      const member = Object.hasOwn(properties, name) ? properties[name] : undefined;
      const type = isRecord(member) ? member["type"] : undefined;
      if (type === "integer" && /^(0|-?[1-9]\d{0,15})$/.test(text)) return [name, Number(text)];
      if (type === "boolean" && (text === "true" || text === "false"))
        return [name, text === "true"];
      return [name, text];
    }),
  );
}
