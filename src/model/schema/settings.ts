// The settings of a column as people write them: a type word, or an object with `type` and rules.
// Here their shape is checked and made one; whether the rules make sense is for compile.ts.

import { isText, textFault } from "../kinds.ts";
import { limits } from "../limits.ts";
import { didYouMean } from "../nearest.ts";
import { AggregateType } from "../stream.ts";
import { schemaFault, shown } from "./fault.ts";
import { formats, isFormat, type Format } from "./format.ts";
import { parseColumnType, showColumnType, type ColumnType } from "./type.ts";

export interface Bounds<Bound> {
  readonly min: Bound | null;
  readonly max: Bound | null;
}

export interface Settings {
  readonly type: ColumnType;
  readonly required: boolean;
  readonly contains: readonly string[];
  readonly does_not_contain: readonly string[];
  /** Dotted path from the root of the payload. */
  readonly must_match: string | null;
  readonly regex: readonly string[];
  readonly length: Bounds<number> | null;
  /** As written: what they are worth depends on the type. */
  readonly range: Bounds<string> | null;
  readonly format: Format | null;
  /** Sorted by name. */
  readonly properties: ReadonlyMap<string, Settings>;
}

/** In the order in which they are written. */
const members = [
  ...["type", "required", "contains", "does_not_contain", "must_match", "regex", "length"],
  ...["range", "format", "properties"],
];

/** What comes from JSON and is neither a scalar nor a list. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * In: JSON. Out: the same settings however they were written. Throws `invalid_argument` with
 * `details.field` for what is no settings. Null counts as not set.
 */
export function decodeSettings(json: unknown, field: string): Settings {
  const written: unknown = typeof json === "string" ? { type: json } : json;
  if (!isObject(written))
    throw fault(field, "needs a type such as integer, or an object with type and rules");
  for (const name of Object.keys(written)) {
    if (members.includes(name)) continue;
    throw fault(field, `has unknown member '${shown(name)}'${didYouMean(name, members)}`);
  }
  const read = <Value>(name: string, decode: (value: unknown) => Value, missing: Value): Value => {
    const value = Object.hasOwn(written, name) ? written[name] : null;
    return value === null || value === undefined ? missing : decode(value);
  };
  const strings = (name: string) => read(name, (value) => stringsOf(value, field, name), []);
  const type = read("type", (value) => stringOf(value, field, "type"), null);
  if (type === null) throw fault(field, "has no type");
  return {
    type: parseColumnType(type, field),
    required: read("required", (value) => booleanOf(value, field), false),
    contains: strings("contains"),
    does_not_contain: strings("does_not_contain"),
    must_match: read("must_match", (value) => stringOf(value, field, "must_match"), null),
    regex: strings("regex"),
    length: read("length", (value) => boundsOf(value, field, "length", lengthOf), null),
    range: read("range", (value) => boundsOf(value, field, "range", rangeOf), null),
    format: read("format", (value) => formatOf(value, field), null),
    properties: read("properties", (value) => decodeColumns(value, field), none),
  };
}

const none: ReadonlyMap<string, Settings> = new Map();

/** In: an object of settings by name; `parent` is the path of the column that has them. */
export function decodeColumns(json: unknown, parent: string): ReadonlyMap<string, Settings> {
  if (!isObject(json)) throw fault(parent, "must have its properties by name");
  const entries = Object.entries(json);
  const where = parent === "" ? "" : ` of field ${parent}`;
  if (entries.length > limits.schema_entries_max) {
    const most = limits.schema_entries_max;
    throw schemaFault(`at most ${most} columns${where}, but there are ${entries.length}`, {
      columns: entries.length,
    });
  }
  if (parent.split(".").length >= limits.schema_depth_max && entries.length > 0)
    throw fault(
      shown(parent),
      `cannot have properties: ${limits.schema_depth_max} levels are most`,
    );
  return new Map(
    entries
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, settings]) => {
        checkName(name, "field");
        if (name.includes("."))
          throw fault(name, "must not have a dot in its name: it leads to a property");
        return [name, decodeSettings(settings, joinPath(parent, name))];
      }),
  );
}

export const joinPath = (parent: string, name: string): string =>
  parent === "" ? name : `${parent}.${name}`;

