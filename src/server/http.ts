// One HTTP listener: the app of rest.ts, on a port or behind the shared one, until it is drained.

import { assert, invalidArgument, unavailable, type DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Address } from "./listener.ts";
import { createRest, type RestOptions } from "./rest.ts";

export interface HttpListener {
  /** Where it listens, with the port that it got. */
  readonly address: Address;
  /** Stops accepting, lets running requests finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

/** Listens when it returns. Throws `unavailable` or `invalid_argument`, naming the address. */
export function listenHttp(options: RestOptions & { readonly address: Address }): HttpListener {
  const { address, log } = options;
  const app = createRest(options);
  // Given apart from the address, because the types know no time limits for sockets with a path;
  // Bun keeps them there as well.
  app.config.serve = {
    // Elysia's default would let two servers share a port, and each get half of the requests.
    reusePort: false,
    development: false,
    idleTimeout: limits.idle_seconds_max,
    // Bodies are counted by us: Bun's own refusal has no error shape.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  };
  try {
    app.listen(address);
  } catch (cause) {
    throw cannotListen(address, cause);
  }
  const { server } = app;
  assert(server !== null, "a server that listens is there");

  return {
    address: withPort(address, server.port),
    async stop() {
      const timer = setTimeout(() => {
        log.warn("requests cut off", { running: options.figures.running });
        void server.stop(true);
      }, limits.drain_ms);
      await server.stop();
      clearTimeout(timer);
    },
  };
}

function withPort(address: Address, port: number | undefined): Address {
  if ("unix" in address) return address;
  assert(port !== undefined, "a listening server has a port");
  return { ...address, port };
}

export function portOf(address: Address): number {
  assert("port" in address, "only what listens on a port is asked for it");
  return address.port;
}

/** What Bun throws when it cannot listen, in our words. */
export function cannotListen(address: Address, cause: unknown): DbxError {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : null;
  if ("unix" in address) {
    return unavailable(`cannot listen on ${address.unix}`, { ...address }, { cause });
  }
  const { hostname, port } = address;
  // Bun reports a host name that is no address as a port in use.
  const inUse = code === "EADDRINUSE" && port !== 0;
  if (inUse) return unavailable(`port ${port} on ${hostname} is in use`, { ...address }, { cause });
  if (code === "EACCES") {
    return unavailable(`may not listen on ${hostname}, port ${port}`, { ...address }, { cause });
  }
  return invalidArgument(`cannot listen on ${hostname}, port ${port}`, { ...address }, { cause });
}
