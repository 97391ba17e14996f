// What others reach: HTTP and gRPC behind one port, or each on its own, and how both end.

import type { Log } from "../log.ts";
import { grpcEndpointOf, httpEndpointOf, type Config, type Endpoint } from "../model/config.ts";
import { limits } from "../model/limits.ts";
import { connectionsWithin, readProcessLimits } from "./descriptors.ts";
import type { Grpc } from "./grpc/grpc.ts";
import { assert } from "../model/error.ts";
import { cannotListen, listenHttp, portOf, type HttpListener } from "./http.ts";
import { listenShared, type Address, type SharedPort, type SharedPortOptions } from "./listener.ts";
import { makePlaces } from "./places.ts";
import type { RestOptions } from "./rest.ts";
import type { AlpnName, PortTls } from "./tls-socket.ts";

export interface PortOptions {
  readonly config: Pick<Config, "port" | "bind_addr" | "api" | "grpc">;
  readonly http: RestOptions;
  /** Null where gRPC is off. */
  readonly grpc: Grpc | null;
  /** The certificate for the next connection; null without TLS. */
  readonly pair: PortTls["pair"] | null;
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
  const { grpc, config, pair } = options;
  const own = grpcEndpointOf(config);
  const apart = grpc === null || own !== null;
  // TLS ends in the front, so whoever wants it has one.
  return apart && pair === null
    ? openApart(options, own ?? httpEndpointOf(config))
    : openBehind(options);
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

/** Fronts to which all clients come: one that both share, or one each. */
async function openBehind(options: PortOptions): Promise<PublicPort> {
  const { http, grpc } = options;
  const connections_max = connectionsWithin(readProcessLimits());
  const places = makePlaces(process.platform);
  const fronts: SharedPort[] = [];
  let listener: HttpListener | null = null;
  const leave = async (): Promise<void> => {
    await Promise.all([...fronts.map(({ close }) => close()), listener?.stop(), grpc?.stop()]);
    places.remove();
  };
  try {
    listener = listenHttp({ ...http, address: places.http1 });
    const http2 = grpc === null ? null : await listenGrpc(grpc, places.http2);
    const wanted = frontsOf(options.config, { http1: listener.address, http2 });
    for (const { endpoint, alpn, ...servers } of wanted) {
      const bounds = { ...limits, connections_max: Math.ceil(connections_max / wanted.length) };
      const tls = options.pair === null ? null : { pair: options.pair, alpn };
      fronts.push(listenAt(endpoint, { ...servers, tls, log: options.log, bounds }));
    }
  } catch (thrown) {
    await leave();
    throw thrown;
  }
  const [first, second] = fronts;
  assert(first !== undefined, "there is always a front for HTTP");
  return {
    port: first.port,
    grpc_port: grpc === null ? null : (second ?? first).port,
    connections_max,
    figures: () => sumOf(fronts.map(({ figures }) => figures())),
    async stop() {
      // Whoever still takes his answer has the time that those have whose answer is being made.
      const timer = setTimeout(() => fronts.forEach(({ cut }) => cut()), limits.drain_ms);
      await leave();
      clearTimeout(timer);
    },
  };
}

interface Front {
  readonly endpoint: Endpoint;
  /** Who gets what looks like HTTP/1.1, and like HTTP/2: the same where only one is served. */
  readonly http1: Address;
  readonly http2: Address;
  readonly alpn: readonly AlpnName[];
}

/** The front for HTTP first. */
function frontsOf(
  config: PortOptions["config"],
  { http1, http2 }: { readonly http1: Address; readonly http2: Address | null },
): Front[] {
  const endpoint = httpEndpointOf(config);
  const own = grpcEndpointOf(config);
  const http: Front = { endpoint, http1, http2: http1, alpn: ["http/1.1"] };
  if (http2 === null) return [http];
  if (own === null) return [{ endpoint, http1, http2, alpn: ["http/1.1", "h2"] }];
  return [http, { endpoint: own, http1: http2, http2, alpn: ["h2"] }];
}

function sumOf(figures: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [name, value] of figures.flatMap(Object.entries<number>)) {
    sums[name] = (sums[name] ?? 0) + value;
  }
  return sums;
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
