// Opens a data directory: takes the writer's lock, connects, and puts the parts together.
//   dbx.db                  everything that is remembered
//   dbx.db-wal, dbx.db-shm  SQLite's write-ahead log and its index
//   archive.db              bodies and snapshots of archived streams; made with the first of them
//   lock.db                 held by the one process that writes

import type { Database } from "bun:sqlite";
import { SQLiteError } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Change, OtherChange } from "../../model/audit.ts";
import { dataCorrupted, unavailable, type DbxError } from "../../model/error.ts";
import { syncDirectory } from "../documents.ts";
import { createMemoryStorage } from "../memory.ts";
import { archivePathOf, createArchive } from "./archive.ts";
import {
  connectReader,
  connectWriter,
  hasConcurrentCheckpoints,
  pagesPerCheckpoint,
  readOne,
  type Connection,
  type Durability,
} from "./connect.ts";
import { checkDatabase } from "./check.ts";
import { truncateLog } from "./checkpoint.ts";
import { otherNoted } from "./changes.ts";
import { createCore, type BatchSink } from "./core.ts";
import { translate, translated } from "./failure.ts";
import { beginSealing, createKeyring, requireKey } from "./keyring.ts";
import { lockName, takeLock } from "./lock.ts";
import { createFile, createMoves } from "./moves.ts";
import { createReader } from "./reader.ts";
import { createSealingJob } from "./sealing-job.ts";
import { createSealingReader } from "./sealing-reader.ts";
import { createOpener } from "./sealed.ts";
import {
  createCopiedSink,
  createInlineSink,
  createLocalWriter,
  createThreadWriter,
} from "./sinks.ts";
import { mainFormat } from "./migrations.ts";
import { toTrail, type TrailRow } from "./rows.ts";
import { anyArchived, readTrailRow } from "./sql.ts";
import { archiveFormat } from "./sql-archive.ts";
import { note } from "./steps.ts";
import { createSqliteStorage, refuseWrite, type SqliteStorage } from "./storage.ts";

export type { SqliteStorage };

export const databaseName = "dbx.db";

/** `copier`: checkpoints on a thread. `both`: the writing, too. */
export type ThreadUse = "copier" | "both";

/**
 * One core gains nothing by a writing thread. On two, with two commits under way, it made 31,000
 * events/s out of 23,000 (64 callers) and 43,000 out of 32,000 (512 callers).
 */
const writingThreadCoresMin = 2;

export interface OpenOptions {
  readonly directory: string;
  /** `normal` may lose the last commits on a power cut; never their order, never half of one. */
  readonly durability: Durability;
  readonly access: "write" | "read";
  /** Heads kept in memory. */
  readonly heads_max: number;
  /** How long to wait for another process that writes. */
  readonly lock_wait_ms: number;
  /**
   * Whether SQLite may have threads of its own: worth their start-up time in a server only. `true`
   * takes what suits the machine; the names are for tests and benchmarks.
   */
  readonly threads: boolean | ThreadUse;
  /** The data encryption key, 32 bytes; null: nothing is encrypted. */
  readonly dek: Uint8Array | null;
  /**
   * Who opens it, and now: for the audit trail, which is told that the store is put under a key,
   * and when everything older is sealed. Null: neither is told.
   */
  readonly opener: (() => Change) | null;
}

export async function openSqliteStorage(options: OpenOptions): Promise<SqliteStorage> {
  const directory = resolve(options.directory);
  try {
    if (options.access === "read") return openForReading({ directory, dek: options.dek });
    return await openForWriting({ ...options, directory });
  } catch (cause) {
    throw translateOpen(directory, cause);
  }
}

