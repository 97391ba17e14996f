// Where planned batches are written: in the caller's thread (commands that open the store for a
// moment), or in a thread of their own beside another one that checkpoints (servers).

import type { Database } from "bun:sqlite";
import { assert, DbxError } from "../../model/error.ts";
import { readOne, type Durability } from "./connect.ts";
import { checkDatabase } from "./check.ts";
import type { BatchSink } from "./core.ts";
import { translated } from "./failure.ts";
import { checkpointTruncate } from "./sql.ts";
import type { Reply, Request, WireError } from "./thread.ts";
import { pack } from "./transfer.ts";
import { createWriter } from "./writer.ts";

export function createInlineSink(database: Database): BatchSink {
  const writer = createWriter(database);
  let commits = 0;
  let failed = false;
  return {
    write: async (batch) => {
      try {
        writer.write(batch);
      } catch (error) {
        failed = true;
        throw error;
      }
      commits++;
    },
    broken: Promise.withResolvers<unknown>().promise,
    figures: () => ({ commits }),
    check: async (limit) => translated("check the database", () => checkDatabase(database, limit)),
    close: async () => {
      writer.close();
      // After a failed write only recovery, at the next start, decides what exists.
      if (!failed) readOne(database, checkpointTruncate);
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

export async function createThreadSink(options: {
  path: string;
  durability: Durability;
}): Promise<BatchSink> {
  const broken = Promise.withResolvers<unknown>();
  const writer = startThread(broken.resolve);
  const copier = startThread(broken.resolve);
  const counts = { commits: 0, checkpoints: 0, checkpoint_ms_max: 0, log_bytes_max: 0 };
  let copying: Promise<void> | null = null;
  let copyAt = copyBytes;
  let failed: unknown = null;

  const copy = async (logBytes: number): Promise<void> => {
    try {
      await copier.ask({ kind: "copy" });
      const reply = await writer.ask({ kind: "restart" });
      assert(reply.kind === "restarted", "the writer answers what it was asked");
      counts.checkpoints++;
      counts.checkpoint_ms_max = Math.max(counts.checkpoint_ms_max, Math.round(reply.ms));
      copyAt = reply.done ? copyBytes : logBytes + copyAgainBytes;
    } catch (cause) {
      failed = cause;
      broken.resolve(cause);
    } finally {
      copying = null;
    }
  };

  try {
    const { path, durability } = options;
    await writer.ask({ kind: "open", role: "writer", path, durability });
    await copier.ask({ kind: "open", role: "copier", path, durability });
  } catch (error) {
    writer.stop();
    copier.stop();
    throw error;
  }
  return {
    write: async (batch) => {
      const reply = await writer.ask({ kind: "write", packed: pack(batch) });
      assert(reply.kind === "written", "the writer answers what it was asked");
      counts.commits++;
      counts.log_bytes_max = Math.max(counts.log_bytes_max, reply.logBytes);
      if (reply.logBytes > copyAt) copying ??= copy(reply.logBytes);
    },
    broken: broken.promise,
    figures: () => ({ ...counts }),
    check: async (limit) => {
      const reply = await copier.ask({ kind: "check", limit });
      assert(reply.kind === "checked", "the copier answers what it was asked");
      return reply.faults;
    },
    close: async () => {
      await copying;
      try {
        await copier.ask({ kind: "close" });
        await writer.ask({ kind: "close" });
      } catch (error) {
        // A storage that failed before has told so already; its threads end without a checkpoint.
        if (failed === null && !writer.hasFailed()) throw error;
      } finally {
        writer.stop();
        copier.stop();
      }
    },
  };
}

/**
 * In the compiled file all code lies in chunks at the top, while entry points keep their folders
 * below src.
 */
const threadInCompiled = "./storage/sqlite/thread.ts";

/** A thread that answers requests in their order; after one failure it answers none. */
function startThread(onDeath: (cause: unknown) => void) {
  const source = new URL("./thread.ts", import.meta.url);
  const compiled = new URL(threadInCompiled, import.meta.url);
  const worker = new Worker((Bun.isStandaloneExecutable ? compiled : source).href);
  const waiting: PromiseWithResolvers<Reply>[] = [];
  let failed: unknown = null;

  const fail = (cause: unknown): void => {
    failed ??= cause;
    for (const each of waiting.splice(0)) each.reject(failed);
  };
  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    if (data.kind !== "failed") waiting.shift()?.resolve(data);
    else if (data.fatal) fail(fromWire(data.error));
    else waiting.shift()?.reject(fromWire(data.error));
  };
  worker.onerror = (event) => {
    const cause = new Error(`a thread of the storage ended: ${event.message}`);
    fail(cause);
    onDeath(cause);
  };
  return {
    ask: async (request: Request): Promise<Reply> => {
      if (failed !== null) throw failed;
      const reply = Promise.withResolvers<Reply>();
      waiting.push(reply);
      worker.postMessage(request);
      return await reply.promise;
    },
    hasFailed: (): boolean => failed !== null,
    stop: (): void => worker.terminate(),
  };
}

const fromWire = ({ code, message, details }: WireError): Error =>
  code === null ? new Error(message) : new DbxError(code, message, details);
