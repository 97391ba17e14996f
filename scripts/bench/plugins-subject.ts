// The other side of plugins.ts, each a process of its own. `receive`: takes events over TCP, HTTP
// or gRPC, or as a program over its standard input, and writes down how long each was under way;
// `mute` accepts connections and never says a word. `append`: events at a steady rate that carry
// when they were sent.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerReadableStream,
} from "@grpc/grpc-js";
import { appendBatch } from "./child.ts";
import { subject_ms_max } from "./subject.ts";

export type ReceiveKind = "tcp" | "http" | "grpc" | "process" | "mute";

export interface ReceiveJob {
  readonly what: "receive";
  readonly kind: ReceiveKind;
  /** Where to write milliseconds, one a line; null where nobody asks. */
  readonly lags: string | null;
}

export interface PacedJob {
  readonly what: "append";
  readonly port: number;
  readonly token: string;
  readonly events_per_second: number;
  readonly batch_events: number;
  readonly seconds: number;
}

export interface PacedResult {
  readonly events: number;
  readonly per_second: number;
}

/** The same clock in every process. */
const now = (): number => performance.timeOrigin + performance.now();

/** Out: takes what arrives. What is cut in two is not counted. */
function createTaking(path: string | null): (bytes: Buffer) => void {
  if (path === null) return () => {};
  let lines = "";
  setInterval(() => {
    if (lines.length > 0) appendFileSync(path, lines);
    lines = "";
  }, 50);
  return (bytes) => {
    const at = now();
    for (const [, sent] of bytes.toString("latin1").matchAll(/"at":([\d.]{10,})[,}]/g))
      lines += `${(at - Number(sent)).toFixed(2)}\n`;
  };
}

async function receive({ kind, lags }: ReceiveJob): Promise<void> {
  const take = createTaking(lags);
  if (kind === "process") {
    for await (const chunk of Bun.stdin.stream()) take(Buffer.from(chunk));
    return;
  }
  console.log(JSON.stringify({ port: await listen(kind, take) }));
}

async function listen(kind: Exclude<ReceiveKind, "process">, take: (bytes: Buffer) => void) {
  if (kind === "grpc") return listenGrpc(take);
  const server =
    kind === "http"
      ? createServer((request, response) => {
          request.on("data", take);
          request.on("end", () => response.end());
        })
      : createTcpServer((socket) => {
          socket.on("error", () => {});
          if (kind === "tcp") socket.on("data", take);
        });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as AddressInfo).port;
}

function listenGrpc(take: (bytes: Buffer) => void): Promise<number> {
  const server = new Server();
  const same = (bytes: Buffer): Buffer => bytes;
  server.register<Buffer, Buffer>(
    "/eventdbx.replication.Replication/ApplyEvents",
    (call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      call.on("data", take);
      call.on("end", () => answer(null, Buffer.of()));
    },
    same,
    same,
    "clientStream",
  );
  return new Promise((done, fail) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? done(port) : fail(error),
    ),
  );
}

const filling = "x".repeat(200);

async function paced(job: PacedJob): Promise<PacedResult> {
  const { events_per_second, batch_events, seconds } = job;
  const batches = (events_per_second / batch_events) * seconds;
  const started = performance.now();
  const running = new Set<Promise<void>>();
  for (let sent = 0; sent < batches; sent++) {
    const due = started + (sent * batch_events * 1_000) / events_per_second;
    if (due > performance.now()) await Bun.sleep(due - performance.now());
    // A server that cannot keep up is not buried under what waits.
    while (running.size >= 64) await Promise.race(running);
    const events = Array.from({ length: batch_events }, (_, index) => ({
      aggregate_type: "order",
      aggregate_id: `order-${(sent * batch_events + index) % 10_000}`,
      event_type: "order-changed",
      payload: { at: now(), filling },
    }));
    const appending = appendBatch(job, events).finally(() => running.delete(appending));
    running.add(appending);
  }
  await Promise.all(running);
  const events = batches * batch_events;
  return { events, per_second: events / ((performance.now() - started) / 1_000) };
}

if (import.meta.main) {
  const job: ReceiveJob | PacedJob = JSON.parse(process.argv[2] ?? "null");
  if (job.what === "append") {
    setTimeout(() => process.exit(1), subject_ms_max);
    console.log(JSON.stringify(await paced(job)));
    process.exit(0);
  }
  process.on("SIGTERM", () => process.exit(0));
  await receive(job);
  if (job.kind === "process") process.exit(0);
}
