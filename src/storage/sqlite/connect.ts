// Connections to the main file: pragmas set, read back and compared, the file's format checked and
// brought up to date. A setting that silently did not take would be a durability promise nobody
// keeps.

import { Database } from "bun:sqlite";
import { dataCorrupted, failedPrecondition, unavailable } from "../../model/error.ts";
import {
  begin,
  busyTimeout,
  commit,
  countTables,
  readApplicationId,
  readFormat,
  readSchema,
  rollback,
  sqliteVersion,
  writeFormat,
} from "./sql.ts";

/** What a file is and how it is made. */
export interface Format {
  readonly application_id: number;
  /** One list of statements per format, from 1 on. */
  readonly migrations: readonly (readonly string[])[];
  readonly page_bytes: number;
  /** Of each connection. */
  readonly cache_kib: number;
}

export type Durability = "full" | "normal";

/** STRICT tables (3.37) and JSON always there (3.38); everything else we use is older. */
const versionMin = "3.38.0";
/**
 * Before this, a checkpoint on one connection could lose a commit on another (the WAL-reset bug).
 */
const versionConcurrentCheckpoints = "3.51.3";

/** How long a statement waits for a foreign program (a backup, a shell) that holds the database. */
export const busyMs = 5_000;
/** The log file shrinks to this after a burst. */
const journalBytesMax = 64 * 1024 * 1024;

type Pragma = readonly [name: string, value: string | number];

const commonPragmas = ({ cache_kib }: Format): readonly Pragma[] => [
  ["busy_timeout", busyMs],
  ["trusted_schema", 0],
  ["cell_size_check", 1],
  ["cache_size", -cache_kib],
  ["temp_store", 2],
];

const writerPragmas = ({
  durability,
  autocheckpoint,
  secure_delete,
}: WriterOptions): readonly Pragma[] => [
  ["journal_mode", "wal"],
  ["synchronous", durability === "full" ? 2 : 1],
  ["fullfsync", process.platform === "darwin" ? 1 : 0],
  ["checkpoint_fullfsync", process.platform === "darwin" ? 1 : 0],
  ["recursive_triggers", 1],
  ["foreign_keys", 0],
  ["secure_delete", Number(secure_delete)],
  ["wal_autocheckpoint", autocheckpoint],
  ["journal_size_limit", journalBytesMax],
];

export interface Connection {
  readonly database: Database;
  /** Every pragma as read back, for the start log. */
  readonly settings: Record<string, string | number>;
}

/**
 * Copied by the writer itself at a commit that finds so many pages in the log: where no thread does
 * it, and the one safe way before SQLite 3.51.3.
 */
export const pagesPerCheckpoint = 16_384;

export interface WriterOptions {
  readonly format: Format;
  readonly durability: Durability;
  /** In pages; 0 where threads.ts decides. */
  readonly autocheckpoint: number;
  /** Overwrites what is deleted: where keys and what was in clear must not stay in free space. */
  readonly secure_delete: boolean;
}

