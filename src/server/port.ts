// What others reach: HTTP and gRPC behind one port, or each on its own, and how both end.

import type { Log } from "../log.ts";
import { grpcEndpointOf, httpEndpointOf, type Config, type Endpoint } from "../model/config.ts";
import { limits } from "../model/limits.ts";
import { connectionsWithin, readProcessLimits } from "./descriptors.ts";
import type { Grpc } from "./grpc/grpc.ts";
import { assert, DbxError } from "../model/error.ts";
import { cannotListen, listenHttp, type HttpListener } from "./http.ts";
import { listenShared, type Address, type SharedPort, type SharedPortOptions } from "./listener.ts";
import { makePlaces, portPlaces } from "./places.ts";
import type { RestOptions } from "./rest.ts";
import type { AlpnName, PortTls } from "./tls-socket.ts";

export interface PortOptions {
  readonly config: Pick<Config, "port" | "bind_addr" | "api" | "grpc" | "rate_limit">;
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
  /** How many connections it takes at a time. */
  readonly connections_max: number;
  readonly figures: () => Record<string, number>;
  /** Stops accepting, lets what is running finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

/**
 * Opens fronts to which all clients come, because neither Bun nor grpc-js bounds its connections:
 * one that both share, or one each. Listens when it returns. Throws `unavailable` or
 * `invalid_argument`, naming the address, when it cannot; nothing is left listening then.
 */
export async function openPort(options: PortOptions): Promise<PublicPort> {
  const { config, http, grpc } = options;
  const { rates } = http;
  const connections_max = connectionsWithin(readProcessLimits());
  // Whose a request is, is known by the port of loopback that the front asks from.
  const isCounted = config.rate_limit.per_address !== undefined;
  const places = isCounted ? portPlaces() : makePlaces(process.platform);
  const isBusy = () => http.figures.running > 0;
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
      const bounds = boundsOf(Math.ceil(connections_max / wanted.length));
      const tls = options.pair === null ? null : { pair: options.pair, alpn };
      const { log } = options;
      const front = { ...servers, tls, log, bounds, rates, isBusy };
      fronts.push(fronts.length === 0 ? listenAt(endpoint, front) : listenForGrpc(endpoint, front));
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

/** No address may take all of the room. */
const boundsOf = (connections_max: number) => ({
  ...limits,
  connections_max,
  address_connections_max: Math.min(
    limits.address_connections_max,
    Math.ceil(connections_max * 0.75),
  ),
});

/**
 * The listener of this machine's command line, on a free port of loopback. Its connections are few,
 * and whatever others of this machine do to it, the descriptors of the public port stay free.
 */
export function openControl(http: RestOptions, hostname: string): HttpListener {
  const places = makePlaces(process.platform);
  const behind = listenHttp({ ...http, address: places.http1 });
  // Fewer where descriptors are few: these come out of what is left beside the public port.
  const connections_max = Math.min(
    limits.control_connections_max,
    Math.ceil(connectionsWithin(readProcessLimits()) / 4),
  );
  const { address } = behind;
  const front = listenAt(
    { hostname, port: 0 },
    {
      ...{ http1: address, http2: address, tls: null, log: http.log, rates: http.rates },
      bounds: { ...limits, connections_max, address_connections_max: connections_max },
      isBusy: () => http.figures.running > 0,
    },
  );
  return {
    address: { hostname, port: front.port },
    async stop() {
      const timer = setTimeout(front.cut, limits.drain_ms);
      await Promise.all([front.close(), behind.stop()]);
      clearTimeout(timer);
      places.remove();
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

/** Throws what names the address as the configuration has it. */
function listenForGrpc(endpoint: Endpoint, options: Omit<SharedPortOptions, keyof Endpoint>) {
  try {
    return listenAt(endpoint, options);
  } catch (thrown) {
    if (!(thrown instanceof DbxError)) throw thrown;
    const { code, message, details } = thrown;
    const address = textOf(endpoint);
    throw new DbxError(code, `gRPC address ${address}: ${message}`, details, { cause: thrown });
  }
}

const textOf = ({ hostname, port }: Endpoint): string =>
  hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
