// Sending on a stream no faster than its client takes: what has been handed to the connection and
// not been taken yet is one piece at most.

import { overloaded } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Duplex, ServerStream } from "./calls.ts";

/**
 * Resolves once the connection has taken the last of the messages, or nobody waits for them any
 * more. Rejects with `overloaded` after `live_stall_ms` without: what was handed over is still
 * sent, and the refusal behind it.
 */
export function send(
  call: Pick<ServerStream | Duplex, "write">,
  messages: readonly Buffer[],
  gone: AbortSignal,
  stall_ms: number = limits.live_stall_ms,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (gone.aborted || messages.length === 0) return Promise.resolve();
  const stalled = setTimeout(() => {
    settle();
    reject(
      overloaded(`nothing was taken for ${stall_ms} ms; follow again after the last position`, {
        stall_ms,
      }),
    );
  }, stall_ms);
  const settle = (): void => {
    clearTimeout(stalled);
    gone.removeEventListener("abort", leave);
  };
  const leave = (): void => {
    settle();
    resolve();
  };
  gone.addEventListener("abort", leave);
  messages.forEach((message, index) => {
    if (index < messages.length - 1) call.write(message);
    else call.write(message, leave);
  });
  return promise;
}
