// Starts and drains the listeners: the public one, the control socket, and one on loopback with
// every route, through which this machine's own command line gets in whatever surfaces are on. All
// ask for tokens.

import type { Dbx } from "../api/dbx.ts";
import type { Live } from "../api/live.ts";
import type { System } from "../system.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import {
  grpcEndpointOf,
  httpEndpointOf,
  socketEndpointOf,
  surfacesOn,
  type Config,
} from "../model/config.ts";
import { limits } from "../model/limits.ts";
import { createAdminKey, type AdminKey } from "./admin-key.ts";
import { createRequestNames } from "./answer.ts";
import { createBodies } from "./body.ts";
import type { NodeListener, RunCommand } from "./commands.ts";
import { createCors } from "./cors.ts";
import { createFigures } from "./figures.ts";
import { docsMounts } from "./docs.ts";
import { graphqlMounts } from "./graphql/graphql.ts";
import { createGrpc } from "./grpc/grpc.ts";
import { portOf, type HttpListener } from "./http.ts";
import { openControl, openPort, type PublicPort } from "./port.ts";
import { createRates, unlimited } from "./rate.ts";
import type { RestOptions } from "./rest.ts";
import { createSessions } from "./session.ts";
import { openSocket, type ControlSocket } from "./socket.ts";
import { stopMounts } from "./stop.ts";
import { streamMounts } from "./stream.ts";
import type { SurfaceOptions } from "./surface.ts";
import { openCertificates, pairPathsOf, type Certificates } from "./tls.ts";

/** The part of an opened store that the surfaces use. */
export interface Served {
  readonly dbx: Dbx;
  readonly live: Live;
  readonly authenticate: (token: string) => Actor;
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
  /** Null where nobody may prove anything. */
  readonly machineKey: Uint8Array | null;
  readonly settings: () => Pick<
    Config,
    "admin" | "payload_limit" | "list_page_size" | "page_limit" | "rate_limit" | "remotes"
  >;
}

export interface StartOptions {
  readonly opened: Served;
  readonly config: Pick<
    Config,
    "port" | "bind_addr" | "api" | "grpc" | "cors" | "tls" | "rate_limit" | "socket"
  >;
  /** Makes what runs the commands of the control socket; null where nobody does: then it is off. */
  readonly commands: ((reach: CommandReach) => RunCommand) | null;
  /** Makes what takes other nodes on the control socket; none may come where it is missing. */
  readonly nodes?: (reach: NodeReach) => NodeListener;
  /** Begins the end of the server; its machine's command line may ask for it where it is given. */
  readonly stop?: (by: string) => void;
  readonly log: Log;
  readonly system: Pick<System, "now" | "random">;
  readonly version: string;
}

/** What commands of the control socket may ask. */
interface CommandReach extends Pick<Served, "dbx" | "authenticate"> {
  /** Takes a defect, which whoever asked must not see. */
  readonly failed: (error: unknown) => void;
}

/** What other nodes are served with. */
interface NodeReach {
  readonly dbx: Dbx;
  /** Those that are known at the time. */
  readonly remotes: () => Config["remotes"];
  readonly log: Log;
}

export interface Server {
  readonly port: number;
  /** The same as `port` where gRPC shares it; null where gRPC is off. */
  readonly grpc_port: number | null;
  readonly control_port: number;
  /** Null where the control socket is off. */
  readonly socket_port: number | null;
  /** Reads the certificate's files now; nothing without TLS. Never throws. */
  readonly reloadCertificate: () => void;
  /** Stops accepting, lets running requests finish for `drain_ms` at most. May be called again. */
  readonly stop: () => Promise<void>;
}

const loopback = "127.0.0.1";

/**
 * Listens when it returns. Throws `unavailable` or `invalid_argument`, naming the address, when it
 * cannot.
 */
export async function startServer(options: StartOptions): Promise<Server> {
  const { config, log, version } = options;
  const stopping = new AbortController();
  const counts: Count[] = [];
  const certificates = certificatesOf(options);
  const shared = sharedOf(options, { counts, stopping: stopping.signal });
  const adminKey = adminKeyOf(options);
  counts.push(adminKey.figures);
  let publicPort: PublicPort;
  try {
    publicPort = await openPort({
      config,
      http: publicHttp(shared, { ...options, adminKey }),
      grpc: config.api.grpc ? createGrpc(shared) : null,
      pair: certificates?.current ?? null,
      log,
    });
  } catch (thrown) {
    certificates?.close();
    throw thrown;
  }
  counts.push(publicPort.figures);
  if (certificates !== null) {
    counts.push(() => {
      const { expires_at: tls_expires_at } = certificates.current();
      const tls_fault = certificates.fault();
      return { tls_expires_at, ...(tls_fault === null ? {} : { tls_fault }) };
    });
  }
  let control: HttpListener | null = null;
  let socket: ControlSocket | null;
  try {
    control = listenControl(shared, options);
    socket = listenForCommands(shared, options);
  } catch (thrown) {
    certificates?.close();
    await Promise.all([publicPort.stop(), control?.stop()]);
    throw thrown;
  }
  if (socket !== null) counts.push(socket.figures);
  const { port, grpc_port, connections_max } = publicPort;
  log.info("listening", {
    ...{ address: config.bind_addr, port, surfaces: surfacesOn(config.api).join(",") },
    ...(grpc_port === null
      ? {}
      : { grpc: (grpcEndpointOf(config) ?? httpEndpointOf(config)).hostname, grpc_port }),
    ...(socket === null
      ? {}
      : { socket: socketEndpointOf(config)?.hostname, socket_port: socket.port }),
    connections_max,
    tls: certificates !== null,
    version,
  });

  let stopped: Promise<void> | undefined;
  return {
    port,
    grpc_port,
    control_port: portOf(control.address),
    socket_port: socket?.port ?? null,
    reloadCertificate: () => certificates?.reload(),
    stop() {
      stopping.abort();
      certificates?.close();
      stopped ??= Promise.all([publicPort.stop(), control.stop(), socket?.stop()]).then(() => {
        log.info("stopped listening", { port });
      });
      return stopped;
    },
  };
}