function openForReading({ directory, dek }: Pick<OpenOptions, "directory" | "dek">): SqliteStorage {
  const path = join(directory, databaseName);
  const connection = existsSync(path) ? connectReader(path, mainFormat) : undefined;
  if (connection === undefined) {
    return {
      ...createMemoryStorage({ sealing: "none" }),
      ...{ commit: refuseWrite, createStream: refuseWrite, removeStream: refuseWrite },
      ...{ archiveStream: refuseWrite, restoreStream: refuseWrite, keepSnapshot: refuseWrite },
      ...{ record: refuseWrite },
      failure: Promise.withResolvers<DbxError>().promise,
      settings: {},
    };
  }
  const { database, settings } = connection;
  const { reader, keyring, close } = openReader(path, { database, dek });
  return createSqliteStorage({
    ...{ reader, keyring },
    ...{ core: null, sealing: null },
    settings,
    check: async (limit) =>
      translated("check the database", () => checkDatabase(database, { path, limit })),
    figures: () => ({ ...fileFigures(path), moves_pending: reader.pendingMoves().length }),
    close: async () => close(),
  });
}

/**
 * What all reading needs, of the main file and the archive. Throws `failed_precondition` where the
 * store is encrypted and `dek` is not its key; whenever it throws, the connection is closed.
 */
function openReader(
  path: string,
  { database, dek }: { readonly database: Database; readonly dek: Uint8Array | null },
) {
  try {
    requireKey(database, dek);
    const keyring = createKeyring(database, dek);
    const opener = createOpener(keyring);
    const archive = createArchive(archivePathOf(path), opener);
    // Bodies that should be in an archive that is not there are no surprise for later.
    if (readOne<{ found: number }>(database, anyArchived)?.found === 1) archive.open();
    const reader = createReader(database, archive, opener);
    const close = (): void => {
      reader.close();
      archive.close();
      keyring.close();
      database.close();
    };
    return { reader, keyring, close };
  } catch (error) {
    database.close();
    throw error;
  }
}

async function openForWriting(options: OpenOptions): Promise<SqliteStorage> {
  const { directory, durability, heads_max, lock_wait_ms, dek } = options;
  const path = join(directory, databaseName);
  await createDirectory(directory);
  createFile(join(directory, lockName));
  const release = await takeLock({ directory, lock_wait_ms });
  const threads = threadUse(options.threads);
  let writing: Connection | undefined;
  try {
    if (createFile(path)) await syncDirectory(directory);
    const autocheckpoint = threads === null ? pagesPerCheckpoint : 0;
    const file = { format: mainFormat, durability, autocheckpoint };
    writing = connectWriter(path, { ...file, secure_delete: dek !== null });
    requireKey(writing.database, dek);
    if (dek !== null) putUnderKey(writing.database, { dek, opener: options.opener });
    const reading = connectReader(path, mainFormat);
    if (reading === undefined) throw unavailable(`${path} stays empty after migration`);
    const { reader, keyring, close } = openReader(path, { database: reading.database, dek });
    const sink = await openSink(writing.database, { path, durability, threads, dek });
    const moves = createMoves({ path, dek, threads: threads !== null, read: reader.move });
    const core = createCore({ reader, moves, sink, heads_max });
    core.resume();
    const plain = createSealingReader(reading.database);
    const sealing = createSealingJob({
      ...{ plain, keyring, sink, alter: core.take, background: threads !== null },
      streamIdOf: (key) => reader.head(key)?.stream_id,
      logSize: () => reader.log().frontier.size,
      archive: { seal: () => moves.seal(plain.archived()), useDek: moves.useDek },
      end: async (step) => {
        if (options.opener === null) return core.take(step);
        return core.takeNoted(step, encrypting("all", options.opener()));
      },
    });
    const finish = async (): Promise<void> => {
      // In this order, each whatever became of those before it.
      await using ends = new AsyncDisposableStack();
      ends.defer(release);
      ends.defer(() => writing?.database.close());
      ends.defer(sink.close);
      // What reads of the archive is closed by then, so that its log can go.
      ends.defer(() => closeArchive(path));
      ends.defer(close);
      ends.defer(moves.close);
      ends.defer(sealing.close);
    };
    let finished: Promise<void> | null = null;
    return createSqliteStorage({
      ...{ reader, keyring, core, sealing },
      settings: writing.settings,
      check: sink.check,
      figures: () => ({
        ...{ ...fileFigures(path), heads: core.headsCached(), ...sink.figures() },
        ...{ moves_pending: reader.pendingMoves().length, ...moves.figures() },
        ...sealing.figures(),
      }),
      // Once, however often it is asked: an error on the way out may ask again.
      close: () => (finished ??= finish()),
    });
  } catch (error) {
    writing?.database.close();
    release();
    throw error;
  }
}

