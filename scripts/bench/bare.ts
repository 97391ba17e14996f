// Bare servers, one of each kind that dbx is built on: what the framework alone can do, doing
// nothing. dbx cannot be faster than these, so each of its figures stands beside one of theirs.

import { join } from "node:path";
import { yoga } from "@elysiajs/graphql-yoga";
import { loadPackageDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { Elysia } from "elysia";
import { createSchema } from "graphql-yoga";
import { root } from "../root.ts";

export type BareKind = "echo" | "grpc" | "yoga";

/** Listens on a free port of loopback; gives the port. */
export const bareServers: Readonly<Record<BareKind, () => Promise<number>>> = {
  echo: async () => echo().listen(anywhere).server?.port ?? 0,
  grpc: bareGrpc,
  yoga: async () => bareYoga().listen(anywhere).server?.port ?? 0,
};

const anywhere = { hostname: "127.0.0.1", port: 0 } as const;

/**
 * An Elysia app that parses the body of a POST and gives it back, and answers a GET with the bytes
 * that dbx answered (told under /sample).
 */
function echo() {
  const samples = new Map<string, string>();
  const answer = (kind: string) =>
    new Response(samples.get(kind), { headers: { "Content-Type": "application/json" } });
  return new Elysia()
    .post("/v1/events", ({ body }) => body)
    .post("/v1/events/batch", ({ body }) => body)
    .post(
      "/sample/:kind",
      async ({ params, request }) => {
        samples.set(params.kind, await request.text());
        return "noted";
      },
      { parse: "none" },
    )
    .get("/health", () => ({ status: "ok" }))
    .get("/v1/aggregates", () => answer("list"))
    .get("/v1/aggregates/:type/:id", () => answer("aggregate"))
    .get("/v1/aggregates/:type/:id/events", () => answer("events"));
}

interface Appended {
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly event_type: string;
  readonly payload_json: string;
}

const record = {
  metadata: {
    event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    created_at: "2024-12-01T17:22:43.512345Z",
    issued_by: { group: "admin", user: "bench" },
  },
  version: 1,
  hash: "91db3bbe09ac39b92ba337733a4b7591eb23363a0d294216cf2b27e0fa94378a",
  merkle_root: "91db3bbe09ac39b92ba337733a4b7591eb23363a0d294216cf2b27e0fa94378a",
  position: 1,
};

/** grpc-js over the same contract: what is sent comes back, and a stream is counted. */
async function bareGrpc(): Promise<number> {
  const definition = loadSync(join(root, "proto/dbx.proto"), { keepCase: true });
  const service = definition["dbx.api.EventService"];
  if (service === undefined || !("AppendEvent" in service)) throw new Error("no such service");
  loadPackageDefinition(definition);
  const server = new Server();
  server.addService(service, {
    AppendEvent: (call: ServerUnaryCall<Appended, object>, done: sendUnaryData<object>) =>
      done(null, { event: { ...call.request, ...record } }),
    AppendStream: (call: ServerDuplexStream<{ events: Appended[] }, object>) => {
      let acknowledged = 0;
      call.on("data", ({ events }: { events: Appended[] }) => {
        acknowledged += events.length;
        call.write({ acknowledged, position: acknowledged });
      });
      call.on("end", () => call.end());
    },
  });
  return new Promise((done, fail) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? done(port) : fail(error),
    );
  });
}

const aggregate = {
  ...{ aggregate_type: "order", aggregate_id: "order-1", version: 1, archived: false },
  state: { status: "open", filling: "x".repeat(200) },
  merkle_root: record.merkle_root,
};

/** The GraphQL plugin over a schema of the same shape, with constant answers. */
function bareYoga() {
  return new Elysia().use(
    yoga({
      ...{ context: () => ({}), plugins: [], graphiql: false, landingPage: false },
      ...{ maskedErrors: false, logging: false, multipart: false, batching: false },
      parserCache: { documentCache: new Map(), errorCache: new Map() },
      schema: createSchema({
        typeDefs: `
        scalar JSON
        scalar Long
        type Aggregate { aggregate_type: String! aggregate_id: String! version: Long! state: JSON!
          merkle_root: String! archived: Boolean! }
        type Issuer { group: String! user: String! }
        type Metadata { event_id: String! created_at: String! issued_by: Issuer note: String }
        type EventRecord { aggregate_type: String! aggregate_id: String! event_type: String!
          payload: JSON metadata: Metadata! version: Long! hash: String! merkle_root: String!
          position: Long! }
        input AppendEventInput { aggregate_type: String! aggregate_id: String! event_type: String!
          payload: JSON note: String event_id: String expected_version: JSON }
        type Query {
          aggregate(aggregate_type: String!, aggregate_id: String!): Aggregate
          aggregates(skip: Int, take: Int): [Aggregate!]! }
        type Mutation { appendEvent(input: AppendEventInput!): EventRecord! }`,
        resolvers: {
          Query: {
            aggregate: () => aggregate,
            aggregates: () => Array.from({ length: 10 }, () => aggregate),
          },
          Mutation: {
            appendEvent: (_parent: unknown, { input }: Readonly<Record<string, unknown>>) =>
              typeof input === "object" ? { ...input, ...record } : null,
          },
        },
      }),
    }),
  );
}
