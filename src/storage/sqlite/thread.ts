// The two threads of a server's storage, started by threads.ts. The writing one executes planned
// batches, so that the main thread answers and plans meanwhile; the other copies the write-ahead
// log into the database while writing goes on. The writer alone lets the log start over, when
// little of it is left to copy.

import type { Database } from "bun:sqlite";
import { DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { busyMs, connectWriter, readOne, type Durability } from "./connect.ts";
import { translate } from "./failure.ts";
import {
  busyTimeout,
  checkpointNothing,
  checkpointPassive,
  checkpointRestart,
  checkpointTruncate,
  readPageSize,
} from "./sql.ts";
import { unpack, type Packed } from "./transfer.ts";
import { createWriter } from "./writer.ts";

export type Request =
  | {
      readonly kind: "open";
      readonly role: "writer" | "copier";
      readonly path: string;
      readonly durability: Durability;
    }
  | { readonly kind: "write"; readonly packed: Packed }
  /** To the copier: copy what is there. */
  | { readonly kind: "copy" }
  /** To the writer: most is copied; finish it and start over. */
  | { readonly kind: "restart" }
  | { readonly kind: "close" };

export type Reply =
  | { readonly kind: "opened" | "closed" | "copied" }
  | { readonly kind: "written"; readonly logBytes: number }
  | { readonly kind: "restarted"; readonly done: boolean; readonly ms: number }
  | { readonly kind: "failed"; readonly error: WireError };

/** Classes do not survive the way between threads. */
export interface WireError {
  /** Null: no expected error, but a mistake of ours. */
  readonly code: DbxError["code"] | null;
  readonly message: string;
  readonly details: Record<string, unknown>;
}

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
/** Beyond this the writer stands still until the log is copied: the bound that always holds. */
const forcedBytes = limits.wal_bytes_max * 0.75;

/** Before each page in the log. */
const frameHeaderBytes = 24;

interface CheckpointRow {
  readonly busy: number;
  readonly log: number;
  readonly checkpointed: number;
}

type Handler = (request: Request) => Reply;

function createWriting(database: Database): Handler {
  const writer = createWriter(database);
  const log = createLog(database);
  return (request) => {
    switch (request.kind) {
      case "write": {
        writer.write(unpack(request.packed));
        if (log.size().bytes > forcedBytes) log.checkpoint(checkpointRestart);
        return { kind: "written", logBytes: log.size().bytes };
      }
      case "restart": {
        const start = performance.now();
        database.run(busyTimeout(restartWaitMs));
        const row = log.checkpoint(checkpointRestart);
        database.run(busyTimeout(busyMs));
        return { kind: "restarted", done: row?.busy === 0, ms: performance.now() - start };
      }
      default: {
        writer.close();
        log.checkpoint(checkpointTruncate);
        log.close();
        database.close();
        return { kind: "closed" };
      }
    }
  };
}

function createCopying(database: Database): Handler {
  const log = createLog(database);
  return (request) => {
    if (request.kind === "copy") {
      for (let round = 0; round < copyRoundsMax; round++) {
        log.checkpoint(checkpointPassive);
        if (log.size().restBytes <= restBytesMax) break;
      }
      return { kind: "copied" };
    }
    log.close();
    database.close();
    return { kind: "closed" };
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

function toWire(error: unknown): WireError {
  const translated = translate("write", error);
  if (translated instanceof DbxError) {
    const { code, message, details } = translated;
    return { code, message, details };
  }
  return { code: null, message: String(error), details: {} };
}

declare const self: Worker;

let handle: Handler | undefined;
self.onmessage = ({ data }: MessageEvent<Request>) => {
  const answer = (reply: Reply): void => self.postMessage(reply);
  try {
    if (data.kind === "open") {
      const { database } = connectWriter(data.path, {
        durability: data.durability,
        autocheckpoint: 0,
      });
      handle = data.role === "writer" ? createWriting(database) : createCopying(database);
      answer({ kind: "opened" });
    } else if (handle !== undefined) {
      answer(handle(data));
    }
  } catch (error) {
    // A writer that failed once must not write what was planned on top of it.
    if (data.kind === "write") handle = undefined;
    answer({ kind: "failed", error: toWire(error) });
  }
};
