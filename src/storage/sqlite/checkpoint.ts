// How the write-ahead log stays small while writing goes on. A copier moves most of it into the
// database at any time; the writer alone can let it start over, and does so when little is left.

import { SQLiteError, type Database } from "bun:sqlite";
import { DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { busyMs, readOne } from "./connect.ts";
import { refusalOf } from "./failure.ts";
import {
  busyTimeout,
  checkpointNothing,
  checkpointPassive,
  checkpointRestart,
  checkpointTruncate,
  readPageSize,
} from "./sql.ts";
import { vacuum } from "./sql-sealing-job.ts";
import type { Step } from "./steps.ts";
import { createWriter, type Batch } from "./writer.ts";

/** What the writer itself copies in one go at most: some milliseconds of standing still. */
const restBytesMax = 2 * 1024 * 1024;
/**
 * Each round leaves what was written during it; a writer that keeps up with the disk never ends.
 */
const copyRoundsMax = 6;
/**
 * How long the writer waits for readers to leave the log before it goes on without starting over.
 */
const restartWaitMs = 50;
/**
 * Beyond this the writer stands still until the log is copied, so that a slow disk bounds the rate
 * and not the log. Only a reader that stays in the log for longer than the wait can let it grow.
 */
const forcedBytes = limits.wal_bytes_max * 0.75;
const forcedWaitMs = 500;
const forcedAgainBytes = limits.wal_bytes_max / 16;

/**
 * In: how long the log is whose readers did not leave it in time. Out: how long it gets before the
 * next try: half as much again, so that a reader of an hour, a backup say, costs the writer some
 * waits and not one with every few megabytes.
 */
export const nextTryAt = (bytes: number): number => bytes + Math.max(forcedAgainBytes, bytes / 2);

/** How long closing waits for readers, who may be a backup that takes minutes. */
const truncateWaitMs = 500;

/** Before each page in the log. */
const frameHeaderBytes = 24;

interface CheckpointRow {
  readonly busy: number;
  readonly log: number;
  readonly checkpointed: number;
}

/** The batch is durable; what came after it is told apart. */
export interface Written {
  /** Of the log afterwards. */
  readonly logBytes: number;
  /** Why the log cannot be kept small any more; null if it can. */
  readonly fault: unknown;
  /** Why the steps were rolled back and nothing was written; null if they were not. */
  readonly refused: Error | null;
}

/** A writer that leaves checkpoints to a copier. */
export interface LogWriter {
  /** Throws only where nothing of the batch is in the database. After a fault, always. */
  write(batch: Batch): Written;
  alter(steps: readonly Step[]): Written;
  /** Copies what is left. `done`: the next write begins the log anew. */
  restart(): { readonly done: boolean; readonly ms: number };
  /** As `compact` of a sink. */
  compact(vacuum: boolean): boolean;
  /** Leaves no log behind, unless a write has failed: then recovery decides, at the next start. */
  close(): void;
}

export function createLogWriter(database: Database, dek: Uint8Array | null): LogWriter {
  const writer = createWriter(database, dek);
  const log = createLog(database);
  let forcedAt = forcedBytes;
  let failure: { readonly cause: unknown } | null = null;

  /** Whatever fails here may have been an fsync, and is not tried again. */
  const noting = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      failure = { cause };
      throw cause;
    }
  };

  const restart = (waitMs: number): boolean => {
    database.run(busyTimeout(waitMs));
    const row = log.checkpoint(checkpointRestart);
    database.run(busyTimeout(busyMs));
    const done = row?.busy === 0;
    if (done) forcedAt = forcedBytes;
    return done;
  };
  /** Out: the bytes of the log. */
  const keepSmall = (): number => {
    const { bytes } = log.size();
    if (bytes > forcedAt && !restart(forcedWaitMs)) forcedAt = nextTryAt(bytes);
    return bytes;
  };
  const written = (work: () => Error | null): Written => {
    if (failure !== null) throw failure.cause;
    const refused = noting(work);
    try {
      return { logBytes: noting(keepSmall), fault: null, refused };
    } catch (fault) {
      return { logBytes: 0, fault, refused };
    }
  };
  return {
    write: (batch) =>
      written(() => {
        writer.write(batch);
        return null;
      }),
    alter: (steps) => written(() => writer.alter(steps)),
    restart: () =>
      noting(() => {
        const start = performance.now();
        const done = restart(restartWaitMs);
        return { done, ms: performance.now() - start };
      }),
    compact: (vacuum) => {
      try {
        return compactDatabase(database, vacuum);
      } catch (cause) {
        if (!(cause instanceof DbxError)) failure = { cause };
        throw cause;
      }
    },
    close: () => {
      writer.close();
      if (failure === null) truncateLog(database);
      log.close();
      database.close();
    },
  };
}

/**
 * As `compact` of a sink. Throws `unavailable` where there is no room for it: nothing has been
 * changed then, and nobody else has to fail for it.
 */
export function compactDatabase(database: Database, withVacuum: boolean): boolean {
  try {
    if (withVacuum) database.run(vacuum);
    const row = readOne<CheckpointRow>(database, checkpointTruncate);
    return row?.busy === 0;
  } catch (cause) {
    throw refusalOf(cause) ?? cause;
  }
}

/**
 * Leaves the files as small as they get. A disk that has no room for it is no failure of what was
 * committed: that is durable in the log, and the next opening copies it.
 */
export function truncateLog(database: Database): void {
  try {
    database.run(busyTimeout(truncateWaitMs));
    readOne(database, checkpointTruncate);
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
  }
}

export interface Copier {
  /** Copies until little is left. */
  copy(): void;
  close(): void;
}

export function createCopier(database: Database): Copier {
  const log = createLog(database);
  return {
    copy: () => {
      for (let round = 0; round < copyRoundsMax; round++) {
        log.checkpoint(checkpointPassive);
        if (log.size().restBytes <= restBytesMax) break;
      }
    },
    close: () => {
      log.close();
      database.close();
    },
  };
}

/** The write-ahead log as SQLite counts it: its file never shrinks while it is in use. */
function createLog(database: Database) {
  const pageBytes = readOne<{ page_size: number }>(database, readPageSize)?.page_size ?? 0;
  const frameBytes = pageBytes + frameHeaderBytes;
  const nothing = database.prepare<CheckpointRow, []>(checkpointNothing);
  return {
    size: (): { bytes: number; restBytes: number } => {
      const { log, checkpointed } = nothing.get() ?? { log: 0, checkpointed: 0 };
      // Minus one: nothing written since the log started over.
      const rest = Math.max(0, log - checkpointed);
      return { bytes: Math.max(0, log) * frameBytes, restBytes: rest * frameBytes };
    },
    checkpoint: (sql: string): CheckpointRow | null => readOne<CheckpointRow>(database, sql),
    close: (): void => nothing.finalize(),
  };
}
