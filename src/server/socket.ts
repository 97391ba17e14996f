// The control socket: who may connect, and how it ends. What a connection says is commands.ts's
// business.

import { socketEndpointOf, type Config, type Endpoint } from "../model/config.ts";
import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import {
  createPeer,
  createService,
  type CommandBounds,
  type CommandOptions,
  type NodeListener,
  type Peer,
} from "./commands.ts";
import { connectionsWithin, readProcessLimits } from "./descriptors.ts";
import { cannotListen } from "./http.ts";
import { countThem, createCounts } from "./listener.ts";
import type { Rates } from "./rate.ts";

export interface SocketOptions extends Omit<CommandOptions, "greet"> {
  /** Other nodes; null where there are none. */
  readonly nodes: NodeListener | null;
  readonly endpoint: Endpoint;
  readonly rates: Pick<Rates, "connection" | "address">;
  readonly bounds: SocketBounds;
}

interface SocketBounds extends CommandBounds {
  readonly connections_max: number;
  readonly address_connections_max: number;
  readonly drain_ms: number;
}

export interface ControlSocket {
  readonly port: number;
  readonly figures: () => Record<string, number>;
  /** Takes nobody new, lets running commands finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

/**
 * Listens where the configuration says, when it returns; null where the socket is off. Throws
 * `unavailable` or `invalid_argument`, naming the key.
 */
export function openSocket(
  config: Pick<Config, "socket">,
  options: Omit<SocketOptions, "endpoint" | "bounds">,
): ControlSocket | null {
  const endpoint = socketEndpointOf(config);
  if (endpoint === null) return null;
  try {
    return listenSocket({ ...options, endpoint, bounds: boundsWithin(readProcessLimits()) });
  } catch (cause) {
    const { code, message, details } = cannotListen(endpoint, cause);
    const words =
      `control socket: ${message}; set socket.bind_addr in the configuration to another address, ` +
      "or socket.enabled to false";
    throw new DbxError(code, words, { ...details, key: "socket.bind_addr" }, { cause });
  }
}

function boundsWithin(processLimits: string): SocketBounds {
  // Out of what is left beside the public port and the listener of the command line.
  const connections_max = Math.min(
    limits.socket_connections_max,
    Math.ceil(connectionsWithin(processLimits) / 16),
  );
  return {
    connections_max,
    address_connections_max: Math.min(
      limits.socket_address_connections_max,
      Math.ceil(connections_max * 0.75),
    ),
    commands_max: limits.socket_commands_max,
    request_bytes_max: limits.socket_request_bytes_max,
    small_bytes: limits.socket_small_bytes,
    requests_bytes_max: limits.socket_requests_bytes_max,
    args_max: limits.socket_args_max,
    segments_max: limits.capnp_segments_max,
    pointers_max: limits.capnp_pointers_max,
    depth_max: limits.capnp_depth_max,
    preface_ms: limits.preface_ms,
    large_ms: limits.socket_large_ms,
    idle_ms: limits.idle_seconds_max * 1_000,
    stall_ms: limits.stall_seconds_max * 1_000,
    farewell_ms: limits.farewell_ms,
    drain_ms: limits.drain_ms,
  };
}

/** Listens when it returns. Throws what `Bun.listen` throws. */
export function listenSocket(options: SocketOptions): ControlSocket {
  const { endpoint, bounds, log, rates } = options;
  const peers = new Set<Peer>();
  const ofAddress = createCounts();
  const emptied = Promise.withResolvers<void>();
  const { nodes } = options;
  const greet = nodes?.greet ?? null;
  const service = createService({ ...options, greet }, { closing: () => closing });
  const refusals = countThem((refused, address) => {
    const limit = bounds.connections_max;
    log.warn("control socket: connection refused", { address, limit, refused });
  });
  let closing = false;

  const listener = Bun.listen<Peer>({
    ...endpoint,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        const { remoteAddress } = socket;
        socket.data = createPeer(socket, bounds);
        const isFull =
          peers.size >= bounds.connections_max ||
          ofAddress.of(remoteAddress) >= bounds.address_connections_max;
        if (closing || isFull || !rates.connection(remoteAddress)) {
          refusals.count(remoteAddress);
          socket.data.left = true;
          return socket.terminate();
        }
        peers.add(socket.data);
        ofAddress.add(socket.data, remoteAddress);
        service.wait(socket.data, bounds.preface_ms);
      },
      data({ data: peer }, piece) {
        // Dropped as it comes: a client that is cut off while it sends does not see the answer.
        if (peer.left || peer.over || peer.handed) return;
        peer.frames.push(piece);
        service.go(peer);
      },
      drain: ({ data: peer }) => service.flush(peer),
      end: ({ data: peer }) => service.end(peer),
      close({ data: peer }) {
        if (!peers.delete(peer)) return;
        ofAddress.remove(peer);
        service.forget(peer);
        if (closing && peers.size === 0) emptied.resolve();
      },
      error: (socket) => socket.terminate(),
    },
  });

  return {
    port: listener.port,
    figures: () => ({
      socket_connections: peers.size,
      socket_connections_refused: refusals.total(),
      ...service.figures(),
      ...nodes?.figures(),
    }),
    async stop() {
      if (!closing) listener.stop();
      closing = true;
      for (const peer of peers) service.hurry(peer);
      if (peers.size === 0) emptied.resolve();
      const timer = setTimeout(() => {
        for (const peer of peers) peer.socket.terminate();
      }, bounds.drain_ms);
      await Promise.all([emptied.promise, nodes?.stop()]);
      clearTimeout(timer);
    },
  };
}
