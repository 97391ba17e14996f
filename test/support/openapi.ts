// The OpenAPI document as tests use it: requests generated from it, answers judged by it. It knows
// nothing of the tables that the document is made of.

import { Ajv2020, type AnySchema, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";

/** The parts of a document that tests follow. */
export interface Document {
  readonly paths: Record<string, Record<string, Described>>;
  readonly components: {
    readonly schemas: Record<string, Schema>;
    readonly responses: Record<string, Response>;
    readonly headers: Record<string, unknown>;
  };
}
export interface Described {
  readonly operationId: string;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters: readonly {
    readonly name: string;
    readonly in: "path" | "query" | "header";
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Record<string, { readonly schema: Schema; readonly example?: unknown }>;
  };
  readonly responses: Record<string, Response>;
}
interface Response {
  readonly $ref?: string;
  readonly headers?: Record<string, unknown>;
  readonly content?: Record<string, { readonly schema: Schema }>;
}
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly items?: Schema;
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly examples?: readonly unknown[];
}

export interface Operation extends Described {
  readonly method: string;
  readonly path: string;
}

export const operationsOf = ({ paths }: Document): Operation[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({
      ...described,
      method: method.toUpperCase(),
      path,
    })),
  );

/** Whether a value fits a schema of the document. */
export function createJudge(document: Document): (schema: Schema) => ValidateFunction {
  const ajv = new Ajv2020({ strict: true, strictTypes: false, formats: { int64: true } });
  ajv.addKeyword("components");
  ajv.addSchema({ $id: "dbx:", components: document.components } as AnySchema);
  const compiled = new Map<string, ValidateFunction>();
  return (schema) => {
    const text = JSON.stringify(schema).replaceAll('"#/', '"dbx:#/');
    const known = compiled.get(text) ?? ajv.compile(JSON.parse(text));
    compiled.set(text, known);
    return known;
  };
}

/** The response of a status, followed to where it is written down. */
export function responseOf(document: Document, { responses }: Described, status: number) {
  const found = responses[status];
  const name = found?.$ref?.split("/").at(-1);
  return name === undefined ? found : document.components.responses[name];
}

/** Values that fit a schema, its examples among them. */
export function fitting(document: Document, schema: Schema): fc.Arbitrary<unknown> {
  const inner = (other: Schema) => fitting(document, other);
  const { $ref, examples, anyOf, type } = schema;
  if ($ref !== undefined) {
    const { examples: _, ...named } =
      document.components.schemas[$ref.split("/").at(-1) ?? ""] ?? {};
    return inner(named);
  }
  if (examples !== undefined) {
    const { examples: _, ...rest } = schema;
    return fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...examples) }, inner(rest));
  }
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (anyOf !== undefined) return fc.oneof(...anyOf.map(inner));
  switch (type) {
    case "integer":
      return fc.oneof(
        { weight: 3, arbitrary: fc.integer({ min: schema.minimum ?? 0, max: 20 }) },
        fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? Number.MAX_SAFE_INTEGER }),
      );
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "string":
      return stringOf(schema);
    case "array":
      return fc.array(inner(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 3 });
    case "object":
      return objectOf(schema, inner);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function stringOf({ pattern, minLength = 0, maxLength = 80 }: Schema): fc.Arbitrary<string> {
  if (pattern === undefined) return fc.string({ minLength, maxLength: Math.min(maxLength, 40) });
  const made = fc.stringMatching(new RegExp(pattern, "u"), { maxLength: Math.min(maxLength, 80) });
  return made.filter((text) => [...text].length >= minLength && text.isWellFormed());
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: Schema,
  inner: (schema: Schema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<object> {
  if (typeof additionalProperties === "object") {
    return fc.dictionary(fc.string({ maxLength: 8 }), inner(additionalProperties), { maxKeys: 3 });
  }
  const members = Object.entries(properties).map(
    ([name, member]) => [name, inner(member)] as const,
  );
  return fc.record(Object.fromEntries(members), { requiredKeys: [...required] });
}

/** A value with one thing changed that may make it wrong. */
export const spoiled = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc
    .tuple(value, fc.nat(), fc.constantFrom("drop", "replace", "add", "whole"), fc.jsonValue())
    .map(([whole, at, how, other]) => {
      if (typeof whole !== "object" || whole === null || Array.isArray(whole)) return other;
      if (how === "whole") return other;
      if (how === "add") return { ...whole, unheard_of: other };
      const names = Object.keys(whole);
      const name = names[at % Math.max(1, names.length)] ?? "";
      const { [name]: _, ...rest } = whole as Record<string, unknown>;
      return how === "drop" ? rest : { ...rest, [name]: other };
    });
