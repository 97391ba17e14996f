// What can be fuzzed, and how a case reaches a server: bytes on a connection of their own, and what
// came back until the other side closed.

import type { Dice } from "./dice.ts";

/** A case that is neither answered nor closed by then hangs: a busy machine needs a second. */
export const case_ms_max = 20_000;
/** An answer without end has been seen enough of after this. */
export const linger_ms = 150;

export interface Goal {
  /** Of everything but the control socket. */
  readonly port: number;
  readonly socket_port: number;
  /** Of group `admin`; for the whole store, or for a part of it. */
  readonly token: string;
  /** Where the server keeps its files. */
  readonly directory: string;
  /** What no answer may hold: the directory, and words from outside of the token's scope. */
  readonly hidden: readonly string[];
}

/** What a server said to a part of a case: the word by which it is counted, and what that means. */
export interface Said {
  readonly word: string;
  readonly kind: "answered" | "refused" | "neither";
}

/** What became of a case. */
export interface Tried {
  readonly said: readonly Said[];
  /** What is wrong. */
  readonly faults: readonly string[];
}

export interface Target {
  readonly name: string;
  /** Which of the servers it is tried on: what it changes must not blind the others. */
  readonly place: "shared" | "admin" | "tls";
  /** Makes one case of the dice and tries it. */
  readonly attempt: (goal: Goal, dice: Dice) => Promise<Tried>;
}

/** The cases of a `Tried` with what was sent, for whoever has to look for the reason. */
export const after = ({ said, faults }: Tried, sent: string): Tried => ({
  said,
  faults: faults.map((fault) => `${fault}\n  after ${sent}`),
});

export interface Exchanged {
  readonly received: Buffer;
  /** The server has not closed the connection in time. */
  readonly hangs: boolean;
}

export interface Manner {
  /**
   * Ends the writing half at the end, so that whatever the server still waits for does not come.
   */
  readonly leaves?: boolean;
  /** A part of the answer after which it is cut. */
  readonly enough?: (received: Buffer) => boolean;
  /** Speaks TLS, and offers these protocols. */
  readonly alpn?: readonly string[];
}

/** Sends the bytes, a piece at a time. */
export async function exchange(
  { port }: Pick<Goal, "port">,
  pieces: readonly Buffer[],
  { leaves = false, enough, alpn }: Manner = {},
): Promise<Exchanged> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const secured = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  let unsent = Buffer.alloc(0);
  const ended = (hangs: boolean): void => {
    resolve(hangs);
    secured.resolve();
  };
  const over = (): void => ended(false);
  const send = (socket: { write: (bytes: Buffer) => number }): void => {
    if (unsent.length > 0) unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    ...(alpn === undefined
      ? {}
      : { tls: { rejectUnauthorized: false, ALPNProtocols: wireOf(alpn) } }),
    socket: {
      handshake: () => secured.resolve(),
      data(_, chunk) {
        chunks.push(chunk);
        if (enough?.(Buffer.concat(chunks)) === true) over();
      },
      drain: send,
      end: over,
      close: over,
      error: over,
    },
  });
  const deadline = setTimeout(() => ended(true), case_ms_max);
  if (alpn === undefined) socket.setNoDelay(true);
  else await secured.promise;
  for (const piece of pieces) {
    unsent = Buffer.concat([unsent, piece]);
    send(socket);
    // A turn of the loop, so that the pieces arrive apart.
    if (pieces.length > 1) await new Promise((next) => setImmediate(next));
  }
  if (leaves && unsent.length === 0) socket.shutdown();
  const hangs = await promise;
  clearTimeout(deadline);
  socket.terminate();
  return { received: Buffer.concat(chunks), hangs };
}

/** The list of RFC 7301: each name behind its length. */
export const wireOf = (names: readonly string[]): Buffer =>
  Buffer.concat(names.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`)));

/** A request that ends its connection, framed as it must be. */
export function requestBytes(
  request: { method: string; path: string; body: Buffer },
  fields: readonly string[],
): Buffer {
  const { method, path, body } = request;
  const bodiless = method === "GET" || method === "HEAD";
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...["Host: 127.0.0.1", "Connection: close", ...fields],
    ...(bodiless ? [] : [`Content-Length: ${body.length}`]),
  ];
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return bodiless ? head : Buffer.concat([head, body]);
}

/** The bytes in up to three pieces. */
export function cut(dice: Dice, bytes: Buffer): Buffer[] {
  if (!dice.chance(0.2) || bytes.length === 0) return [bytes];
  const at = [0, dice.below(bytes.length), dice.below(bytes.length), bytes.length];
  const sorted = at.toSorted((left, right) => left - right);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}
