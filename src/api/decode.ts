// Checks a value against a schema once, at the gate, and says in words what is wrong with it, and
// where.

import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler, type TypeCheck } from "@sinclair/typebox/compiler";
import { ValueErrorType, type ValueError } from "@sinclair/typebox/errors";
import { invalidArgument, tooLarge, type DbxError } from "../model/error.ts";
import { isText, textFault } from "../model/kinds.ts";
import { limits } from "../model/limits.ts";
import { didYouMean } from "../model/nearest.ts";

const compiled = new WeakMap<TSchema, TypeCheck<TSchema>>();

/**
 * The value, now known to fit. Throws `invalid_argument`, or `too_large` for a list with too many
 * entries, with `details.path` (JSON pointer, RFC 6901).
 */
export function decode<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  const check = checkOf(schema);
  if (check.Check(value)) return value as Static<Schema>;
  throw faultOf(check, value);
}

/** Compiled at first use, which takes some milliseconds, and kept. */
function checkOf(schema: TSchema): TypeCheck<TSchema> {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  const check = TypeCompiler.Compile(schema);
  compiled.set(schema, check);
  return check;
}

function faultOf(check: TypeCheck<TSchema>, value: unknown): DbxError {
  const error = clueOf(check.Errors(value));
  if (error === undefined) return invalidArgument("the input does not fit", { path: "" });
  const refuse = error.type === ValueErrorType.ArrayMaxItems ? tooLarge : invalidArgument;
  return refuse(explain(check, error), { path: shorten(error.path) });
}

/**
 * An unknown member is the best clue: the missing one it stands for follows from it. Of a union
 * that has one list or one object the faults within that say more than that there is a choice.
 */
function clueOf(faults: Iterable<ValueError>): ValueError | undefined {
  const errors = [...Iterator.from(faults).take(limits.input_faults_max)];
  const error = errors.find(({ message }) => message === "Unexpected property") ?? errors[0];
  const choices: unknown = error?.schema["anyOf"];
  if (error === undefined || !Array.isArray(choices)) return error;
  const type = Array.isArray(error.value) ? "array" : typeof error.value;
  if ((type !== "array" && type !== "object") || error.value === null) return error;
  const fitting = [...choices.keys()].filter((index) => choices[index]?.["type"] === type);
  const [index = -1] = fitting.length === 1 ? fitting : [];
  return clueOf(error.errors[index] ?? []) ?? error;
}

function explain(check: TypeCheck<TSchema>, error: ValueError): string {
  const { value, path, message } = error;
  const schema = meant(error.schema, value);
  const where = shorten(nameOf(path));
  if (typeof schema["fault"] === "string" && value !== undefined) return schema["fault"];
  if (message === "Unexpected property") {
    const known = memberNames(check.Schema(), path);
    return `unknown member ${where}${didYouMean(path.split("/").at(-1) ?? "", known)}`;
  }
  if (value === undefined) return `${where} is missing`;
  if (schema["type"] === "string" && typeof value !== "string") return `${where} must be a string`;
  if (isText(schema)) return `${where} ${textFault(schema, value) ?? "does not fit"}`;
  const length = typeof value === "string" ? lengthFault(schema, value) : null;
  return `${where} ${length ?? expectation(schema, message)}`;
}

/** A client may name a member with megabytes; nobody wants them back. */
const shorten = (name: string): string =>
  name.length <= limits.name_chars_max ? name : `${name.slice(0, limits.name_chars_max)}…`;

/**
 * Of the choices of a union the only one that takes such values, if there is one: its words say
 * more.
 */
function meant(schema: TSchema, value: unknown): TSchema {
  const choices: unknown = schema["anyOf"];
  if (!Array.isArray(choices)) return schema;
  const type = typeof value;
  const fitting = choices.filter((choice: TSchema) =>
    type === "number" ? choice["type"] === "integer" : choice["type"] === type,
  );
  return fitting.length === 1 ? fitting[0] : schema;
}

/** `/events/3/note` as people write it: `events[3].note`. */
function nameOf(path: string): string {
  if (path === "") return "the input";
  const parts = path
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts
    .map((part, index) => (/^\d+$/.test(part) ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join("");
}

/** The names that the object around `path` may have. */
function memberNames(root: TSchema, path: string): string[] {
  let schema: TSchema | undefined = root;
  for (const part of path.slice(1).split("/").slice(0, -1)) {
    const choices: unknown = schema?.["anyOf"];
    const around: TSchema | undefined = Array.isArray(choices)
      ? choices.find((choice: TSchema) => "items" in choice || "properties" in choice)
      : schema;
    schema = /^\d+$/.test(part) ? around?.["items"] : around?.["properties"]?.[part];
  }
  return Object.keys(schema?.["properties"] ?? {});
}

function lengthFault({ minLength = 0, maxLength }: TSchema, value: string): string | null {
  const { length } = value;
  if (length > maxLength) return `must have at most ${maxLength} characters, but has ${length}`;
  if (length >= minLength) return null;
  return minLength === 1 ? "must not be empty" : `must have at least ${minLength} characters`;
}

function expectation(schema: TSchema, message: string): string {
  const { type, minimum, maximum, minItems, maxItems, anyOf } = schema;
  if (type === "integer") {
    if (minimum !== undefined && maximum === Number.MAX_SAFE_INTEGER)
      return `must be an integer of at least ${minimum}`;
    return minimum === undefined
      ? "must be an integer"
      : `must be an integer from ${minimum} to ${maximum}`;
  }
  if (type === "array") {
    return minItems === undefined
      ? "must be an array"
      : `must be an array of ${minItems} to ${maxItems} entries`;
  }
  if (Array.isArray(anyOf)) {
    const choices = anyOf.map((choice: TSchema) => choice["const"] ?? choice["type"]);
    return `must be one of: ${choices.join(", ")}`;
  }
  const [example] = Array.isArray(schema["examples"]) ? schema["examples"] : [];
  if (example !== undefined) return `must look like ${example}`;
  if (schema["pattern"] !== undefined) return `must match ${schema["pattern"]}`;
  if (typeof type === "string") return `must be ${/^[aeio]/.test(type) ? "an" : "a"} ${type}`;
  return message.charAt(0).toLowerCase() + message.slice(1);
}
