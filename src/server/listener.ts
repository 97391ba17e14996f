// The shared port: HTTP/1.1 and HTTP/2 on one listener, told apart by ALPN or by their first bytes
// and handed on, in clear, to the server behind that speaks them. It understands nothing of either
// protocol beyond that. TLS ends here, where it is on.

import { existsSync } from "node:fs";
import type { Socket, SocketHandler } from "bun";
import type { Log } from "../log.ts";
import type { Rates } from "./rate.ts";
import { createEnd, finish, join, send, sendMore, type End, type SpliceBounds } from "./splice.ts";
import { beneath, protocolNamed, secure, type PortTls } from "./tls-socket.ts";

/** Where a server listens. */
export type Address =
  { readonly hostname: string; readonly port: number } | { readonly unix: string };

export interface SharedPortOptions {
  readonly hostname: string;
  readonly port: number;
  /** The servers behind it. */
  readonly http1: Address;
  readonly http2: Address;
  /** Null for none: then everything is in clear. */
  readonly tls: PortTls | null;
  readonly log: Log;
  readonly bounds: SpliceBounds & {
    readonly connections_max: number;
    readonly address_connections_max: number;
    readonly preface_ms: number;
    readonly farewell_ms: number;
  };
  /** Counts connections by address, and learns whose is which. */
  readonly rates: Pick<Rates, "note" | "forget" | "connection">;
  /** Whether the server of HTTP/1.1 is answering anybody. */
  readonly isBusy: () => boolean;
}

export interface SharedPort {
  readonly port: number;
  readonly figures: () => {
    readonly connections: number;
    readonly connections_refused: number;
    /** Only with TLS. */
    readonly tls_handshakes_failed?: number;
  };
  /**
   * Takes no more connections and ends those that have not said what they want. Resolves when the
   * others have ended, which is the servers' business, or were cut off.
   */
  readonly close: () => Promise<void>;
  readonly cut: () => void;
}

/** A connection that has not been joined to a server yet. */
interface Newcomer {
  /** What it has sent. The socket is paused once that tells the protocol, so it stays small. */
  early: Uint8Array;
  /** What it has agreed to in its handshake; null where the first bytes tell. */
  agreed: "http1" | "http2" | null;
  /** Ends it when it takes too long; null when the protocol is known. */
  deadline: Timer | null;
  /** It has shut down its writing half. */
  ended: boolean;
}

/** Listens when it returns. Throws what `Bun.listen` throws. */
export function listenShared(options: SharedPortOptions): SharedPort {
  const { hostname, port, log, bounds, tls, rates, isBusy } = options;
  // A server may take its time, and tells its clients itself when they wait in vain.
  const patient = { ...bounds, stall_seconds_max: 0 };
  const clients = new Set<End>();
  const newcomers = new Map<End, Newcomer>();
  const ofAddress = createCounts();
  const askers = new WeakSet<End>();
  const refusals = countThem((refused, address) => {
    log.warn("connection refused", { address, limit: bounds.connections_max, refused });
  });
  const unserved = countThem((count, reason) => {
    log.warn("no server behind the port", { reason, unserved: count });
  });
  let handshakes_failed = 0;
  let lost = false;
  const emptied = Promise.withResolvers<void>();
  let closing = false;

  function hear(client: End, newcomer: Newcomer, piece: Uint8Array): void {
    const { early } = newcomer;
    newcomer.early = early.length === 0 ? piece : Buffer.concat([early, piece]);
    if (newcomer.deadline === null) return;
    const shown = protocolOf(newcomer.early);
    // ALPN alone would let somebody who says nothing more stay.
    if (shown === null && newcomer.agreed !== "http1") return;
    const protocol = newcomer.agreed ?? shown ?? "http1";
    clearTimeout(newcomer.deadline);
    newcomer.deadline = null;
    // Whatever else it sends waits in the kernel until there is somebody to take it.
    client.socket.pause();
    log.debug("connection", { address: client.socket.remoteAddress, protocol });
    if (protocol === "http1") askers.add(client);
    hand(client, newcomer, options[protocol]);
  }

  function hand(client: End, newcomer: Newcomer, address: Address): void {
    const open = (socket: Socket<End>): void => {
      const server = createEnd(socket, patient);
      socket.data = server;
      if (!newcomers.delete(client)) return socket.terminate();
      if ("port" in address) {
        asked_from = socket.localPort;
        rates.note(asked_from, client.socket.remoteAddress);
      }
      join(client, server);
      client.socket.resume();
      send(server, newcomer.early);
      if (newcomer.ended) finish(server, "half");
    };
    let asked_from: number | undefined;
    const close = (socket: Socket<End>): void => {
      if (asked_from !== undefined) rates.forget(asked_from);
      leave(socket.data);
    };
    const opened = { allowHalfOpen: true, socket: { ...behind, open, close } };
    const connecting =
      "unix" in address
        ? Bun.connect<End>({ ...address, ...opened })
        : Bun.connect<End>({ ...address, ...opened });
    connecting.catch((cause: unknown) => {
      // There is nobody to answer.
      client.socket.terminate();
      if ("unix" in address && !closing && !lost && !existsSync(address.unix)) {
        lost = true;
        log.error("the socket behind the port is gone: restart", { socket: address.unix });
      }
      unserved.count(String(cause));
    });
  }

  const handlers: SocketHandler<End> = {
    handshake(socket, success) {
      if (!success) {
        handshakes_failed++;
        log.debug("handshake failed", { address: socket.remoteAddress });
        return;
      }
      const newcomer = newcomers.get(socket.data);
      if (newcomer !== undefined) newcomer.agreed = protocolNamed(socket.alpnProtocol);
    },
    data({ data: client }, piece) {
      if (client.other !== null) return send(client.other, piece);
      const newcomer = newcomers.get(client);
      if (newcomer !== undefined) hear(client, newcomer, piece);
    },
    drain: ({ data: client }) => sendMore(client),
    end({ data: client }) {
      const newcomer = newcomers.get(client);
      if (client.other !== null) finish(client.other, "half");
      else if (newcomer?.deadline === null) newcomer.ended = true;
      else client.socket.end();
    },
    close({ data: client }) {
      clearTimeout(newcomers.get(client)?.deadline ?? undefined);
      newcomers.delete(client);
      if (clients.delete(client)) ofAddress.remove(client);
      const server = client.other;
      if (server !== null) {
        server.other = null;
        server.socket.terminate();
      }
      if (closing && clients.size === 0) emptied.resolve();
    },
    timeout: (socket) => socket.terminate(),
    error: (socket) => socket.terminate(),
  };

  const listener = Bun.listen<End>({
    hostname,
    port,
    allowHalfOpen: true,
    socket: {
      ...(tls === null ? handlers : beneath),
      open(accepted) {
        accepted.data = createEnd(accepted, bounds);
        const { remoteAddress } = accepted;
        const isFull =
          clients.size >= bounds.connections_max ||
          ofAddress.of(remoteAddress) >= bounds.address_connections_max;
        if (isFull || !rates.connection(remoteAddress)) {
          refusals.count(remoteAddress);
          return accepted.terminate();
        }
        const socket = tls === null ? accepted : secure(accepted, { ...tls, socket: handlers });
        const client = tls === null ? accepted.data : createEnd(socket, bounds);
        socket.data = client;
        clients.add(client);
        ofAddress.add(client, remoteAddress);
        const deadline = setTimeout(() => socket.end(), bounds.preface_ms);
        newcomers.set(client, { early: nothing, agreed: null, deadline, ended: false });
      },
    },
  });

  return {
    port: listener.port,
    figures: () => ({
      connections: clients.size,
      connections_refused: refusals.total(),
      ...(tls === null ? {} : { tls_handshakes_failed: handshakes_failed }),
    }),
    close() {
      if (!closing) listener.stop();
      closing = true;
      for (const [client, { deadline }] of newcomers) {
        if (deadline !== null) client.socket.end();
      }
      if (clients.size === 0) emptied.resolve();
      const looking = endIdle(clients, {
        every_ms: bounds.farewell_ms,
        isIdle: (client) => askers.has(client) && !isBusy(),
      });
      return emptied.promise.finally(() => clearInterval(looking));
    },
    cut() {
      for (const client of clients) client.socket.terminate();
    },
  };
}