export function connectWriter(path: string, options: WriterOptions): Connection {
  const { format } = options;
  const database = new Database(path, { readwrite: true, create: false });
  try {
    requireVersion(libraryVersion());
    // Before the first look: after a crash somebody else (a backup, a command that reads) may be
    // recovering the log at this moment.
    database.run(busyTimeout(busyMs));
    // Takes effect only while the file is empty.
    database.run(`PRAGMA page_size = ${format.page_bytes}`);
    requireOurs(database, path, format);
    const settings = setPragmas(database, [...commonPragmas(format), ...writerPragmas(options)]);
    migrate(database, path, format.migrations);
    return { database, settings };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Undefined: there is a file, but nothing was ever committed to it. */
export function connectReader(path: string, format: Format): Connection | undefined {
  const database = new Database(path, { readonly: true });
  try {
    requireVersion(libraryVersion());
    const settings = setPragmas(database, commonPragmas(format));
    requireOurs(database, path, format);
    const applied = formatOf(database);
    const known = format.migrations.length;
    if (applied === known) {
      requireSchema(database, path, format);
      return { database, settings };
    }
    if (applied > 0) {
      throw failedPrecondition(
        `${path} is of format ${applied}; start dbx once to bring it to ${known}`,
        { path, format: applied },
      );
    }
    database.close();
    return undefined;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Whether SQLite is new enough for a checkpoint on a connection of its own. */
export const hasConcurrentCheckpoints = (): boolean =>
  Bun.semver.order(libraryVersion(), versionConcurrentCheckpoints) >= 0;

let version: string | undefined;
function libraryVersion(): string {
  if (version === undefined) {
    const database = new Database(":memory:");
    version = readOne<{ version: string }>(database, sqliteVersion)?.version ?? "0.0.0";
    database.close();
  }
  return version;
}

/** Bun brings a SQLite of its own, but on macOS it uses the system's, which may be any. */
export function requireVersion(found: string): void {
  if (Bun.semver.order(found, versionMin) >= 0) return;
  const remedy = "on macOS it comes with the system: update that to macOS 13 or later";
  throw unavailable(`SQLite ${found} is too old; dbx needs ${versionMin} or later; ${remedy}`, {
    ...{ sqlite: found, needed: versionMin },
  });
}

function setPragmas(
  database: Database,
  pragmas: readonly Pragma[],
): Record<string, string | number> {
  const settings: Record<string, string | number> = { sqlite: libraryVersion() };
  for (const [name, value] of pragmas) {
    database.run(`PRAGMA ${name} = ${value}`);
    const actual = readPragma(database, name);
    if (actual !== value) {
      throw unavailable(`SQLite does not take ${name} = ${value}: it stays at ${actual}`, {
        pragma: name,
        wanted: value,
        actual,
      });
    }
    settings[name] = actual;
  }
  return settings;
}

function readPragma(database: Database, name: string): string | number {
  const row = readOne<Record<string, string | number>>(database, `PRAGMA ${name}`);
  const value = row === null ? undefined : Object.values(row)[0];
  if (value === undefined) throw unavailable(`SQLite does not know the setting ${name}`);
  return value;
}

function requireOurs(database: Database, path: string, expected: Format): void {
  const id = readOne<{ application_id: number }>(database, readApplicationId);
  const tables = readOne<{ count: number }>(database, countTables);
  const isNew = tables?.count === 0 && formatOf(database) === 0;
  if (!isNew && id?.application_id !== expected.application_id) {
    throw dataCorrupted(`${path} is not a dbx database`, { path });
  }
  const format = formatOf(database);
  const known = expected.migrations.length;
  if (format > known) {
    throw failedPrecondition(
      `${path} is of format ${format}, written by a newer dbx; this one knows ${known}`,
      { path, format, known },
    );
  }
}

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly sql: string | null;
}

/**
 * Tables, indexes and triggers are as the migrations make them: a missing trigger would let others
 * change events, and a damaged one would fail at the first append.
 */
function requireSchema(database: Database, path: string, format: Format): void {
  const rows = schemaOf(database);
  const made = schemasMade.get(format) ?? freshSchema(format);
  schemasMade.set(format, made);
  const show = ({ type, name, sql }: SchemaRow) => `${type} ${name} ${sql ?? ""}`;
  const there = new Set(rows.map(show));
  const wrong =
    made.find((row) => !there.has(show(row))) ??
    rows.find((row) => !made.some((other) => show(other) === show(row)));
  if (wrong === undefined) return;
  throw dataCorrupted(`${path}: the ${wrong.type} ${wrong.name} is not as dbx made it`, { path });
}

const schemaOf = (database: Database): SchemaRow[] => {
  using statement = database.prepare<SchemaRow, []>(readSchema);
  return statement.all();
};

const schemasMade = new Map<Format, SchemaRow[]>();
function freshSchema({ migrations }: Format): SchemaRow[] {
  using database = new Database(":memory:");
  for (const statement of migrations.flat()) database.run(statement);
  return schemaOf(database);
}

/**
 * The first row of a statement used once. Finalized at once: an open statement keeps the file open.
 */
export function readOne<Row>(database: Database, sql: string): Row | null {
  using statement = database.prepare<Row, []>(sql);
  return statement.get();
}

export const formatOf = (database: Database): number =>
  readOne<{ user_version: number }>(database, readFormat)?.user_version ?? 0;

/** Each format in one transaction with its number: a crash leaves the old format or the new one. */
function migrate(database: Database, path: string, migrations: Format["migrations"]): void {
  for (const [index, statements] of migrations.entries()) {
    const format = index + 1;
    if (format <= formatOf(database)) continue;
    database.run(begin);
    try {
      for (const statement of statements) database.run(statement);
      database.run(writeFormat(format));
      database.run(commit);
    } catch (error) {
      if (database.inTransaction) database.run(rollback);
      throw error;
    }
  }
  const format = formatOf(database);
  if (format !== migrations.length) {
    throw unavailable(`${path} stays at format ${format} after migration`, { path, format });
  }
}
