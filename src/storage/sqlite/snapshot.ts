// One moment of a data directory's databases, held by read transactions while others write, and
// copied page by page with SQLite's online backup. What is copied is judged in judge.ts.

import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";
import { dataCorrupted, DbxError, notFound, unavailable } from "../../model/error.ts";
import { busyMs, connectReader, readOne } from "./connect.ts";
import { translated } from "./failure.ts";
import { factsOf, type Facts } from "./judge.ts";
import { mainFormat } from "./migrations.ts";
import { databaseName } from "./open.ts";
import {
  beginReading,
  busyTimeout,
  readDataVersion,
  readFormat,
  readPageCount,
  readPageSize,
} from "./sql.ts";

/** Checkpoints of deliveries must not be ahead of the log, so that theirs is pinned first. */
const deliveriesName = "plugins.db";
const archiveName = "archive.db";
/** Every database of a data directory but the lock, which is of no use elsewhere. */
export const databaseNames: readonly string[] = [databaseName, archiveName, deliveriesName];

/** How often dbx.db and archive.db are pinned anew because somebody committed in between. */
const pinsMax = 1_000;
/** Pages per step of the copy: as many as are copied between two looks of whoever watches. */
const pagesPerStep = 4_096;

export interface PinnedDatabase {
  readonly name: string;
  readonly bytes: number;
  readonly format: number;
}

export interface Snapshot extends Facts, Disposable {
  readonly databases: readonly PinnedDatabase[];
  /** A file of its own, without a log beside it. `copied` is told bytes as they come. */
  copy(name: string, path: string, copied: (bytes: number) => void): Promise<void>;
  /** Lets go of one database, so that its log can start over. */
  release(name: string): void;
}

/**
 * Throws `not_found` where there is no database, `unavailable` where SQLite cannot read it now. The
 * log of each database grows as long as it is pinned.
 */
export function openSnapshot(directory: string): Snapshot {
  requireDatabase(directory);
  const path = join(directory, databaseName);
  const watcher = connectReader(path, mainFormat)?.database;
  if (watcher === undefined) throw nothingThere(directory);
  const pins = new Map<string, Pin>();
  const releaseAll = (): void => {
    for (const pin of pins.values()) pin.close();
    pins.clear();
  };
  try {
    pinTogether(directory, { watcher, pins, releaseAll });
    const facts = pins.get(databaseName)?.facts();
    if (facts === undefined) throw unavailable(`${path} is gone`, { path });
    return {
      ...facts,
      databases: [...pins].map(([name, { bytes, format }]) => ({ name, bytes, format })),
      copy: async (name, to, copied) => pins.get(name)?.copy(to, copied),
      release: (name) => {
        pins.get(name)?.close();
        pins.delete(name);
      },
      [Symbol.dispose]: releaseAll,
    };
  } catch (error) {
    releaseAll();
    throw error;
  } finally {
    watcher.close();
  }
}

/** Throws `not_found` where nobody has made one yet. */
export function requireDatabase(directory: string): void {
  if (!existsSync(join(directory, databaseName))) throw nothingThere(directory);
}

const nothingThere = (directory: string) =>
  notFound(`nothing to back up: no ${databaseName} in ${directory}`, { directory });

/**
 * Bodies and blocks move between dbx.db and archive.db, each being whole in one of them at any
 * moment. So both are pinned with no commit to dbx.db in between; that takes less than the
 * millisecond that a commit takes at least, and is tried again where one came.
 */
function pinTogether(
  directory: string,
  held: {
    readonly watcher: Database;
    readonly pins: Map<string, Pin>;
    readonly releaseAll: () => void;
  },
): void {
  const { watcher, pins, releaseAll } = held;
  const versionNow = (): number =>
    translated(
      "read the database",
      () => readOne<{ data_version: number }>(watcher, readDataVersion)?.data_version ?? 0,
    );
  for (let round = 0; round < pinsMax; round++) {
    releaseAll();
    if (existsSync(join(directory, deliveriesName))) {
      pins.set(deliveriesName, pinDatabase(join(directory, deliveriesName)));
    }
    // Opened before the moment that matters.
    const both = [databaseName, archiveName].filter((name) => existsSync(join(directory, name)));
    const opened = both.map((name) => [name, openPin(join(directory, name))] as const);
    for (const [name, pin] of opened) pins.set(name, pin);
    const before = versionNow();
    for (const [, pin] of opened) pin.begin();
    // Archive.db is made before a mark needs it: where it came only now, nothing stood in it.
    if (versionNow() === before) return;
  }
  throw unavailable(`${directory} is written to without a pause; try again when less is going on`, {
    directory,
    tries: pinsMax,
  });
}

interface Pin {
  readonly bytes: number;
  readonly format: number;
  begin(): void;
  facts(): Facts;
  copy(to: string, copied: (bytes: number) => void): Promise<void>;
  close(): void;
}

function pinDatabase(path: string): Pin {
  const pin = openPin(path);
  pin.begin();
  return pin;
}

function openPin(path: string): Pin {
  const database = worded(path, () => new DatabaseSync(path, { readOnly: true }));
  const numberOf = (sql: string): number =>
    worded(path, () => Number(Object.values(database.prepare(sql).get() ?? {})[0] ?? 0));
  worded(path, () => database.exec(busyTimeout(busyMs)));
  let size = { bytes: 0, format: 0 };
  return {
    get bytes() {
      return size.bytes;
    },
    get format() {
      return size.format;
    },
    begin: () => {
      worded(path, () => database.exec(beginReading));
      const page_bytes = numberOf(readPageSize);
      size = { bytes: numberOf(readPageCount) * page_bytes, format: numberOf(readFormat) };
    },
    facts: () => factsOf((sql) => worded(path, () => database.prepare(sql).get())),
    copy: async (to, copied) => {
      const page_bytes = numberOf(readPageSize);
      let left = numberOf(readPageCount);
      const progress = ({ remainingPages }: { remainingPages: number }): void => {
        copied((left - remainingPages) * page_bytes);
        left = remainingPages;
      };
      try {
        await backup(database, to, { rate: pagesPerStep, progress });
      } catch (cause) {
        throw fault(path, cause);
      }
      copied(left * page_bytes);
    },
    close: () => database.close(),
  };
}

function worded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw fault(path, cause);
  }
}

/** SQLite's numbers for a damaged file and for what is no database. */
const damaged = [11, 26];

function fault(path: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof DbxError) return cause;
  const number = "errcode" in cause ? Number(cause.errcode) : 0;
  const details = { path, reason: cause.message };
  return damaged.includes(number % 256)
    ? dataCorrupted(`cannot copy ${path}: the database file is damaged`, details, { cause })
    : unavailable(`cannot copy ${path}: ${cause.message}`, details, { cause });
}