/** In one transaction with what the audit trail says to it. */
function putUnderKey(
  database: Database,
  { dek, opener }: { readonly dek: Uint8Array; readonly opener: OpenOptions["opener"] },
): void {
  database.transaction(() => {
    const sealing = beginSealing(database, dek);
    if (sealing === null || opener === null) return;
    const row = readOne<TrailRow>(database, readTrailRow);
    if (row === null) throw dataCorrupted("the row of the audit trail is missing");
    note(database, otherNoted(toTrail(row), encrypting(sealing, opener())).step);
  })();
}

/** `sealing` in the words of the status: whether what is older is still in clear. */
const encrypting = (sealing: "partly" | "all", change: Change): OtherChange => ({
  ...{ ...change, action: "key.encrypt", aggregate: null, subject: null, details: { sealing } },
});

/** Null: no threads. Before SQLite 3.51.3 only one connection may checkpoint. */
function threadUse(asked: boolean | ThreadUse): ThreadUse | null {
  if (asked === false || !hasConcurrentCheckpoints()) return null;
  if (asked !== true) return asked;
  return navigator.hardwareConcurrency < writingThreadCoresMin ? "copier" : "both";
}

async function openSink(
  database: Database,
  {
    threads,
    ...file
  }: Pick<OpenOptions, "durability" | "dek"> & { path: string; threads: ThreadUse | null },
): Promise<BatchSink> {
  if (threads === null) return createInlineSink(database, file);
  if (threads === "copier")
    return await createCopiedSink(createLocalWriter(database, file.dek), file);
  // The writing thread has a connection of its own; this one has brought the file up to date.
  database.close();
  return await createCopiedSink(await createThreadWriter(file), file);
}

function fileFigures(path: string): Record<string, number | string> {
  const archive_path = archivePathOf(path);
  const bytesOf = (name: string): number => statSync(name, { throwIfNoEntry: false })?.size ?? 0;
  return {
    storage: "sqlite",
    database_bytes: bytesOf(path),
    wal_bytes: bytesOf(`${path}-wal`),
    archive_bytes: bytesOf(archive_path) + bytesOf(`${archive_path}-wal`),
  };
}

/**
 * Connections that only read leave the log of archive.db behind. Whoever still reads keeps it, and
 * so does a full disk: what is in it is durable there, too.
 */
function closeArchive(path: string): void {
  const archive_path = archivePathOf(path);
  if (!existsSync(`${archive_path}-wal`)) return;
  try {
    const options = { format: archiveFormat, durability: "full", autocheckpoint: 0 } as const;
    const { database } = connectWriter(archive_path, { ...options, secure_delete: false });
    truncateLog(database);
    database.close();
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
  }
}

/**
 * 0700, because it holds everybody's payloads; an existing directory keeps the mode somebody gave
 * it.
 */
async function createDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) {
    await syncDirectory(dirname(made));
  }
}

function translateOpen(directory: string, cause: unknown): unknown {
  const translatedCause = translate(`open ${directory}`, cause);
  if (translatedCause instanceof SQLiteError) {
    // The statements of the opening are right: a file on which they fail is damaged (its header
    // names a format that SQLite does not know, say).
    const details = { directory, reason: translatedCause.message };
    return dataCorrupted(`cannot open ${directory}: the database file is damaged`, details, {
      cause,
    });
  }
  if (translatedCause instanceof Error && "syscall" in translatedCause) {
    return unavailable(`cannot open ${directory}: ${translatedCause.message}`, {}, { cause });
  }
  return translatedCause;
}
