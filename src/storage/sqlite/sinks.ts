// Where planned batches are written. Commands that open the store for a moment: here, checkpoints
// too. Servers: here or in a thread, while another thread checkpoints.

import type { Database } from "bun:sqlite";
import { assert, DbxError } from "../../model/error.ts";
import type { Durability } from "./connect.ts";
import { checkDatabase } from "./check.ts";
import { createChecker } from "./checker.ts";
import { compactDatabase, createLogWriter, truncateLog, type Written } from "./checkpoint.ts";
import type { BatchSink } from "./core.ts";
import { translate, translated } from "./failure.ts";
import type { Step } from "./steps.ts";
import type { Request } from "./thread.ts";
import { closeThread, compacted, fromWire, openThread, startThread } from "./threads.ts";
import { pack } from "./transfer.ts";
import { createWriter, type Batch } from "./writer.ts";

export function createInlineSink(
  database: Database,
  { path, dek }: Pick<FileOptions, "path" | "dek">,
): BatchSink {
  const writer = createWriter(database, dek);
  let commits = 0;
  let failed = false;
  const broken = Promise.withResolvers<unknown>();
  const noting = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  return {
    write: async (batch) => {
      noting(() => writer.write(batch));
      commits++;
    },
    alter: async (steps) => noting(() => writer.alter(steps)),
    compact: async (vacuum) => {
      try {
        return compactDatabase(database, vacuum);
      } catch (error) {
        if (error instanceof DbxError) throw error;
        failed = true;
        broken.resolve(error);
        throw translate("empty the log", error);
      }
    },
    broken: broken.promise,
    figures: () => ({ commits }),
    check: async (limit) =>
      translated("check the database", () => checkDatabase(database, { path, limit })),
    close: async () => {
      writer.close();
      // After a failed write only recovery, at the next start, decides what exists.
      if (!failed) truncateLog(database);
    },
  };
}

/**
 * A log of this size is copied into the database: large enough that pages written often are copied
 * once.
 */
const copyBytes = 48 * 1024 * 1024;
/** How much further the log grows before another try, when readers kept it from starting over. */
const copyAgainBytes = 16 * 1024 * 1024;

/** A writer beside a copier, here or in a thread. */
export interface SinkWriter {
  write(batch: Batch): Promise<Written>;
  alter(steps: readonly Step[]): Promise<Written>;
  compact(vacuum: boolean): Promise<boolean>;
  restart(): Promise<{ readonly done: boolean; readonly ms: number }>;
  close(): Promise<void>;
  /** Resolves when it ended by itself. Never rejects. */
  readonly broken: Promise<unknown>;
}

interface FileOptions {
  readonly path: string;
  readonly durability: Durability;
  readonly dek: Uint8Array | null;
}

/** Writes in a thread of its own: the main one answers and plans meanwhile. Wants a core for it. */
export async function createThreadWriter(options: FileOptions): Promise<SinkWriter> {
  const thread = startThread();
  await openThread(thread, { ...options, role: "writer" });
  const written = async (request: Request): Promise<Written> => {
    const reply = await thread.ask(request);
    assert(reply.kind === "written", "the writer answers what it was asked");
    const { logBytes, fault, refused } = reply;
    return {
      logBytes,
      fault: fault === null ? null : fromWire(fault),
      refused: refused === null ? null : fromWire(refused),
    };
  };
  return {
    write: (batch) => written({ kind: "write", packed: pack(batch) }),
    alter: (steps) => written({ kind: "alter", steps }),
    compact: async (vacuum) => {
      const reply = await thread.ask({ kind: "compact", vacuum });
      assert(reply.kind === "compacted", "the writer answers what it was asked");
      return compacted(reply);
    },
    restart: async () => {
      const reply = await thread.ask({ kind: "restart" });
      assert(reply.kind === "restarted", "the writer answers what it was asked");
      return reply;
    },
    close: () => closeThread(thread),
    broken: thread.death,
  };
}

/** Writes here. */
export function createLocalWriter(database: Database, dek: Uint8Array | null): SinkWriter {
  const writer = createLogWriter(database, dek);
  // Callers that commit again at once would otherwise keep the copier's answers from coming in.
  // Always, so that commits resolve in their order.
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  return {
    write: async (batch) => {
      const written = writer.write(batch);
      await turn();
      return written;
    },
    alter: async (steps) => {
      const written = writer.alter(steps);
      await turn();
      return written;
    },
    compact: async (vacuum) => translated("empty the log", () => writer.compact(vacuum)),
    restart: async () => writer.restart(),
    close: async () => writer.close(),
    broken: Promise.withResolvers<unknown>().promise,
  };
}

/** A thread copies the log of `writer`, so that no commit waits for a whole checkpoint. */
export async function createCopiedSink(
  writer: SinkWriter,
  options: FileOptions,
): Promise<BatchSink> {
  const broken = Promise.withResolvers<unknown>();
  void writer.broken.then(broken.resolve);
  const copier = startThread();
  void copier.death.then(broken.resolve);
  await openThread(copier, { ...options, role: "copier" });
  const checker = createChecker(options);
  const counts = { commits: 0, checkpoints: 0, checkpoint_ms_max: 0, log_bytes_max: 0 };
  let copying: Promise<void> | null = null;
  let copyAt = copyBytes;

  const copy = async (logBytes: number): Promise<void> => {
    try {
      await copier.ask({ kind: "copy" });
      const { done, ms } = await writer.restart();
      counts.checkpoints++;
      counts.checkpoint_ms_max = Math.max(counts.checkpoint_ms_max, Math.round(ms));
      copyAt = done ? copyBytes : logBytes + copyAgainBytes;
    } catch (cause) {
      broken.resolve(cause);
    } finally {
      copying = null;
    }
  };
  const noting = ({ logBytes, fault }: Written): void => {
    // The batch is durable and is answered so; only the ones after it are refused.
    if (fault !== null) broken.resolve(fault);
    counts.log_bytes_max = Math.max(counts.log_bytes_max, logBytes);
    if (logBytes > copyAt) copying ??= copy(logBytes);
  };
  return {
    write: async (batch) => {
      noting(await writer.write(batch));
      counts.commits++;
    },
    alter: async (steps) => {
      const written = await writer.alter(steps);
      noting(written);
      return written.refused;
    },
    compact: writer.compact,
    broken: broken.promise,
    figures: () => ({ ...counts }),
    check: checker.check,
    close: async () => {
      await checker.close();
      await copying;
      // The writer last: it leaves no log behind only when it is alone.
      try {
        await closeThread(copier);
      } finally {
        await writer.close();
      }
    },
  };
}
