// The clients of grpc.ts, a process of its own. `unary`: so many appends at a time over a few
// connections, each waiting for its answer. `stream`: one AppendStream from its first message to
// the acknowledgement of its last. `subscribe`: the log from its beginning.

import { join } from "node:path";
import { loadSync } from "@grpc/proto-loader";
import { root } from "../root.ts";
import { connectH2, type Call } from "./h2.ts";
import { prefixed } from "./h2-frames.ts";
import { payload, seeded, zipf } from "./load.ts";
import { quantile, subject_ms_max } from "./subject.ts";

interface Target {
  readonly port: number;
  readonly token: string;
}

export type GrpcJob = Target &
  (
    | { readonly what: "unary"; readonly calls: number; readonly seconds: number; seed: number }
    | { readonly what: "stream"; readonly events: number; readonly message: number; seed: number }
    | { readonly what: "subscribe"; readonly events: number }
  );

export interface GrpcResult {
  readonly per_second: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

const aggregates = 10_000;
/** Used round and round: a heap full of requests would slow down the client. */
const prepared = 10_000;
/** Calls at a time on one connection. */
const calls_each = 16;
/** Bytes ahead of the server, so that a stream never waits for its client. */
const ahead_bytes = 262_144;

const definition = loadSync(join(root, "proto/dbx.proto"), { keepCase: true, longs: Number });
const service = definition["dbx.api.EventService"];
if (service === undefined || !("AppendEvent" in service)) throw new Error("no such service");
const methods = service;

function method(name: "AppendEvent" | "AppendStream" | "Subscribe") {
  const found = methods[name];
  if (typeof found !== "object" || !("requestSerialize" in found)) throw new Error(`no ${name}`);
  return found;
}

function eventsOf(seed: number): object[] {
  const random = seeded(seed);
  const pick = zipf(aggregates, random);
  return Array.from({ length: prepared }, () => ({
    aggregate_type: "order",
    aggregate_id: `order-${pick()}`,
    event_type: "order-changed",
    payload_json: JSON.stringify(payload(250, random)),
  }));
}

async function unary(job: GrpcJob & { what: "unary" }): Promise<GrpcResult> {
  const { path, requestSerialize } = method("AppendEvent");
  const requests = eventsOf(job.seed).map((event) => prefixed(requestSerialize(event)));
  const connections = await Promise.all(
    Array.from({ length: Math.ceil(job.calls / calls_each) }, () => connectH2({ ...job, path })),
  );
  const latencies: number[] = [];
  let next = 0;
  let counting = false;
  let stopped = false;
  let refused = 0;
  const ask = (connection: (typeof connections)[number]) => {
    const request = requests[next++ % requests.length];
    if (request === undefined) throw new Error("there is always a next request");
    const started = performance.now();
    connection.call(request, {
      last: true,
      onMessage: () => {},
      onEnd(messages) {
        if (messages !== 1) refused++;
        if (counting) latencies.push(performance.now() - started);
        if (!stopped) ask(connection);
      },
    });
  };
  for (let call = 0; call < job.calls; call++) {
    const connection = connections[call % connections.length];
    if (connection !== undefined) ask(connection);
  }
  await Bun.sleep(Math.min(1, job.seconds / 2) * 1000);
  counting = true;
  const started = performance.now();
  await Bun.sleep(job.seconds * 1000);
  const seconds = (performance.now() - started) / 1000;
  counting = false;
  stopped = true;
  if (refused > 0) throw new Error(`${refused} calls were refused`);
  return { ...quantiles(latencies), per_second: latencies.length / seconds };
}

const quantiles = (latencies: readonly number[]) => {
  const sorted = Float64Array.from(latencies);
  return { p50_ms: quantile(sorted, 0.5), p99_ms: quantile(sorted, 0.99) };
};

async function stream(job: GrpcJob & { what: "stream" }): Promise<GrpcResult> {
  const { path, requestSerialize, responseDeserialize } = method("AppendStream");
  const events = eventsOf(job.seed);
  const messages: Buffer[] = [];
  for (let first = 0; first + job.message <= events.length; first += job.message) {
    messages.push(prefixed(requestSerialize({ events: events.slice(first, first + job.message) })));
  }
  const connection = await connectH2({ ...job, path });
  const count = Math.ceil(job.events / job.message);
  const message = (index: number): Buffer => {
    const found = messages[index % messages.length];
    if (found === undefined) throw new Error("there is always a next message");
    return found;
  };
  let sent = 1;
  const feed = (call: Call) => {
    while (sent < count && call.waiting() < ahead_bytes) {
      call.send(message(sent++), { last: sent === count });
    }
  };
  const started = performance.now();
  let last: Buffer = Buffer.alloc(0);
  await new Promise<void>((done) => {
    const call = connection.call(message(0), {
      last: count === 1,
      onMessage: (bytes) => {
        last = Buffer.from(bytes);
        feed(call);
      },
      onEnd: () => done(),
    });
    // What a window lets go again is not told here: look now and then until all is sent.
    const timer = setInterval(() => {
      feed(call);
      if (sent === count) clearInterval(timer);
    }, 1);
    feed(call);
  });
  const seconds = (performance.now() - started) / 1000;
  const { acknowledged }: { acknowledged?: unknown } = responseDeserialize(last);
  const expected = count * job.message;
  if (acknowledged !== expected) throw new Error(`${acknowledged} of ${expected} acknowledged`);
  return { per_second: expected / seconds, p50_ms: NaN, p99_ms: NaN };
}

/** Field 1 of a SubscribeResponse, an event; its other one is a sign of life. */
const event_tag = 0x0a;

async function subscribe(job: GrpcJob & { what: "subscribe" }): Promise<GrpcResult> {
  const { path, requestSerialize } = method("Subscribe");
  const connection = await connectH2({ ...job, path });
  const started = performance.now();
  let seen = 0;
  await new Promise<void>((done, fail) => {
    connection.call(prefixed(requestSerialize({ after: 0 })), {
      last: true,
      onMessage: (bytes) => {
        if (bytes[0] === event_tag && ++seen === job.events) done();
      },
      onEnd: () => fail(new Error(`the stream ended after ${seen} events`)),
    });
  });
  return { per_second: seen / ((performance.now() - started) / 1000), p50_ms: NaN, p99_ms: NaN };
}

if (import.meta.main) {
  const job: GrpcJob = JSON.parse(process.argv[2] ?? "null");
  setTimeout(() => process.exit(1), subject_ms_max);
  const result =
    job.what === "unary" ? unary(job) : job.what === "stream" ? stream(job) : subscribe(job);
  console.log(JSON.stringify(await result));
  process.exit(0);
}
