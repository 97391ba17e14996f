// A session between two nodes: what it is once both have proved who they are, and what happens
// before that on the connection beneath. Who opens one and who takes one is in session-caller.ts
// and session-acceptor.ts.

import type { Socket, SocketHandler } from "bun";
import { assert, tooLarge, unavailable, type DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { alpnName, exporter, proofBytes, type KnownPeer } from "./handshake.ts";
import { createPipe, type Kind, type Part, type Pipe } from "./session-pipe.ts";

export interface Session {
  readonly peer: KnownPeer;
  /** Resolves when the system has taken it, in the order of the calls: a slow reader slows it. */
  readonly send: (message: Uint8Array) => Promise<void>;
  /** Null once the other side has ended the session. Rejects where it was cut off. */
  readonly receive: () => Promise<Uint8Array | null>;
  /** Sends what waits and the end. Resolves when the connection is gone; never rejects. */
  readonly close: () => Promise<void>;
}

export interface SessionBounds {
  readonly handshake_ms: number;
  readonly message_bytes_max: number;
  readonly stall_ms: number;
  readonly farewell_ms: number;
  readonly alive_ms: number;
  readonly silence_ms: number;
  readonly bytes_max: number;
}

export const sessionBounds: SessionBounds = {
  handshake_ms: limits.session_handshake_ms,
  message_bytes_max: limits.session_message_bytes_max,
  stall_ms: limits.session_stall_ms,
  farewell_ms: limits.session_farewell_ms,
  alive_ms: limits.session_alive_ms,
  silence_ms: limits.session_silence_ms,
  bytes_max: limits.session_bytes_max,
};

/** A connection on which a session may come about. */
export interface Channel {
  readonly pipe: Pipe;
  /** From now on it carries messages of this node, which has proved its key. */
  readonly admit: (peer: KnownPeer) => Session;
  /** Resolves when the connection has ended. */
  readonly gone: Promise<void>;
}

interface ChannelOptions {
  readonly bounds: SessionBounds;
  /** Takes what comes before the session is one. Throws what ends the connection. */
  readonly meet: (part: Part) => void;
  /** The connection has ended before that. */
  readonly failed: (failure: DbxError) => void;
}

/** What comes in before anybody is known, and how large it is. */
const first: Readonly<Partial<Record<Kind, number>>> = {
  ...{ proof: proofBytes, verdict: 1, refusal: 1 },
};

export function createChannel(
  socket: Socket<unknown>,
  { bounds, meet, failed }: ChannelOptions,
): Channel {
  const gone = Promise.withResolvers<void>();
  const inbox = createInbox(() => pipe.goOn());
  let admitted = false;
  const pipe = createPipe(socket, {
    ...bounds,
    bytesMax(kind) {
      if (!admitted) return first[kind] ?? null;
      if (kind === "message") return bounds.message_bytes_max;
      return kind === "end" || kind === "alive" ? 0 : null;
    },
    take(part) {
      if (admitted) return inbox.take(part);
      meet(part);
      return true;
    },
    ended(failure) {
      if (admitted) inbox.end(failure);
      else failed(failure ?? unavailable("the connection has ended"));
      gone.resolve();
    },
  });
  const admit = (peer: KnownPeer): Session => {
    admitted = true;
    pipe.stayAlive();
    return sessionOver({ pipe, inbox, gone: gone.promise }, { peer, bounds });
  };
  return { pipe, admit, gone: gone.promise };
}

function sessionOver(
  { pipe, inbox, gone }: { pipe: Pipe; inbox: Inbox; gone: Promise<void> },
  { peer, bounds }: { peer: KnownPeer; bounds: SessionBounds },
): Session {
  let sent = 0;
  return {
    peer,
    async send(message) {
      const bytes = message.length;
      const { message_bytes_max, bytes_max } = bounds;
      if (bytes > message_bytes_max) {
        const words = `a message to ${peer.name} has at most ${message_bytes_max} bytes`;
        throw tooLarge(words, { bytes, limit: message_bytes_max });
      }
      // A part and its record of TLS have some bytes of their own.
      sent += bytes + overheadBytes;
      if (sent > bytes_max) {
        const words = `the session with ${peer.name} has carried ${bytes_max} bytes; open another`;
        throw unavailable(words, { limit: bytes_max });
      }
      await pipe.send("message", message);
    },
    receive: inbox.next,
    close() {
      pipe.close();
      return gone;
    },
  };
}

const overheadBytes = 64;

interface Inbox {
  /** Out: whether another may come. */
  readonly take: (part: Part) => boolean;
  readonly end: (failure: DbxError | null) => void;
  readonly next: () => Promise<Uint8Array | null>;
}

/** Holds one message; more wait on the connection, or on the other node. */
function createInbox(goOn: () => void): Inbox {
  const messages: Uint8Array[] = [];
  let over = false;
  let failure: DbxError | null = null;
  let waiter: PromiseWithResolvers<Uint8Array | null> | null = null;

  function settle(): void {
    if (waiter === null) return;
    const message = messages.shift();
    if (message === undefined && !over) return;
    const { resolve, reject } = waiter;
    waiter = null;
    if (message !== undefined) resolve(message);
    else if (failure !== null) reject(failure);
    else resolve(null);
  }

  return {
    take({ kind, payload }) {
      if (kind === "end") over = true;
      else messages.push(payload);
      settle();
      return messages.length === 0;
    },
    end(reason) {
      // Whoever has been told the end needs no reason any more.
      if (!over) failure = reason;
      over = true;
      settle();
    },
    next() {
      assert(waiter === null, "one message is asked for at a time");
      waiter = Promise.withResolvers();
      const { promise } = waiter;
      settle();
      if (messages.length === 0) goOn();
      return promise;
    },
  };
}

/** As a number of the protocol (RFC 8446, 4.2.1). */
const tls_1_3 = 0x0304;

/** TLS 1.3 and nothing else, for this protocol and no other. */
export const tlsOptions = {
  minVersion: tls_1_3,
  maxVersion: tls_1_3,
  ALPNProtocols: Buffer.concat([Buffer.of(alpnName.length), Buffer.from(alpnName)]),
} as const;

/**
 * What the upgraded socket tells, to the channel of it. `secured` is called once TLS stands, with
 * what only its two ends know. The certificate is not looked at: keys are proved within.
 */
export function tlsHandler(options: {
  readonly context: Buffer;
  readonly channel: () => Channel;
  readonly secured: (exported: Uint8Array) => void;
}): SocketHandler<undefined> {
  const over = (reason: string) => options.channel().pipe.over(reason);
  return {
    handshake(socket, _authorized, error) {
      const { pipe } = options.channel();
      let exported: Uint8Array;
      try {
        // Throws where the handshake has failed, whatever the other arguments say.
        exported = socket.exportKeyingMaterial(exporter.bytes, exporter.label, options.context);
      } catch (cause) {
        return pipe.fail(unavailable(`TLS failed: ${reasonOf(error ?? cause)}`, {}, { cause }));
      }
      if (socket.getTLSVersion() !== "TLSv1.3" || socket.alpnProtocol !== alpnName) {
        return pipe.fail(unavailable(`TLS 1.3 for ${alpnName} was not agreed on`));
      }
      assert(exported.length === exporter.bytes, "TLS exports what was asked for");
      options.secured(exported);
    },
    data: (_, piece) => options.channel().pipe.push(piece),
    drain: () => options.channel().pipe.drained(),
    end: () => over("the other side sends nothing more"),
    close: (_, error) => over(error === undefined ? "the connection is closed" : reasonOf(error)),
    error: (_, error) => over(reasonOf(error)),
  };
}

/** OpenSSL's words are long; what they end with says it. */
export const reasonOf = (error: unknown): string =>
  error instanceof Error
    ? (error.message.split(":").at(-1)?.trim() ?? error.message)
    : String(error);