/** As the configuration has it at the time. */
function adminKeyOf({ opened, system, log }: StartOptions): AdminKey {
  const { random } = system;
  const hash = () => opened.settings().admin.master_key_hash;
  const verify = (key: string, wanted: string) => Bun.password.verify(key, wanted);
  return createAdminKey({ hash, verify, random, now: () => performance.now(), log });
}

/** Null without TLS. */
function certificatesOf({ config, log, system }: StartOptions): Certificates | null {
  const paths = pairPathsOf(config);
  if (paths === null) return null;
  return openCertificates({ paths, log, now: system.now, look_ms: limits.tls_look_ms });
}

type Count = () => Record<string, number | string>;

/** What all surfaces are handed. In: where counts for the status are put, and the end to come. */
function sharedOf(
  { opened, log }: StartOptions,
  { counts, stopping }: { counts: Count[]; stopping: AbortSignal },
): SurfaceOptions {
  const { authenticate, settings, live } = opened;
  const figures = createFigures();
  const bodies = createBodies({
    body_ms_max: limits.body_ms_max,
    bytes_max: limits.bodies_bytes_max,
  });
  counts.push(figures.read, () => ({ http_body_bytes: bodies.held() }));
  return {
    dbx: withFigures(opened.dbx, counts),
    live,
    authenticate,
    payload_limit: () => settings().payload_limit,
    page_sizes: settings,
    // When the process began, to the millisecond: no two runs on one data directory share it.
    nameRequest: createRequestNames(Math.floor(performance.timeOrigin).toString(36)),
    bodies,
    figures,
    rates: createRates({ limits: () => settings().rate_limit, now: () => performance.now() }),
    log,
    draining: () => stopping.aborted,
    stopping,
  };
}

/** What the server itself counts is part of its status. */
const withFigures = (dbx: Dbx, counts: readonly Count[]): Dbx => ({
  ...dbx,
  async serverStatus(actor, input) {
    const status = await dbx.serverStatus(actor, input);
    const figures = counts.flatMap((read) => Object.entries(read()));
    return { ...status, figures: { ...status.figures, ...Object.fromEntries(figures) } };
  },
});

/** Administration and the pages about the API are there whatever surfaces are on. */
function publicHttp(
  shared: SurfaceOptions,
  { config, version, adminKey }: StartOptions & { readonly adminKey: AdminKey },
): RestOptions {
  const { rest, graphql } = config.api;
  const surfaces: RestOptions["surfaces"] = rest ? ["rest", "admin"] : ["admin"];
  return {
    ...shared,
    surfaces,
    mounts: [
      ...(rest ? streamMounts(shared) : []),
      ...(graphql ? graphqlMounts(shared) : []),
      ...docsMounts({ version, surfaces }),
    ],
    cors: createCors(config.cors.origins),
    adminKey,
    openSession: null,
  };
}

/** What a command asks counts against its token's rate as a request elsewhere does. */
function listenForCommands(
  { dbx, authenticate, rates, log }: SurfaceOptions,
  { config, commands, nodes: listenFor, opened }: StartOptions,
): ControlSocket | null {
  if (commands === null) return null;
  const counted = (token: string): Actor => {
    const actor = authenticate(token);
    rates.token(actor);
    return actor;
  };
  const failed = (error: unknown): void => {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error("command failed", { surface: "socket", reason });
  };
  const run = commands({ dbx, authenticate: counted, failed });
  const nodes = listenFor?.({ dbx, remotes: () => opened.settings().remotes, log }) ?? null;
  return openSocket(config, { run, authenticate, rates, failed, log, nodes });
}

function listenControl(shared: SurfaceOptions, { opened, stop }: StartOptions): HttpListener {
  const { authenticate, machineKey, openSession } = opened;
  const http: RestOptions = {
    ...shared,
    rates: unlimited,
    surfaces: ["rest", "admin"],
    mounts: stop === undefined ? [] : stopMounts({ authenticate, stop }),
    cors: null,
    adminKey: null,
    openSession: machineKey === null ? null : createSessions({ openSession, machineKey }),
  };
  return openControl(http, loopback);
}
