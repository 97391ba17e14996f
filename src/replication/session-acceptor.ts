// Takes sessions of other nodes on connections that somebody else listens for. Until a caller has
// proved a key that is named here, it costs one handshake of TLS and a few kilobytes.

import type { Socket } from "bun";
import type { Log } from "../log.ts";
import { DbxError, failedPrecondition, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { publicKeyText, type Remote } from "../model/remote.ts";
import type { System } from "../system.ts";
import type { Frame } from "../wire/frame.ts";
import { bytesOf, decodeHello, encodeHelloResponse, helloBounds } from "../wire/hello.ts";
import { exporterContext, knownPeer, proofOf, protocolVersion, provedKey } from "./handshake.ts";
import type { NodeKeys } from "./keys.ts";
import { certificateOf } from "./session-certificate.ts";
import type { Part } from "./session-pipe.ts";
import {
  createChannel,
  sessionBounds,
  tlsHandler,
  tlsOptions,
  type Channel,
  type Session,
  type SessionBounds,
} from "./session.ts";
import { refusals, verdicts } from "./session-words.ts";

export interface AcceptorOptions {
  readonly keys: Pick<NodeKeys, "public_key" | "publicBytes" | "sign">;
  /** The nodes that are known now. */
  readonly remotes: () => Readonly<Record<string, Remote>>;
  readonly log: Log;
  readonly random: System["random"];
  readonly bounds?: SessionBounds & {
    readonly handshakes_max: number;
    readonly sessions_max: number;
  };
}

/** A greeting is answered, and that is all; or TLS has begun, and a session may come of it. */
export type Greeted =
  | { readonly kind: "refused"; readonly answer: Uint8Array }
  /** Null where the caller could not prove a key that is known; that is logged by then. */
  | { readonly kind: "begun"; readonly session: Promise<Session | null> };

export interface Acceptor {
  /**
   * Takes the connection, unless it refuses the greeting: then the answer is the listener's to
   * send. `early` tells that bytes came behind the greeting. What the socket's own handlers are
   * told afterwards, its end excepted, is TLS's and MUST be passed over.
   */
  readonly greet: (
    socket: Socket<unknown>,
    hello: Frame,
    options: { readonly early: boolean },
  ) => Greeted;
  readonly figures: () => Record<string, number>;
  /** Ends what has begun, and every session. Takes nobody from now on. */
  readonly close: () => Promise<void>;
}

const defaults = {
  ...sessionBounds,
  handshakes_max: limits.session_handshakes_max,
  sessions_max: limits.sessions_max,
};

export function createAcceptor(options: AcceptorOptions): Acceptor {
  const { keys, remotes, log, random, bounds = defaults } = options;
  const certificate = certificateOf(random(32));
  const meeting = new Set<Channel>();
  const sessions = new Set<Session>();
  const counts = { refused: 0, opened: 0 };
  const tell = throttled(log);
  let closed = false;

  function refusalOf(hello: Frame, early: boolean): string | null {
    const { version } = decodeHello(hello, helloBounds.pointers);
    if (version !== protocolVersion) {
      return (
        `unsupported replication protocol version ${version}; this server speaks ` +
        `${protocolVersion}, in which both nodes prove their keys: it needs dbx 2 on both sides`
      );
    }
    if (early) return "bytes came before the answer to the greeting";
    if (closed) return "dbx is stopping";
    if (meeting.size < bounds.handshakes_max) return null;
    return `more than ${bounds.handshakes_max} nodes are proving themselves; try again`;
  }

  function refused(words: string, address: string): Greeted {
    counts.refused++;
    tell("replication: greeting refused", { address, reason: words });
    const answer = encodeHelloResponse({ accepted: false, message: words });
    return { kind: "refused", answer };
  }

  function begin(socket: Socket<unknown>, hello: Frame, address: string): Greeted {
    const answer = encodeHelloResponse({ accepted: true, message: "ok" });
    if (socket.write(answer) !== answer.length) return refused("nothing is taken", address);
    const result = Promise.withResolvers<Session | null>();
    let exported: Uint8Array = new Uint8Array();
    const handler = tlsHandler({
      context: exporterContext(bytesOf(hello), answer),
      channel: () => channel,
      secured(bytes) {
        exported = bytes;
        const mine = { exported, role: "listener", listener: keys.publicBytes } as const;
        void channel.pipe.send("proof", proofOf(keys, mine)).catch(() => undefined);
      },
    });
    // Bun's types do not know the first, by which it takes the server's part.
    const upgrade = {
      ...{ isServer: true, allowHalfOpen: true, socket: handler },
      tls: { ...tlsOptions, ...certificate },
    };
    const [, secured] = socket.upgradeTLS<undefined>(upgrade);
    const channel = createChannel(secured, {
      bounds,
      meet(part) {
        const session = meet(part, { exported, channel, address });
        if (session !== null) result.resolve(session);
      },
      failed(failure) {
        counts.refused++;
        const { pin } = failure.details;
        const phrase = pin === undefined ? "replication: no session" : "replication: not pinned";
        tell(phrase, {
          address,
          reason: failure.message,
          ...(pin === undefined ? {} : { pin: String(pin) }),
        });
        result.resolve(null);
      },
    });
    meeting.add(channel);
    const timer = setTimeout(
      () => channel.pipe.fail(unavailable(`nothing was proved in ${bounds.handshake_ms} ms`)),
      bounds.handshake_ms,
    );
    void Promise.race([result.promise, channel.gone]).then(() => {
      clearTimeout(timer);
      meeting.delete(channel);
    });
    return { kind: "begun", session: result.promise };
  }

  /** Out: null while there is no session, or where there will be none. */
  function meet(
    part: Part,
    { exported, channel, address }: { exported: Uint8Array; channel: Channel; address: string },
  ): Session | null {
    const { pipe } = channel;
    if (part.kind === "refusal" && part.payload[0] === refusals.other_key) {
      const command = `dbx remote add NAME ADDRESS --public-key ${keys.public_key} --replace`;
      pipe.leave(refusalWith("the caller has another key pinned for this node", command));
      return null;
    }
    if (part.kind !== "proof") throw unavailable("the caller proved nothing");
    const key = provedKey(part.payload, { exported, role: "caller", listener: keys.publicBytes });
    const peer = knownPeer(remotes(), key);
    const busy = closed || sessions.size >= bounds.sessions_max;
    const known = busy ? verdicts.busy : verdicts.welcome;
    const verdict = peer === null ? verdicts.unknown_key : known;
    void pipe.send("verdict", Buffer.of(verdict)).catch(() => undefined);
    if (peer === null) {
      const command = `dbx remote add NAME ${address} --public-key ${publicKeyText(key)}`;
      pipe.leave(refusalWith("the caller's key is not known here", command));
      return null;
    }
    if (busy) {
      pipe.leave(unavailable(`there are ${sessions.size} sessions, with no room for ${peer.name}`));
      return null;
    }
    const session = channel.admit(peer);
    counts.opened++;
    sessions.add(session);
    void channel.gone.then(() => sessions.delete(session));
    log.info("replication: session", { remote: peer.name, address });
    return session;
  }

  return {
    greet(socket, hello, { early }) {
      const address = socket.remoteAddress;
      let words: string | null;
      try {
        words = refusalOf(hello, early);
      } catch (error) {
        if (!(error instanceof DbxError)) throw error;
        words = "the greeting is none";
      }
      return words === null ? begin(socket, hello, address) : refused(words, address);
    },
    figures: () => ({
      replication_meeting: meeting.size,
      replication_sessions: sessions.size,
      replication_sessions_opened: counts.opened,
      replication_refused: counts.refused,
    }),
    async close() {
      closed = true;
      for (const { pipe } of meeting) pipe.fail(unavailable("dbx is stopping"));
      await Promise.all([...sessions].map((session) => session.close()));
    },
  };
}

/** `pin`: the command by which the two would know each other. */
const refusalWith = (words: string, pin: string): DbxError => failedPrecondition(words, { pin });

/** Strangers must not fill the log: one line of a kind each second, and how many there were. */
function throttled({ warn }: Pick<Log, "warn">) {
  const told = new Map<string, { at: number; count: number }>();
  return (phrase: string, fields: Readonly<Record<string, string>>): void => {
    // Of the two that name a command, neither may hide the other.
    const kind = fields["pin"] === undefined ? phrase : `${phrase} ${fields["reason"]}`;
    const before = told.get(kind) ?? { at: -Infinity, count: 0 };
    const now = performance.now();
    const count = before.count + 1;
    if (now - before.at < 1_000) return void told.set(kind, { ...before, count });
    told.set(kind, { at: now, count });
    warn(phrase, { ...fields, count });
  };
}
