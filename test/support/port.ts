// A shared port in front of two servers of the test's own, so that both ends of every connection
// can be looked at byte by byte.

import type { Socket, SocketHandler } from "bun";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { createLog } from "../../src/log.ts";
import { limits } from "../../src/model/limits.ts";
import {
  listenShared,
  type SharedPort,
  type SharedPortOptions,
} from "../../src/server/listener.ts";
import { unlimited } from "../../src/server/rate.ts";
import { realSystem } from "../../src/system.ts";
import { tempDir } from "./temp.ts";

/** RFC 9113, section 3.4, written out once more: the one in the source is what is tested. */
export const prefaceText = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** One end of a connection. */
export interface Peer {
  readonly socket: Socket<Peer>;
  /** Pieces as they came, and how many bytes of them. */
  readonly pieces: Uint8Array[];
  bytes: number;
  unsent: Uint8Array;
  /** The other side has shut down its writing half. */
  ended: boolean;
  closed: boolean;
}

export const textOf = (peer: Peer): string => Buffer.concat(peer.pieces).toString("latin1");

export function write(peer: Peer, piece: string | Uint8Array): void {
  peer.unsent = Buffer.concat([peer.unsent, Buffer.from(piece)]);
  flush(peer);
}

/** Sends what fits; the rest follows when there is room. The buffer is not copied. */
export function load(peer: Peer, bytes: Uint8Array): void {
  peer.unsent = bytes;
  flush(peer);
}

function flush(peer: Peer): void {
  if (peer.unsent.length === 0) return;
  peer.unsent = peer.unsent.subarray(Math.max(peer.socket.write(peer.unsent), 0));
}

/** Looks again after every turn of the event loop. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

const handlers = (opened: (peer: Peer) => void): SocketHandler<Peer> => ({
  open(socket) {
    const none = new Uint8Array();
    socket.data = { socket, pieces: [], bytes: 0, unsent: none, ended: false, closed: false };
    opened(socket.data);
  },
  data({ data: peer }, piece) {
    peer.pieces.push(piece);
    peer.bytes += piece.length;
  },
  drain: ({ data: peer }) => flush(peer),
  end: ({ data: peer }) => void (peer.ended = true),
  close: ({ data: peer }) => void (peer.closed = true),
  error: ({ data: peer }) => void (peer.closed = true),
});

export interface TestPort extends Disposable {
  readonly front: SharedPort;
  /** Connections that the servers behind have got, in their order. */
  readonly http1: readonly Peer[];
  readonly http2: readonly Peer[];
  readonly lines: readonly string[];
  readonly connect: () => Promise<Peer>;
  /** A client and what it is joined to after it has sent these bytes. */
  readonly joined: (first: string) => Promise<{ client: Peer; server: Peer }>;
  /** The servers behind are gone, as after a crash. */
  readonly stopServers: () => void;
}

export function openTestPort(
  bounds: Partial<SharedPortOptions["bounds"]> = {},
  /** Where the servers behind listen: on loopback it is on Windows. */
  behind: "sockets" | "loopback" = "sockets",
  tls: SharedPortOptions["tls"] = null,
): TestPort {
  const dir = tempDir();
  const lines: string[] = [];
  const log = createLog({
    least: "info",
    now: realSystem.now,
    write: (line) => void lines.push(line),
  });
  const serve = (name: string) => {
    const peers: Peer[] = [];
    const socket = handlers((peer) => void peers.push(peer));
    const options = { allowHalfOpen: true, socket };
    const stopped = (listener: { stop: (now: boolean) => void }) => () => listener.stop(true);
    if (behind === "sockets") {
      const address = { unix: join(dir.path, name) };
      return { peers, address, stop: stopped(Bun.listen<Peer>({ ...address, ...options })) };
    }
    const hostname = "127.0.0.1";
    const listener = Bun.listen<Peer>({ hostname, port: 0, ...options });
    return { peers, address: { hostname, port: listener.port }, stop: stopped(listener) };
  };
  const http1 = serve("1");
  const http2 = serve("2");
  const front = listenShared({
    hostname: "127.0.0.1",
    port: 0,
    http1: http1.address,
    http2: http2.address,
    tls,
    log,
    bounds: { ...limits, ...bounds },
    rates: unlimited,
    isBusy: () => true,
  });
  const connect = async (): Promise<Peer> => {
    const socket = handlers(() => {});
    const { data } = await Bun.connect<Peer>({
      ...{ hostname: "127.0.0.1", port: front.port, allowHalfOpen: true, socket },
    });
    return data;
  };
  const stopServers = () => [http1, http2].forEach(({ stop }) => stop());
  return {
    ...{ front, http1: http1.peers, http2: http2.peers, lines, connect, stopServers },
    async joined(first) {
      const client = await connect();
      const before = [http1.peers.length, http2.peers.length];
      write(client, first);
      await until(
        () => http1.peers.length + http2.peers.length > (before[0] ?? 0) + (before[1] ?? 0),
      );
      const server = http1.peers[before[0] ?? 0] ?? http2.peers[before[1] ?? 0];
      if (server === undefined) throw new Error("no server got the connection");
      await until(() => server.bytes >= first.length);
      return { client, server };
    },
    [Symbol.dispose]() {
      void front.close();
      front.cut();
      stopServers();
      dir[Symbol.dispose]();
    },
  };
}

/** The status of gRPC's `Health` as its client sees it; what HTTP/2 says where there is no gRPC. */
export async function grpcHealth(port: number, host = "127.0.0.1"): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const session = connectHttp2(`http://${host}:${port}`);
  session.on("error", (error) => resolve(`no gRPC: ${error.message}`));
  session.on("close", () => resolve("no gRPC: closed"));
  const stream = session.request({
    ":method": "POST",
    ":path": "/dbx.api.EventService/Health",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", (error) => resolve(`no gRPC: ${error.message}`));
  stream.on("trailers", (fields) => resolve(`status ${fields["grpc-status"]}`));
  stream.resume();
  // One frame without a message.
  stream.end(new Uint8Array(5));
  const answer = await promise;
  session.destroy();
  return answer;
}
