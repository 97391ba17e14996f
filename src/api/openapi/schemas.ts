// The schemas of the operation table as OpenAPI shows them. TypeBox is JSON Schema already; what is
// left out here are our own annotations, what is added is what our own kinds mean.

import type { TSchema } from "@sinclair/typebox";
import { isText } from "../../model/kinds.ts";
import { recordExamples } from "./examples.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Schemas {
  /** A reference where the schema has a name, otherwise all of it. */
  readonly show: (schema: TSchema) => JsonSchema;
  /** Every schema with a name that was shown so far. */
  readonly named: Record<string, JsonSchema>;
}

/** Keywords whose values are no schemas, in the order in which they are shown. */
const keywords = [
  ...["type", "description", "const", "minimum", "maximum", "minLength", "maxLength", "pattern"],
  ...["minItems", "maxItems", "required", "additionalProperties", "examples"],
] as const;

export function createSchemas(): Schemas {
  const named: Record<string, JsonSchema> = {};

  function show(schema: TSchema): JsonSchema {
    const { $id } = schema;
    if ($id === undefined) return write(schema);
    if (named[$id] === undefined) {
      const example = recordExamples[$id];
      named[$id] = { ...write(schema), ...(example === undefined ? {} : { examples: [example] }) };
    }
    return { $ref: `#/components/schemas/${$id}` };
  }

  function write(schema: TSchema): JsonSchema {
    const shown: Record<string, unknown> = {};
    for (const keyword of keywords) {
      if (schema[keyword] !== undefined) shown[keyword] = schema[keyword];
    }
    if (schema["type"] === "integer") shown["format"] = "int64";
    if (isText(schema) && schema.name) shown["pattern"] = namePattern;
    const { properties, items, anyOf, patternProperties } = partsOf(schema);
    if (properties !== undefined) shown["properties"] = mapped(properties);
    // An object by names that nobody knows beforehand.
    if (patternProperties !== undefined) {
      const [value] = Object.values(patternProperties);
      if (value !== undefined) shown["additionalProperties"] = show(value);
    }
    if (items !== undefined) shown["items"] = show(items);
    return anyOf === undefined ? shown : { ...shown, ...choices(anyOf) };
  }

  const mapped = (properties: Readonly<Record<string, TSchema>>) =>
    Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, show(inner)]));

  /** A choice of words is an `enum`, which every reader of OpenAPI knows. */
  function choices(options: readonly TSchema[]): JsonSchema {
    const words = options.filter((option) => typeof option["const"] === "string");
    const choice = { type: "string", enum: words.map((option): unknown => option["const"]) };
    if (words.length === options.length) return choice;
    const others = options.filter((option) => !words.includes(option)).map(show);
    return { anyOf: words.length === 0 ? others : [...others, choice] };
  }

  return { show, named };
}

interface Parts {
  readonly properties: Readonly<Record<string, TSchema>> | undefined;
  readonly patternProperties: Readonly<Record<string, TSchema>> | undefined;
  readonly items: TSchema | undefined;
  readonly anyOf: readonly TSchema[] | undefined;
}

/** The keywords whose values are schemas. */
const partsOf = (schema: TSchema): Parts => ({
  properties: schema["properties"],
  patternProperties: schema["patternProperties"],
  items: schema["items"],
  anyOf: schema["anyOf"],
});

/**
 * What `name: true` of a text means: no control character, no blank at either end. Without
 * lookaround, which many dialects lack.
 */
const [inner, end] = ["[^\\x00-\\x1f\\x7f-\\x9f]", "[^\\s\\x00-\\x1f\\x7f-\\x9f]"];
const namePattern = `^${end}(?:${inner}*${end})?$`;
