// The gRPC listener: a server of grpc-js with its bounds, and the services on it. Loaded when a
// server begins to listen, because grpc-js takes some hundred milliseconds.

import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { invalidArgument, unavailable, type DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import {
  loadContracts,
  loadReplicationContract,
  loadStatusPackage,
  type Contract,
} from "../../wire/contract.ts";
import { createReflection } from "../../wire/reflection.ts";
import type { SurfaceOptions } from "../surface.ts";
import { createAdmission } from "./admission.ts";
import { createCalls, type Calls } from "./calls.ts";
import { eventService } from "./events.ts";
import { healthService } from "./health.ts";
import type { IntakeBounds } from "./intake.ts";
import { reflectionService } from "./reflection.ts";
import { replicationService } from "./replication.ts";

export interface GrpcListener {
  readonly port: number;
  readonly stop: () => Promise<void>;
}

/** Rejects with `unavailable` or `invalid_argument` when it cannot listen. */
export async function listenGrpc(
  options: SurfaceOptions,
  { address, bounds }: { address: string; bounds: IntakeBounds },
): Promise<GrpcListener> {
  // What fails is thrown or logged here; grpc-js would write to stderr by itself.
  setLogVerbosity(logVerbosity.NONE);
  const open = new Set<string>();
  const large = new Set<string>();
  const admission = createAdmission(options, {
    kindOf: (path) => ({ isOpen: open.has(path), isLarge: large.has(path) }),
    bounds,
  });
  const calls = createCalls(options, admission);
  const server = new Server({
    ...channelOptions,
    interceptors: [admission.interceptor],
  });
  for (const { service, methods, handlers, isOpen } of servicesOf(options, calls)) {
    for (const { name } of methods) {
      if (isOpen || name === "Health") open.add(`/${service}/${name}`);
      if (name.startsWith("Append") || name === "ApplyEvents") large.add(`/${service}/${name}`);
    }
    server.addService(definitionOf(service, methods), handlers);
  }
  const port = await bind(server, address);
  let stopped: Promise<void> | undefined;
  return { port, stop: () => (stopped ??= stop(server, options)) };
}

const channelOptions = {
  // Without a token less (intake.ts), which every call is held to.
  "grpc.max_receive_message_length": limits.grpc_message_bytes_max,
  // The handlers say more clearly that an answer is too large.
  "grpc.max_send_message_length": -1,
  "grpc.max_concurrent_streams": limits.grpc_streams_max,
  "grpc.keepalive_time_ms": limits.grpc_ping_ms,
  "grpc.keepalive_timeout_ms": limits.grpc_ping_timeout_ms,
  // A registry of everything that runs, for a debugging service that is not served.
  "grpc.enable_channelz": 0,
};

function servicesOf(options: SurfaceOptions, calls: Calls) {
  const { dbx, eventdbx, health, reflection, reflectionAlpha } = loadContracts();
  const events = eventService(options, { calls, contract: dbx });
  const replication = loadReplicationContract();
  const services = [dbx.service, eventdbx.service, replication.service];
  const reflect = createReflection(
    [dbx, eventdbx, replication, health, reflection, reflectionAlpha],
    [loadStatusPackage()],
  );
  return [
    { ...dbx, handlers: events, isOpen: false },
    // The messages of both are the same on the wire.
    { ...eventdbx, handlers: events, isOpen: false },
    {
      ...replication,
      handlers: replicationService(options, { calls, contract: replication }),
      isOpen: false,
    },
    {
      ...health,
      handlers: healthService(options, { calls, contract: health, services }),
      isOpen: true,
    },
    ...[reflection, reflectionAlpha].map((contract) => ({
      ...contract,
      handlers: reflectionService(reflect, { calls, contract }),
      isOpen: true,
    })),
  ] satisfies (Contract & { handlers: UntypedServiceImplementation; isOpen: boolean })[];
}

/** Messages stay bytes for grpc-js: what reads them can say what is wrong with them. */
function definitionOf(service: string, methods: Contract["methods"]): ServiceDefinition {
  const asBytes = (bytes: Buffer): Buffer => bytes;
  return Object.fromEntries(
    methods.map(({ name, requestStream, responseStream }) => [
      name,
      {
        path: `/${service}/${name}`,
        requestStream,
        responseStream,
        requestSerialize: asBytes,
        requestDeserialize: asBytes,
        responseSerialize: asBytes,
        responseDeserialize: asBytes,
      },
    ]),
  );
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(Math.max(port, 0));
      else reject(cannotListen(address, error));
    });
  });
}

function cannotListen(address: string, cause: Error): DbxError {
  const inUse = /EADDRINUSE/.test(cause.message);
  if (inUse) return unavailable(`gRPC address ${address} is in use`, { address }, { cause });
  return invalidArgument(`cannot listen for gRPC on ${address}`, { address }, { cause });
}

async function stop(server: Server, { log, figures }: SurfaceOptions): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    log.warn("gRPC calls cut off", { running: figures.running });
    server.forceShutdown();
    resolve();
  }, limits.drain_ms);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
}
