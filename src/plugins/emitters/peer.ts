// One TCP connection to a receiver, seen from the sender: what has left the process, and how the
// connection ended. Nothing is kept for what has been waited for.

import { connect, type Socket } from "node:net";
import type { TcpConfig } from "../../model/plugin.ts";
import { codeOf } from "./fault.ts";

/** `closing`: the peer sends no more. `lost`: the connection is gone. `late`: none of them. */
export type Outcome = "done" | "closing" | "lost" | "late";

export interface Peer {
  /** How long connecting took: a round trip at least. */
  readonly connect_ms: number;
  /** Why it is lost: `ECONNRESET`; null while it is not. */
  readonly lost: () => string | null;
  /** Whether the peer said that it sends no more. It may still read. */
  readonly closing: () => boolean;
  /** `done` once the bytes have left the process; else `lost` or `late`. */
  readonly write: (bytes: Uint8Array, options: { ms: number }) => Promise<Outcome>;
  /** `late` when nothing ended within the time, which is good news; else `closing` or `lost`. */
  readonly stand: (options: { ms: number }) => Promise<Outcome>;
  /** The same, whether the peer is closing or not. */
  readonly remain: (options: { ms: number }) => Promise<Outcome>;
  /** Sends what is left, and lets go within the time. */
  readonly close: (options: { ms: number }) => Promise<void>;
  readonly cut: (why: string) => void;
}

/** Rejects with an Error whose `code` says why. */
export function connectPeer(
  { host, port }: TcpConfig,
  { ms, signal }: { ms: number; signal: AbortSignal },
): Promise<Peer> {
  const began = performance.now();
  // Half open, because whoever has closed may still answer with a reset what he did not read.
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  socket.setKeepAlive(true, keepAliveAfter_ms);
  return new Promise((done, fail) => {
    const giveUp = (code: string) => socket.destroy(Object.assign(new Error(code), { code }));
    const timer = setTimeout(() => giveUp("ETIMEDOUT"), ms);
    const stop = () => giveUp("ABORT_ERR");
    const rest = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
    socket.once("error", fail);
    socket.once("close", () => {
      rest();
      fail(new Error("closed"));
    });
    socket.once("connect", () => {
      rest();
      socket.removeListener("error", fail);
      done(createPeer(socket, performance.now() - began));
    });
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** How long a connection is silent before the system asks whether the peer is still there. */
const keepAliveAfter_ms = 30_000;

function createPeer(socket: Socket, connect_ms: number): Peer {
  let lost: string | null = null;
  let closing = false;
  /** Who waits: one, and another one who lets go of the connection meanwhile. */
  const waiting = new Set<(end: Outcome) => void>();
  const wake = (end: Outcome) => [...waiting].forEach((tell) => tell(end));
  const isLost = (why: string) => {
    lost ??= why;
    wake("lost");
  };
  // What the receiver writes is nothing that dbx understands: it is read so that it is not stuck.
  socket.on("data", () => {});
  socket.on("end", () => {
    closing = true;
    // Nothing is on its way: there is nothing left to be told by a reset.
    if (waiting.size === 0) socket.end();
    wake("closing");
  });
  socket.on("error", (cause) => isLost(codeOf(cause) ?? "failed"));
  socket.on("close", () => isLost("closed"));

  const wait = async (
    { ms, heeding }: { ms: number; heeding: readonly Outcome[] },
    begin: (done: () => void) => void = () => {},
  ): Promise<Outcome> => {
    if (lost !== null) return "lost";
    if (closing && heeding.includes("closing")) return "closing";
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const timer = setTimeout(() => resolve("late"), ms);
    const tell = (end: Outcome) => (heeding.includes(end) ? resolve(end) : undefined);
    waiting.add(tell);
    begin(() => resolve("done"));
    const outcome = await promise;
    clearTimeout(timer);
    waiting.delete(tell);
    return outcome;
  };

  return {
    connect_ms,
    lost: () => lost,
    closing: () => closing,
    write: (bytes, { ms }) =>
      wait({ ms, heeding: ["lost"] }, (done) =>
        socket.write(bytes, (error) => (error ? undefined : done())),
      ),
    stand: ({ ms }) => wait({ ms, heeding: ["closing", "lost"] }),
    remain: ({ ms }) => wait({ ms, heeding: ["lost"] }),
    close: async ({ ms }) => {
      socket.end();
      await wait({ ms, heeding: ["lost"] });
      socket.destroy();
    },
    cut: (why) => {
      isLost(why);
      socket.destroy();
    },
  };
}