/** Throws `invalid_argument` for what cannot be the name of an event or a field. */
export function checkName(name: string, noun: "event" | "field"): void {
  if (name.trim() === "") {
    const blank = noun === "event" ? "event names cannot be empty" : "field names cannot be empty";
    throw schemaFault(blank, { [noun]: name });
  }
  const wrong = isText(AggregateType) ? textFault(AggregateType, name) : null;
  if (wrong !== null)
    throw schemaFault(`${noun} name ${shown(name)} ${wrong}`, { [noun]: shown(name) });
}

/** The one form in which settings are kept: the type word where there is no rule. */
function writeSettings(settings: Settings): unknown {
  const { must_match, length, range, format, properties } = settings;
  const type = showColumnType(settings.type);
  const rules = {
    ...(settings.required ? { required: true } : {}),
    ...(settings.contains.length > 0 ? { contains: settings.contains } : {}),
    ...(settings.does_not_contain.length > 0
      ? { does_not_contain: settings.does_not_contain }
      : {}),
    ...(must_match === null ? {} : { must_match }),
    ...(settings.regex.length > 0 ? { regex: settings.regex } : {}),
    ...(length === null ? {} : { length }),
    ...(range === null ? {} : { range }),
    ...(format === null ? {} : { format }),
    ...(properties.size > 0 ? { properties: writeColumns(properties) } : {}),
  };
  return Object.keys(rules).length === 0 ? type : { type, ...rules };
}

export const writeColumns = (columns: ReadonlyMap<string, Settings>): Record<string, unknown> =>
  Object.fromEntries([...columns].map(([name, settings]) => [name, writeSettings(settings)]));

const fault = (field: string, message: string) =>
  schemaFault(`field ${field} ${message}`, { field });

const tooLong = (field: string, what: string) =>
  fault(field, `${what} must have at most ${limits.pattern_chars_max} characters`);

function stringOf(value: unknown, field: string, member: string): string {
  if (typeof value !== "string") throw fault(field, `${member} must be a string`);
  if (value.length > limits.pattern_chars_max) throw tooLong(field, member);
  return value;
}

function stringsOf(value: unknown, field: string, member: string): readonly string[] {
  const list = Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
  if (!Array.isArray(value) || list.length < value.length)
    throw fault(field, `${member} must be a list of strings`);
  if (list.length > limits.schema_entries_max)
    throw fault(field, `${member} must have at most ${limits.schema_entries_max} entries`);
  if (list.some((entry) => entry.length > limits.pattern_chars_max))
    throw tooLong(field, `each of ${member}`);
  return list;
}

function booleanOf(value: unknown, field: string): boolean {
  if (typeof value !== "boolean") throw fault(field, "required must be true or false");
  return value;
}

function boundsOf<Bound>(
  value: unknown,
  field: string,
  member: string,
  decode: (bound: unknown, field: string, side: string) => Bound,
): Bounds<Bound> | null {
  if (!isObject(value)) throw fault(field, `${member} must be an object with min and max`);
  const strange = Object.keys(value).find((name) => name !== "min" && name !== "max");
  if (strange !== undefined)
    throw fault(field, `${member} has unknown member '${shown(strange)}'; use min and max`);
  const { min, max } = value;
  if ((min ?? null) === null && (max ?? null) === null) return null;
  return {
    min: (min ?? null) === null ? null : decode(min, field, `${member} minimum`),
    max: (max ?? null) === null ? null : decode(max, field, `${member} maximum`),
  };
}

function lengthOf(bound: unknown, field: string, side: string): number {
  if (typeof bound !== "number" || !Number.isSafeInteger(bound) || bound < 0)
    throw fault(field, `${side} must be a whole number from 0`);
  return bound;
}

/** A JSON number would have been rounded on its way here. */
function rangeOf(bound: unknown, field: string, side: string): string {
  if (typeof bound !== "string") throw fault(field, `${side} must be a string, such as "10"`);
  if (bound.length > limits.pattern_chars_max) throw tooLong(field, side);
  return bound;
}

function formatOf(value: unknown, field: string): Format {
  if (isFormat(value)) return value;
  const given = typeof value === "string" ? ` '${shown(value)}'` : "";
  throw fault(field, `has unknown format${given}; use ${formats.join(", ")}`);
}
