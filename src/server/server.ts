// Starts and drains the listeners: the public one, and one on loopback with every route, through
// which this machine's own command line gets in whatever surfaces are on. Both ask for tokens.

import type { Dbx } from "../api/dbx.ts";
import type { Live } from "../api/live.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import type { Config } from "../model/config.ts";
import { assert, invalidArgument, unavailable, type DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { createRequestNames } from "./answer.ts";
import { createBodies } from "./body.ts";
import { createCors } from "./cors.ts";
import { createFigures } from "./figures.ts";
import { createRest, type RestOptions } from "./rest.ts";
import { docsMounts } from "./docs.ts";
import { graphqlMounts } from "./graphql/graphql.ts";
import { createSessions } from "./session.ts";
import { streamMounts } from "./stream.ts";
import type { SurfaceOptions } from "./surface.ts";

/** The part of an opened store that the surfaces use. */
export interface Served {
  readonly dbx: Dbx;
  readonly live: Live;
  readonly authenticate: (token: string) => Actor;
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
  /** Null where nobody may prove anything. */
  readonly machineKey: Uint8Array | null;
  readonly settings: () => Pick<Config, "payload_limit">;
}

export interface StartOptions {
  readonly opened: Served;
  readonly config: Pick<Config, "port" | "bind_addr" | "api" | "cors">;
  readonly log: Log;
  readonly version: string;
}

export interface Server {
  readonly port: number;
  readonly control_port: number;
  /** Stops accepting, lets running requests finish for `drain_ms` at most. May be called again. */
  readonly stop: () => Promise<void>;
}

const loopback = "127.0.0.1";

/**
 * Listens when it returns. Throws `unavailable` or `invalid_argument`, naming the address, when it
 * cannot.
 */
export async function startServer(options: StartOptions): Promise<Server> {
  const { opened, config, log, version } = options;
  const { authenticate, settings, machineKey } = opened;
  const figures = createFigures();
  const bodies = createBodies({
    body_ms_max: limits.body_ms_max,
    bytes_max: limits.bodies_bytes_max,
  });
  const stopping = new AbortController();
  const shared: SurfaceOptions = {
    dbx: withFigures(opened.dbx, () => ({ ...figures.read(), http_body_bytes: bodies.held() })),
    live: opened.live,
    authenticate,
    payload_limit: () => settings().payload_limit,
    // When the process began, to the millisecond: no two runs on one data directory share it.
    nameRequest: createRequestNames(Math.floor(performance.timeOrigin).toString(36)),
    bodies,
    figures,
    log,
    draining: () => stopping.signal.aborted,
    stopping: stopping.signal,
  };
  const { rest, graphql } = config.api;
  const mounts = [
    ...(rest ? streamMounts(shared) : []),
    ...(graphql ? graphqlMounts(shared) : []),
    ...docsMounts(),
  ];
  const listeners: Listener[] = [];
  try {
    listeners.push(
      listen({
        ...shared,
        hostname: config.bind_addr.replace(/^\[(.*)\]$/, "$1"),
        port: config.port,
        surfaces: rest ? ["rest", "admin"] : ["admin"],
        mounts,
        cors: createCors(config.cors.origins),
        openSession: null,
      }),
      listen({
        ...shared,
        hostname: loopback,
        port: 0,
        surfaces: ["rest", "admin"],
        mounts: [],
        cors: null,
        openSession: machineKey === null ? null : createSessions({ ...opened, machineKey }),
      }),
    );
  } catch (thrown) {
    await Promise.all(listeners.map(({ stop }) => stop()));
    throw thrown;
  }
  const [main, control] = listeners;
  assert(main !== undefined && control !== undefined, "both listeners are there");
  log.info("listening", { address: config.bind_addr, port: main.port, version });

  let stopped: Promise<void> | undefined;
  return {
    port: main.port,
    control_port: control.port,
    stop() {
      stopping.abort();
      stopped ??= Promise.all(listeners.map(({ stop }) => stop())).then(() => {
        log.info("stopped listening", { port: main.port });
      });
      return stopped;
    },
  };
}

/** What the server itself counts is part of its status. */
const withFigures = (dbx: Dbx, read: () => Record<string, number>): Dbx => ({
  ...dbx,
  async serverStatus(actor, input) {
    const status = await dbx.serverStatus(actor, input);
    return { ...status, figures: { ...status.figures, ...read() } };
  },
});

interface Listener {
  readonly port: number;
  readonly stop: () => Promise<void>;
}

function listen(options: RestOptions & { hostname: string; port: number }): Listener {
  const { hostname, port, log } = options;
  const app = createRest(options);
  try {
    app.listen({
      hostname,
      port,
      // Elysia's default would let two servers share a port, and each get half of the requests.
      reusePort: false,
      development: false,
      idleTimeout: limits.idle_seconds_max,
      // Bodies are counted by us: Bun's own refusal has no error shape.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    });
  } catch (cause) {
    throw cannotListen({ hostname, port }, cause);
  }
  const { server } = app;
  assert(server !== null && server.port !== undefined, "a listening server has a port");

  return {
    port: server.port,
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

function cannotListen(address: { hostname: string; port: number }, cause: unknown): DbxError {
  const { hostname, port } = address;
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : null;
  // Bun reports a host name that is no address as a port in use.
  const inUse = code === "EADDRINUSE" && port !== 0;
  if (inUse) return unavailable(`port ${port} on ${hostname} is in use`, { ...address }, { cause });
  if (code === "EACCES") {
    return unavailable(`may not listen on ${hostname}, port ${port}`, { ...address }, { cause });
  }
  return invalidArgument(`cannot listen on ${hostname}, port ${port}`, { ...address }, { cause });
}
