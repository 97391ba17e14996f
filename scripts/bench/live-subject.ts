// The followers of live.ts, a process of their own, on raw sockets. `idle`: so many that select
// what never comes; says when all are following and then stays until it is ended. `fanout`: so many
// that follow everything while events are appended at a steady rate. `catchup`: one that reads the
// log from its beginning.

import { appendBatch } from "./child.ts";
import { quantile, subject_ms_max } from "./subject.ts";

interface Target {
  readonly port: number;
  readonly token: string;
}

export type LiveJob = Target &
  (
    | { readonly what: "idle"; readonly followers: number }
    | {
        readonly what: "fanout";
        readonly followers: number;
        readonly events_per_second: number;
        readonly seconds: number;
      }
    | { readonly what: "catchup"; readonly events: number }
  );

export interface LiveResult {
  /** Deliveries, all followers together. */
  readonly per_second: number;
  /** From the append's answer to the follower; 0 where the event was there before it. */
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/** One follower: `onText` gets what comes, whole lines of it, from the first sign of life on. */
async function follow(
  { port, token }: Target,
  query: string,
  onText: (text: Buffer) => void,
): Promise<void> {
  const request =
    `GET /v1/events/stream?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
    `Authorization: Bearer ${token}\r\n\r\n`;
  let begun = false;
  await new Promise<void>((done, fail) => {
    void Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (socket) => void socket.write(request),
        data(_socket, chunk) {
          if (!begun && !chunk.includes("HTTP/1.1 200")) fail(new Error(chunk.toString()));
          // The head may come alone; the first id is the sign that the stream goes on from there.
          if (!begun && chunk.includes("id:")) done();
          begun = true;
          onText(chunk);
        },
        close: () => fail(new Error("the server ended a stream")),
      },
    }).catch(fail);
  });
}

/** Many connections at once would fill the backlog of the listener. */
const opening = 64;

async function followAll(
  target: Target,
  { followers, query }: { followers: number; query: string },
  onText: (text: Buffer) => void,
): Promise<void> {
  for (let first = 0; first < followers; first += opening) {
    const length = Math.min(opening, followers - first);
    await Promise.all(Array.from({ length }, () => follow(target, query, onText)));
  }
}

const idOf = /(?:^|\n)id: ?(\d+)\ndata/g;

async function fanout(job: LiveJob & { what: "fanout" }): Promise<LiveResult> {
  const answered = new Map<number, number>();
  const seen = new Map<number, number[]>();
  let deliveries = 0;
  await followAll(job, { followers: job.followers, query: "" }, (text) => {
    const now = performance.now();
    for (const [, id] of text.toString("latin1").matchAll(idOf)) {
      deliveries++;
      const times = seen.get(Number(id));
      if (times === undefined) seen.set(Number(id), [now]);
      else times.push(now);
    }
  });
  const { events_per_second, seconds } = job;
  const count = events_per_second * seconds;
  const started = performance.now();
  const appends: Promise<void>[] = [];
  for (let sent = 0; sent < count; sent++) {
    const due = started + (sent * 1000) / events_per_second;
    if (due > performance.now()) await Bun.sleep(due - performance.now());
    appends.push(append(job, answered));
  }
  await Promise.all(appends);
  const expected = count * job.followers;
  while (deliveries < expected) await Bun.sleep(10);
  const last = Math.max(...[...seen.values()].flat());
  const lags = [...seen].flatMap(([position, times]) => {
    const at = answered.get(position) ?? NaN;
    return times.map((time) => Math.max(0, time - at));
  });
  const sorted = Float64Array.from(lags);
  return {
    per_second: deliveries / ((last - started) / 1000),
    p50_ms: quantile(sorted, 0.5),
    p99_ms: quantile(sorted, 0.99),
  };
}

async function append({ port, token }: Target, answered: Map<number, number>): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/events`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      ...{ aggregate_type: "order", aggregate_id: "order-1", event_type: "order-changed" },
      payload: { filling: "x".repeat(230) },
    }),
  });
  const text = await response.text();
  const now = performance.now();
  const position = /"position":(\d+)/.exec(text)?.[1];
  if (position === undefined) throw new Error(text);
  answered.set(Number(position), now);
}

async function catchup(job: LiveJob & { what: "catchup" }): Promise<LiveResult> {
  const started = performance.now();
  const last = Buffer.from(`id: ${job.events}\n`);
  let rest: Buffer = Buffer.alloc(0);
  const { promise, resolve } = Promise.withResolvers<void>();
  await follow(job, "after=0", (text) => {
    const all = Buffer.concat([rest, text]);
    if (all.includes(last)) resolve();
    rest = all.subarray(-last.length);
  });
  await promise;
  const seconds = (performance.now() - started) / 1000;
  return { per_second: job.events / seconds, p50_ms: NaN, p99_ms: NaN };
}

/** Events of 250 bytes over many aggregates, in batches. */
export async function appendMany(target: Target, count: number): Promise<void> {
  for (let first = 0; first < count; first += 1_000) {
    const events = Array.from({ length: Math.min(1_000, count - first) }, (_, index) => ({
      aggregate_type: "order",
      aggregate_id: `order-${(first + index) % 10_000}`,
      event_type: "order-changed",
      payload: { filling: "x".repeat(230) },
    }));
    await appendBatch(target, events);
  }
}

if (import.meta.main) {
  const job: LiveJob = JSON.parse(process.argv[2] ?? "null");
  if (job.what === "idle") {
    await followAll(job, { ...job, query: "aggregate_type=nothing" }, () => {});
    console.log("following");
    process.on("SIGTERM", () => process.exit(0));
  } else {
    setTimeout(() => process.exit(1), subject_ms_max);
    console.log(JSON.stringify(job.what === "fanout" ? await fanout(job) : await catchup(job)));
    process.exit(0);
  }
}