const nothing = new Uint8Array();

/**
 * While dbx stops: ends whoever took nothing of what waits for him from one look to the next, and
 * whoever is idle at both. Half the head of a request would otherwise hold the stop up.
 */
function endIdle(
  clients: ReadonlySet<End>,
  { every_ms, isIdle }: { every_ms: number; isIdle: (client: End) => boolean },
): Timer {
  const before = new WeakMap<End, number>();
  return setInterval(() => {
    for (const client of clients) {
      const { unsent_bytes } = client;
      const isStill = before.get(client) === unsent_bytes;
      const isOver = unsent_bytes > 0 || isIdle(client);
      if (isStill && isOver) client.socket.terminate();
      else if (isOver) before.set(client, unsent_bytes);
      else before.delete(client);
    }
  }, every_ms);
}

/** How many connections each address has; one that has none is not remembered. */
export function createCounts() {
  const counts = new Map<string, number>();
  const addresses = new WeakMap<object, string>();
  const of = (address: string): number => counts.get(address) ?? 0;
  return {
    of,
    add(client: object, address: string): void {
      addresses.set(client, address);
      counts.set(address, of(address) + 1);
    },
    remove(client: object): void {
      const address = addresses.get(client);
      if (address === undefined) return;
      if (of(address) > 1) counts.set(address, of(address) - 1);
      else counts.delete(address);
    },
  };
}

/** The end that a server behind the port writes to. */
const behind: SocketHandler<End> = {
  data({ data: server }, piece) {
    if (server.other !== null) send(server.other, piece);
  },
  drain: ({ data: server }) => sendMore(server),
  // A server that says no more takes no more either: it has closed the connection.
  end: ({ data: server }) => leave(server),
  error: (socket) => socket.terminate(),
};

function leave({ other }: End): void {
  if (other !== null) finish(other, "whole");
}

/** RFC 9113, section 3.4: what a client of HTTP/2 sends first. No method of HTTP/1.1 is `PRI`. */
const preface = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Null where more bytes are needed to tell. */
function protocolOf(early: Uint8Array): "http1" | "http2" | null {
  const length = Math.min(early.length, preface.length);
  for (let at = 0; at < length; at++) {
    if (early[at] !== preface[at]) return "http1";
  }
  return length === preface.length ? "http2" : null;
}

interface Counted {
  readonly count: (what: string) => void;
  readonly total: () => number;
}

/** Told at most once a second: a crowd at the door must not fill the disk as well. */
export function countThem(tell: (total: number, what: string) => void): Counted {
  let total = 0;
  let told_at = -Infinity;
  return {
    count(what) {
      total++;
      if (performance.now() - told_at < 1_000) return;
      told_at = performance.now();
      tell(total, what);
    },
    total: () => total,
  };
}
