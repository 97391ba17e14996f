// The main thread's side of thread.ts: starts a thread and asks it, one request after the other.

import { DbxError, unavailable } from "../../model/error.ts";
import type { Reply, Request, WireError } from "./thread.ts";

/**
 * In the compiled file all code lies in chunks at the top, while entry points keep their folders
 * below src.
 */
const threadInCompiled = "./storage/sqlite/thread.ts";

/** How long to wait for a thread's end. A log that it still uses is copied at the next opening. */
const stopMsMax = 1_000;

/** Answers requests in their order; after one failure it answers none. */
export type Thread = ReturnType<typeof startThread>;

export function startThread() {
  const source = new URL("./thread.ts", import.meta.url);
  const compiled = new URL(threadInCompiled, import.meta.url);
  const worker = new Worker((Bun.isStandaloneExecutable ? compiled : source).href);
  const waiting: PromiseWithResolvers<Reply>[] = [];
  const death = Promise.withResolvers<unknown>();
  let failed: unknown = null;
  let stopping = false;

  const fail = (cause: unknown): void => {
    failed ??= cause;
    for (const each of waiting.splice(0)) each.reject(failed);
  };
  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    if (data.kind === "failed") fail(fromWire(data.error));
    else waiting.shift()?.resolve(data);
  };
  const ended = Promise.withResolvers<void>();
  worker.addEventListener("close", () => {
    ended.resolve();
    if (stopping) return;
    const cause = new Error("a thread of the storage ended by itself");
    fail(cause);
    death.resolve(cause);
  });
  worker.onerror = (event) => {
    const cause = new Error(`a thread of the storage ended: ${event.message}`);
    fail(cause);
    death.resolve(cause);
  };
  return {
    ask: async (request: Request): Promise<Reply> => {
      if (failed !== null) throw failed;
      const reply = Promise.withResolvers<Reply>();
      waiting.push(reply);
      worker.postMessage(request);
      return await reply.promise;
    },
    /** Resolves when the thread ended by itself. Never rejects. */
    death: death.promise,
    hasFailed: (): boolean => failed !== null,
    /**
     * Ends it in the middle of what it does: as soon as its statement ends, and this waits so long,
     * because its connection keeps the log in use.
     */
    stop: async (): Promise<void> => {
      stopping = true;
      fail(unavailable("the storage is being closed"));
      worker.terminate();
      const timer = setTimeout(ended.resolve, stopMsMax);
      await ended.promise;
      clearTimeout(timer);
    },
  };
}

export const fromWire = ({ code, message, details }: WireError): Error =>
  code === null ? new Error(message) : new DbxError(code, message, details);

/** Throws why there was no room for it. */
export function compacted({ done, refused }: Extract<Reply, { kind: "compacted" }>): boolean {
  if (refused !== null) throw fromWire(refused);
  return done;
}

/** Throws what kept it from opening; then the thread has ended. */
export async function openThread(
  thread: Thread,
  options: Omit<Extract<Request, { kind: "open" }>, "kind">,
): Promise<void> {
  try {
    await thread.ask({ kind: "open", ...options });
  } catch (error) {
    await thread.stop();
    throw error;
  }
}

/** A thread that failed has told so already, and ends without a checkpoint. */
export async function closeThread(thread: Thread): Promise<void> {
  try {
    if (!thread.hasFailed()) await thread.ask({ kind: "close" });
  } finally {
    await thread.stop();
  }
}
