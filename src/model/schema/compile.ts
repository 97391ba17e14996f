// A schema made ready for checking, once for all its events. Everything that can be wrong with it
// is found here, when it is defined, and not at somebody's append.

import type { Canonical } from "../canonical.ts";
import { limits } from "../limits.ts";
import { compileColumn, type Check } from "./column.ts";
import { schemaFault } from "./fault.ts";
import type { Schema } from "./schema.ts";
import { decodeColumns, joinPath, type Settings } from "./settings.ts";
import { showColumnType } from "./type.ts";

export interface CompiledSchema {
  readonly schema: Schema;
  readonly fieldLocks: ReadonlySet<string>;
  /** The members an event must have, and no others; empty for any. */
  readonly events: ReadonlyMap<string, ReadonlySet<string>>;
  /** In the order in which they are checked: sorted by name, each before its properties. */
  readonly columns: readonly Column[];
  readonly matches: readonly Match[];
  /** Characters of all its patterns, which is what compiling them takes. */
  readonly pattern_chars: number;
}

/** Where a member is: the dotted path of the object around it (empty at the root), and its name. */
export interface Place {
  readonly parent: string;
  readonly name: string;
}

export interface Column extends Place {
  readonly path: string;
  readonly required: boolean;
  readonly hasProperties: boolean;
  readonly fault: Check["fault"];
}

/** One column that must have the value of another. */
export interface Match {
  readonly path: string;
  readonly column: Place;
  readonly targetPath: string;
  readonly target: Place;
  readonly same: (left: Canonical, right: Canonical) => boolean;
}

/**
 * Throws `invalid_argument` (`invalid schema: ...`) with what is wrong: `details.field` is the
 * dotted path of a column.
 */
export function compileSchema(schema: Schema): CompiledSchema {
  const { field_locks, hidden_fields, events } = schema;
  const eventEntries = Object.entries(events);
  refuseMany("field locks", field_locks);
  refuseMany("hidden fields", hidden_fields);
  refuseMany("events", eventEntries);
  for (const [name, { fields }] of eventEntries) refuseMany(`fields of event ${name}`, fields);
  const columns = decodeColumns(schema.column_types, "");
  const pattern_chars = patternChars(columns);
  refuseLong(pattern_chars);
  const found = new Map<string, Found>();
  collect(columns, "", found);
  return {
    schema,
    fieldLocks: new Set(field_locks),
    events: new Map(eventEntries.map(([name, { fields }]) => [name, new Set(fields)])),
    columns: [...found.values()].map(({ column }) => column),
    matches: [...found.values()].flatMap((source) => matchOf(source, found)),
    pattern_chars,
  };
}

interface Found {
  readonly column: Column;
  readonly settings: Settings;
  readonly same: Check["same"];
}

function refuseMany(what: string, list: readonly unknown[]): void {
  if (list.length <= limits.schema_entries_max) return;
  throw schemaFault(`at most ${limits.schema_entries_max} ${what}, but there are ${list.length}`, {
    entries: list.length,
  });
}

function patternChars(columns: ReadonlyMap<string, Settings>): number {
  let chars = 0;
  for (const { regex, properties } of columns.values()) {
    for (const pattern of regex) chars += pattern.length;
    chars += patternChars(properties);
  }
  return chars;
}

function refuseLong(pattern_chars: number): void {
  const limit = limits.schema_pattern_chars_max;
  if (pattern_chars <= limit) return;
  throw schemaFault(
    `at most ${limit} characters of patterns in all columns, but there are ${pattern_chars}`,
    { pattern_chars, limit },
  );
}

/** Adds the columns by path, depth first. */
function collect(
  columns: ReadonlyMap<string, Settings>,
  parent: string,
  found: Map<string, Found>,
): void {
  for (const [name, settings] of columns) {
    const path = joinPath(parent, name);
    const { fault, same } = compileColumn(settings, path);
    const { required, properties } = settings;
    const hasProperties = properties.size > 0;
    found.set(path, {
      column: { parent, name, path, required, hasProperties, fault },
      settings,
      same,
    });
    collect(properties, path, found);
  }
}

function matchOf({ column, settings, same }: Found, all: ReadonlyMap<string, Found>): Match[] {
  const targetPath = settings.must_match;
  if (targetPath === null) return [];
  const { path } = column;
  const target = all.get(targetPath);
  const refuse = (why: string) =>
    schemaFault(`field ${path} must match ${targetPath}, but ${why}`, {
      field: path,
      must_match: targetPath,
    });
  if (target === undefined) throw refuse(`${targetPath} is not defined in schema`);
  if (showColumnType(settings.type) !== showColumnType(target.settings.type))
    throw refuse("their types differ");
  return [{ path, column, targetPath, target: target.column, same }];
}
