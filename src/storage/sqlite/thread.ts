// The two threads of a server's storage, started by threads.ts. The writing one executes planned
// batches, so that the main thread answers and plans meanwhile; the other copies the write-ahead
// log into the database while writing goes on. The writer alone lets the log start over, when
// little of it is left to copy.

import type { Database } from "bun:sqlite";
import { DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { checkDatabase } from "./check.ts";
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
  /** To the copier: look for faults. */
  | { readonly kind: "check"; readonly limit: number }
  /** To the writer: most is copied; finish it and start over. */
  | { readonly kind: "restart" }
  | { readonly kind: "close" };

export type Reply =
  | { readonly kind: "opened" | "closed" | "copied" }
  | { readonly kind: "checked"; readonly faults: string[] }
  | { readonly kind: "written"; readonly logBytes: number }
  | { readonly kind: "restarted"; readonly done: boolean; readonly ms: number }
  /** `fatal`: the thread does nothing any more. */
  | { readonly kind: "failed"; readonly error: WireError; readonly fatal: boolean };

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
/**
 * Beyond this the writer stands still until the log is copied, so that a slow disk bounds the rate
 * and not the log. Only a reader that stays in the log for longer than the wait can let it grow.
 */
const forcedBytes = limits.wal_bytes_max * 0.75;
const forcedWaitMs = 500;
/** How much further the log grows before the next try, where readers did not leave it. */
const forcedAgainBytes = limits.wal_bytes_max / 16;

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
  let forcedAt = forcedBytes;

  /** Copies what is left; true if the next write begins the log anew. */
  const restart = (waitMs: number): boolean => {
    database.run(busyTimeout(waitMs));
    const row = log.checkpoint(checkpointRestart);
    database.run(busyTimeout(busyMs));
    return row?.busy === 0;
  };
  return (request) => {
    switch (request.kind) {
      case "write": {
        writer.write(unpack(request.packed));
        const { bytes } = log.size();
        if (bytes > forcedAt)
          forcedAt = restart(forcedWaitMs) ? forcedBytes : bytes + forcedAgainBytes;
        return { kind: "written", logBytes: bytes };
      }
      case "restart": {
        const start = performance.now();
        const done = restart(restartWaitMs);
        return { kind: "restarted", done, ms: performance.now() - start };
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
    if (request.kind === "check") {
      return { kind: "checked", faults: checkDatabase(database, request.limit) };
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
  const known = translate("use the database", error);
  if (known instanceof DbxError) {
    const { code, message, details } = known;
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
    // A writer that failed once must not write what was planned on top of it. A check that meets a
    // damaged page has only done its work.
    const fatal = data.kind !== "check";
    if (fatal) handle = undefined;
    answer({ kind: "failed", error: toWire(error), fatal });
  }
};
