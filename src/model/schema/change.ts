// How a schema begins and changes. Every result is compiled before it is given out, so a change
// that makes no sense changes nothing.

import { limits } from "../limits.ts";
import { compileSchema } from "./compile.ts";
import { schemaFault, schemaViolation, shown } from "./fault.ts";
import type { NewSchema, Schema, SchemaChange, SchemaEvent } from "./schema.ts";
import {
  checkName,
  decodeColumns,
  decodeSettings,
  isObject,
  joinPath,
  writeColumns,
  type Settings,
} from "./settings.ts";

/**
 * `snapshot_threshold` is what a schema gets whose input has none. Throws `invalid_argument`
 * (`invalid schema: ...`), as `changeSchema` does.
 */
export function newSchema(
  input: NewSchema,
  defaults: { readonly now: string; readonly snapshot_threshold: number | null },
): Schema {
  const { aggregate, events } = input;
  if (aggregate.trim() === "") throw schemaFault("aggregate name must be provided", { aggregate });
  if (events.length === 0) throw schemaFault("at least one event must be provided", { aggregate });
  const threshold = input.snapshot_threshold;
  return compiled({
    aggregate,
    snapshot_threshold: threshold === undefined ? defaults.snapshot_threshold : threshold,
    locked: false,
    field_locks: [],
    hidden: false,
    hidden_fields: [],
    column_types: {},
    events: changedEvents({ aggregate, events: {} }, { add_events: events }),
    created_at: defaults.now,
    updated_at: defaults.now,
  });
}

/** The schema with everything changed that `change` names, in the order of its members. */
export function changeSchema(
  schema: Schema,
  change: SchemaChange,
  at: { readonly now: string },
): Schema {
  const { snapshot_threshold, locked, hidden, field_lock, hidden_field, columns } = change;
  return compiled({
    aggregate: schema.aggregate,
    snapshot_threshold:
      snapshot_threshold === undefined ? schema.snapshot_threshold : snapshot_threshold,
    locked: locked ?? schema.locked,
    field_locks:
      field_lock === undefined
        ? schema.field_locks
        : switched(schema.field_locks, { field: field_lock.field, on: field_lock.lock }),
    hidden: hidden ?? schema.hidden,
    hidden_fields:
      hidden_field === undefined
        ? schema.hidden_fields
        : switched(schema.hidden_fields, { field: hidden_field.field, on: hidden_field.hidden }),
    column_types:
      columns === undefined ? schema.column_types : changedColumns(schema.column_types, columns),
    events: changedEvents(schema, change),
    created_at: schema.created_at,
    updated_at: at.now,
  });
}

/** Throws `schema_violation` for an unknown event, and for the last one. */
export function removeSchemaEvent(
  schema: Schema,
  event: string,
  at: { readonly now: string },
): Schema {
  const { aggregate, events } = schema;
  const left = Object.entries(events).filter(([name]) => name !== event);
  const details = { aggregate_type: aggregate, event: shown(event) };
  if (!Object.hasOwn(events, event)) {
    const message = `event ${shown(event)} is not defined for aggregate ${aggregate}`;
    throw schemaViolation(message, details);
  }
  if (left.length === 0)
    throw schemaViolation(`aggregate ${aggregate} must define at least one event`, details);
  return compiled({ ...schema, events: Object.fromEntries(left), updated_at: at.now });
}

function compiled(schema: Schema): Schema {
  compileSchema(schema);
  return schema;
}

/** Sorted, and each once. */
export const sortedUnique = (list: Iterable<string>): string[] => [...new Set(list)].sort();

/** What is switched off may have any name: the file may hold some that no command would put there. */
function switched(
  list: readonly string[],
  { field, on }: { field: string; on: boolean },
): string[] {
  if (!on) return list.filter((name) => name !== field);
  if (field.trim() === "") throw schemaFault("field name cannot be empty", { field });
  checkMember(field);
  return sortedUnique([...list, field]);
}

/** A path would be taken for the name of a member that no payload has, and do nothing. */
function checkMember(field: string): void {
  checkName(field, "field");
  if (!field.includes(".")) return;
  throw schemaFault(
    `field ${shown(field)} has a dot: only members at the top level of a payload can be hidden, ` +
      "locked or listed",
    { field: shown(field) },
  );
}

