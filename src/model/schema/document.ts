// The document `schemas.json`: an object of schemas by aggregate type, as EventDBX writes it too.
// What is missing is given its default; what is strange is refused, because a lock with a typing
// error would lock nothing.

import { canonicalize, splitMembers, type Canonical } from "../canonical.ts";
import { dataCorrupted, DbxError } from "../error.ts";
import { parseInstant } from "../instant.ts";
import { didYouMean } from "../nearest.ts";
import { sortedUnique } from "./change.ts";
import { shown } from "./fault.ts";
import type { Schema, SchemaEvent } from "./schema.ts";
import { decodeColumns, isObject, writeColumns } from "./settings.ts";

/**
 * In: the text of the document; a blank one has no schemas. Out: the text of each schema, by name,
 * for `readSchema`. Throws `data_corrupted`.
 */
export function splitSchemas(text: string): readonly (readonly [name: string, text: Canonical])[] {
  if (text.trim() === "") return [];
  const document = canonical(text);
  if (!document.startsWith("{"))
    throw dataCorrupted("schemas.json must be an object of schemas by name");
  return splitMembers(document);
}

/** The document: two spaces, names sorted, members in the order of `Schema`. */
export function writeSchemas(schemas: ReadonlyMap<string, Schema>): string {
  const sorted = [...schemas].sort(([left], [right]) => (left < right ? -1 : 1));
  return `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`;
}

/** Canonical first: it refuses a name that is there twice, of which one would be lost. */
function canonical(text: string): Canonical {
  try {
    return canonicalize(text);
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw dataCorrupted(`schemas.json is no JSON: ${cause.message}`, cause.details, { cause });
  }
}

/** For schemas that do not say when they were made. */
const epoch = "1970-01-01T00:00:00Z";

/**
 * In: one schema of the document. Throws `data_corrupted` with `details.schema` and
 * `details.member` for what is no schema. Whether the rules of its columns make sense is for
 * `compileSchema`.
 */
export function readSchema(schema: string, text: Canonical): Schema {
  const json: unknown = JSON.parse(text);
  if (!isObject(json)) throw strange({ schema, member: "" }, "must be an object");
  const unknown = Object.keys(json).find((member) => !members.includes(member));
  if (unknown !== undefined) {
    const place = { schema, member: shown(unknown) };
    throw strange(place, `is unknown${didYouMean(unknown, members)}`);
  }
  const read = <Value>(member: string, decode: Decode<Value>, missing: Value): Value =>
    Object.hasOwn(json, member) ? decode(json[member], { schema, member }) : missing;
  const created_at = read("created_at", timestamp, epoch);
  const aggregate = read("aggregate", string, schema);
  if (aggregate !== schema)
    throw strange({ schema, member: "aggregate" }, "must be the name it is kept under");
  return {
    aggregate,
    snapshot_threshold: read("snapshot_threshold", threshold, null),
    locked: read("locked", boolean, false),
    field_locks: read("field_locks", strings, []),
    hidden: read("hidden", boolean, false),
    hidden_fields: read("hidden_fields", strings, []),
    column_types: read("column_types", columns, {}),
    events: read("events", events, {}),
    created_at,
    updated_at: read("updated_at", timestamp, created_at),
  };
}

const members = [
  ...["aggregate", "snapshot_threshold", "locked", "field_locks", "hidden", "hidden_fields"],
  ...["column_types", "events", "created_at", "updated_at"],
];

interface Place {
  readonly schema: string;
  readonly member: string;
}
type Decode<Value> = (json: unknown, place: Place) => Value;

function strange({ schema, member }: Place, why: string, options?: ErrorOptions) {
  const what = member === "" ? `schema ${schema}` : `${member} of schema ${schema}`;
  return dataCorrupted(`schemas.json: ${what} ${why}`, { schema, member }, options);
}

const string: Decode<string> = (json, place) => {
  if (typeof json !== "string") throw strange(place, "must be a string");
  return json;
};

const boolean: Decode<boolean> = (json, place) => {
  if (typeof json !== "boolean") throw strange(place, "must be true or false");
  return json;
};

const strings: Decode<string[]> = (json, place) => {
  if (!Array.isArray(json)) throw strange(place, "must be a list of names");
  return sortedUnique(json.map((entry) => string(entry, place)));
};

const threshold: Decode<number | null> = (json, place) => {
  if (json === null) return null;
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0)
    throw strange(place, "must be null or a whole number from 0");
  return json;
};

/** Kept as it is: how many digits it has tells who wrote it. */
const timestamp: Decode<string> = (json, place) => {
  const text = string(json, place);
  try {
    parseInstant(text, { path: "" });
  } catch (cause) {
    throw strange(place, "must be an RFC 3339 timestamp", { cause });
  }
  return text;
};

const columns: Decode<Record<string, unknown>> = (json, place) => {
  try {
    return writeColumns(decodeColumns(json, ""));
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw strange(place, `are wrong: ${cause.message}`, { cause });
  }
};

const events: Decode<Record<string, SchemaEvent>> = (json, place) => {
  if (!isObject(json)) throw strange(place, "must be an object of events by name");
  return Object.fromEntries(
    Object.entries(json).map(([name, event]) => [
      name,
      readEvent(event, { schema: place.schema, member: `events.${name}` }),
    ]),
  );
};

function readEvent(json: unknown, place: Place): SchemaEvent {
  if (!isObject(json)) throw strange(place, "must be an object");
  const { fields, notes, ...others } = json;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw strange(place, `has unknown member ${shown(unknown)}; use fields and notes`);
  const listed = fields === undefined ? [] : strings(fields, place);
  return notes === undefined || notes === null
    ? { fields: listed }
    : { fields: listed, notes: string(notes, place) };
}
