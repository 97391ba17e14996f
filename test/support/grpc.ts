// A real store behind a real gRPC listener, and a client of grpc-js that reads the contract from
// its file, as any client does.

import {
  credentials,
  loadPackageDefinition,
  Metadata,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { join } from "node:path";
import { root as checkout } from "../../scripts/root.ts";
import { fromWire } from "../../src/api/errors.ts";
import { createLog } from "../../src/log.ts";
import type { Config } from "../../src/model/config.ts";
import { limits } from "../../src/model/limits.ts";
import { createRequestNames } from "../../src/server/answer.ts";
import { createBodies } from "../../src/server/body.ts";
import { createFigures, type Figures } from "../../src/server/figures.ts";
import { createGrpc, type Grpc } from "../../src/server/grpc/grpc.ts";
import type { IntakeBounds } from "../../src/server/grpc/intake.ts";
import { unlimited } from "../../src/server/rate.ts";
import type { SurfaceOptions } from "../../src/server/surface.ts";
import { realSystem } from "../../src/system.ts";
import { openStore, root, type TestStore } from "./store.ts";
import { tempDir } from "./temp.ts";

export interface TestGrpc extends AsyncDisposable {
  readonly store: TestStore;
  readonly directory: string;
  readonly grpc: Grpc;
  readonly figures: Figures;
  readonly address: string;
  /** A token of group `admin`. */
  readonly token: string;
  readonly lines: string[];
  /** Begins to stop, as a server does before it stops its surfaces. */
  readonly drain: () => void;
}

export async function startTestGrpc(
  over: {
    config?: Partial<Config>;
    bounds?: Partial<IntakeBounds>;
    options?: Partial<SurfaceOptions>;
    directory?: string;
  } = {},
): Promise<TestGrpc> {
  const dir = over.directory === undefined ? tempDir() : null;
  const directory = over.directory ?? dir?.path ?? "";
  const store = await openStore(directory, { config: over.config ?? {} });
  const lines: string[] = [];
  const stopping = new AbortController();
  const figures = createFigures();
  const grpc = createGrpc(
    {
      dbx: store.dbx,
      live: store.live,
      authenticate: store.authenticate,
      payload_limit: () => store.settings().payload_limit,
      page_sizes: store.settings,
      nameRequest: createRequestNames("test"),
      bodies: createBodies({ body_ms_max: limits.body_ms_max, bytes_max: limits.bodies_bytes_max }),
      figures,
      rates: unlimited,
      log: createLog({
        least: "debug",
        now: realSystem.now,
        write: (line) => void lines.push(line),
      }),
      draining: () => stopping.signal.aborted,
      stopping: stopping.signal,
      ...over.options,
    },
    { ...limits, ...over.bounds },
  );
  const port = await grpc.listen("127.0.0.1:0");
  const { token } = await store.dbx.issueToken(root, { group: "admin", user: "jane" });
  return {
    ...{ store, directory, grpc, figures, token, lines },
    address: `127.0.0.1:${port}`,
    drain: () => stopping.abort(),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await grpc.stop();
      await store.close();
      dir?.[Symbol.dispose]();
    },
  };
}

/** A message as proto-loader gives it; tests look at what they expect it to be. */
export type Loose = ReturnType<typeof JSON.parse>;

const loading = {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: false,
  oneofs: true,
} as const;

export const protoPath = (name: string): string => join(checkout, "proto", `${name}.proto`);

/** A client of one service: `dbx.api.EventService` of `dbx.proto`. */
export function connect(
  address: string,
  { proto = "dbx", service = "dbx.api.EventService", options = {} } = {},
): Client & Record<string, Loose> {
  let made: Loose = loadPackageDefinition(loadSync(protoPath(proto), loading));
  for (const part of service.split(".")) made = made[part];
  return new made(address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    ...options,
  });
}

export function bearer(token: string | null, more: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  if (token !== null) metadata.set("authorization", `Bearer ${token}`);
  for (const [name, value] of Object.entries(more)) metadata.set(name, value);
  return metadata;
}

/** The answer of a unary call. Rejects with the ServiceError. */
export const ask = (
  client: Loose,
  name: string,
  message: object,
  metadata: Metadata,
  options: object = {},
): Promise<Loose> =>
  new Promise((resolve, reject) => {
    client[name](message, metadata, options, (error: ServiceError | null, answer: Loose) =>
      error === null ? resolve(answer) : reject(error),
    );
  });

/** How a call was refused; throws if it was not. */
export async function refusalOf(call: Promise<unknown>): Promise<ServiceError> {
  const outcome = await call.then(
    (answer) => new Error(`answered ${JSON.stringify(answer)}`),
    (error: ServiceError) => error,
  );
  if ("code" in outcome) return outcome;
  throw outcome;
}

/** The error that the server told, rebuilt from its trailer. */
export const toldError = (error: ServiceError): Loose => {
  const [text] = error.metadata.get("dbx-error");
  return fromWire(JSON.parse(String(text)));
};

export type AnyStream = ClientReadableStream<Loose> | ClientDuplexStream<Loose, Loose>;

/** All messages of a stream up to its end, and how it ended: `null` for well. */
export function drain(
  stream: AnyStream,
): Promise<{ messages: Loose[]; error: ServiceError | null }> {
  const messages: Loose[] = [];
  return new Promise((resolve) => {
    stream.on("data", (message) => messages.push(message));
    stream.on("error", (error: ServiceError) => resolve({ messages, error }));
    stream.on("end", () => resolve({ messages, error: null }));
  });
}
