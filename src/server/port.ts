// What others reach: HTTP and gRPC behind one port, or each on its own, and how both end.

import type { Log } from "../log.ts";
import { grpcEndpointOf, httpEndpointOf, type Config, type Endpoint } from "../model/config.ts";
import { limits } from "../model/limits.ts";
import { connectionsWithin, readProcessLimits } from "./descriptors.ts";
import type { Grpc } from "./grpc/grpc.ts";
import { cannotListen, listenHttp, portOf, type HttpListener } from "./http.ts";
import { listenShared, type Address, type SharedPort, type SharedPortOptions } from "./listener.ts";
import { makePlaces } from "./places.ts";
import type { RestOptions } from "./rest.ts";

export interface PortOptions {
  readonly config: Pick<Config, "port" | "bind_addr" | "api" | "grpc">;
  readonly http: RestOptions;
  /** Null where gRPC is off. */
  readonly grpc: Grpc | null;
  readonly log: Log;
}

export interface PublicPort {
  readonly port: number;
  /** The same as `port` where gRPC shares it; null where gRPC is off. */
  readonly grpc_port: number | null;
  /** How many connections it takes at a time; null where Bun and gRPC listen themselves. */
  readonly connections_max: number | null;
  readonly figures: () => Record<string, number>;
  /** Stops accepting, lets what is running finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

/**
 * Listens when it returns. Throws `unavailable` or `invalid_argument`, naming the address, when it
 * cannot; nothing is left listening then.
 */
export function openPort(options: PortOptions): Promise<PublicPort> {
  const { grpc, config } = options;
  const own = grpcEndpointOf(config);
  return grpc === null || own !== null
    ? openApart(options, own ?? httpEndpointOf(config))
    : openShared(options, grpc);
}

/** Each where it was asked for, with nothing between it and its clients. */
async function openApart(
  { config, http, grpc }: PortOptions,
  endpoint: Endpoint,
): Promise<PublicPort> {
  const listener = listenHttp({ ...http, address: httpEndpointOf(config) });
  try {
    return {
      port: portOf(listener.address),
      grpc_port: grpc === null ? null : await grpc.listen(textOf(endpoint)),
      connections_max: null,
      figures: () => ({}),
      stop: async () => {
        await Promise.all([listener.stop(), grpc?.stop()]);
      },
    };
  } catch (thrown) {
    await listener.stop();
    throw thrown;
  }
}

async function openShared({ config, http, log }: PortOptions, grpc: Grpc): Promise<PublicPort> {
  const connections_max = connectionsWithin(readProcessLimits());
  const places = makePlaces(process.platform);
  let listener: HttpListener | null = null;
  let shared: SharedPort;
  try {
    listener = listenHttp({ ...http, address: places.http1 });
    const http2 = await listenGrpc(grpc, places.http2);
    const bounds = { ...limits, connections_max };
    shared = listenAt(httpEndpointOf(config), { http1: listener.address, http2, log, bounds });
  } catch (thrown) {
    await Promise.all([listener?.stop(), grpc.stop()]);
    places.remove();
    throw thrown;
  }
  const behind = listener;
  return {
    port: shared.port,
    grpc_port: shared.port,
    connections_max,
    figures: shared.figures,
    async stop() {
      // Whoever still takes his answer has the time that those have whose answer is being made.
      const timer = setTimeout(shared.cut, limits.drain_ms);
      await Promise.all([shared.close(), behind.stop(), grpc.stop()]);
      clearTimeout(timer);
      places.remove();
    },
  };
}

async function listenGrpc(grpc: Grpc, address: Address): Promise<Address> {
  if ("unix" in address) {
    await grpc.listen(`unix:${address.unix}`);
    return address;
  }
  return { ...address, port: await grpc.listen(textOf(address)) };
}

function listenAt(
  endpoint: Endpoint,
  options: Omit<SharedPortOptions, keyof Endpoint>,
): SharedPort {
  try {
    return listenShared({ ...endpoint, ...options });
  } catch (cause) {
    throw cannotListen(endpoint, cause);
  }
}

const textOf = ({ hostname, port }: Endpoint): string =>
  hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