function changedEvents(
  { aggregate, events }: Pick<Schema, "aggregate" | "events">,
  change: Pick<SchemaChange, "add_events" | "add_fields" | "remove_fields" | "event_notes">,
): Record<string, SchemaEvent> {
  const changed = new Map(Object.entries(events));
  const define = (name: string): SchemaEvent => {
    const known = changed.get(name);
    if (known !== undefined) return known;
    checkName(name, "event");
    return { fields: [] };
  };
  for (const name of change.add_events ?? []) changed.set(name, define(name));
  for (const [name, fields] of Object.entries(change.add_fields ?? {})) {
    for (const field of fields) checkMember(field);
    const event = define(name);
    changed.set(name, { ...event, fields: sortedUnique([...event.fields, ...fields]) });
  }
  for (const [name, fields] of Object.entries(change.remove_fields ?? {})) {
    const event = changed.get(name);
    for (const field of fields) if (event?.fields.includes(field) !== true) checkMember(field);
    if (event === undefined) continue;
    const gone = new Set(fields);
    changed.set(name, { ...event, fields: event.fields.filter((field) => !gone.has(field)) });
  }
  for (const [name, notes] of Object.entries(change.event_notes ?? {})) {
    const event = changed.get(name);
    if (event === undefined) {
      const message = `event ${shown(name)} is not defined for aggregate ${aggregate}`;
      throw schemaFault(message, { event: shown(name) });
    }
    changed.set(name, annotated(event, { name, notes }));
  }
  return Object.fromEntries([...changed].sort(([left], [right]) => (left < right ? -1 : 1)));
}

function annotated(event: SchemaEvent, note: { name: string; notes: string | null }): SchemaEvent {
  const { fields } = event;
  const { name, notes } = note;
  if (notes === null) return { fields };
  const most = limits.note_chars_max;
  if ([...notes].length > most) {
    const message = `default note for event ${name} cannot exceed ${most} characters`;
    throw schemaFault(message, { event: name });
  }
  return { fields, notes };
}

/** Parents come before their properties, so one change can make both. */
function changedColumns(
  column_types: Schema["column_types"],
  changes: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  let columns = decodeColumns(column_types, "");
  for (const path of Object.keys(changes).sort())
    columns = withColumn(columns, { parent: "", path: path.split("."), settings: changes[path] });
  return writeColumns(columns);
}

/** The columns of one level, with the one at `path` (relative to `parent`) set or removed. */
function withColumn(
  columns: ReadonlyMap<string, Settings>,
  change: { parent: string; path: readonly string[]; settings: unknown },
): ReadonlyMap<string, Settings> {
  const { parent, path, settings } = change;
  const [name = "", ...rest] = path;
  const field = joinPath(parent, name);
  const known = columns.get(name);
  const others = [...columns].filter(([other]) => other !== name);
  if (rest.length === 0) {
    if (settings === null || settings === undefined) return new Map(others);
    checkName(name, "field");
    return sortedByName([...others, [name, replaced(known, settings, field)]]);
  }
  if (known === undefined) {
    // What is not there needs not be removed.
    if (settings === null || settings === undefined) return columns;
    throw schemaFault(`cannot update rules for undefined field ${shown(field)}`, {
      field: shown(field),
    });
  }
  const properties = withColumn(known.properties, { parent: field, path: rest, settings });
  return sortedByName([...others, [name, { ...known, properties }]]);
}

const sortedByName = (entries: [string, Settings][]): ReadonlyMap<string, Settings> =>
  new Map(entries.sort(([left], [right]) => (left < right ? -1 : 1)));

/** New settings that say nothing of properties keep those there were, if the type can have any. */
function replaced(known: Settings | undefined, json: unknown, field: string): Settings {
  const settings = decodeSettings(json, field);
  const nests = settings.type.name === "object" || settings.type.name === "json";
  const says = isObject(json) && Object.hasOwn(json, "properties");
  return known === undefined || says || !nests
    ? settings
    : { ...settings, properties: known.properties };
}
