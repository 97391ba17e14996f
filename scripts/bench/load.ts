// The load generator, run as a process of its own: keep-alive connections on raw sockets, one
// request at a time on each, so that it takes as little as possible of the machine it shares with
// the server. In: a job as JSON in the first argument. Out: one line of JSON.

import { argv } from "node:process";

export interface Job {
  readonly port: number;
  readonly token: string;
  readonly connections: number;
  readonly seconds: number;
  /** Runs before anything is counted. */
  readonly warmup_seconds: number;
  readonly request: RequestKind;
  readonly aggregates: number;
  readonly distribution: "uniform" | "zipf";
  readonly payload_bytes: number;
  readonly batch_events: number;
  readonly seed: number;
}

export type RequestKind =
  | "append"
  | "batch"
  | "aggregate"
  | "events"
  | "list"
  | "log"
  | "health"
  | "graphql_append"
  | "graphql_aggregate"
  | "graphql_list";

export interface Load {
  readonly requests: number;
  readonly refused: number;
  readonly seconds: number;
  readonly per_second: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly max_ms: number;
}

/** Requests made before the run; connections take the next one each time, round and round. */
const requests_prepared = 20_000;
/** Latencies are counted in steps of 1 µs; longer ones than this count as this. */
const latency_us_max = 10_000_000;

interface Connection {
  started: number;
  /** Bytes of the answer still to come; -1 while its head is not complete, Infinity in chunks. */
  missing: number;
  head: Buffer | null;
  refused: boolean;
}

async function run(job: Job): Promise<Load> {
  const requests = prepare(job);
  const histogram = new Uint32Array(latency_us_max + 1);
  let next = 0;
  let counting = false;
  let stopped = false;
  let finished = 0;
  let refused = 0;

  const send = (socket: Bun.Socket<Connection>) => {
    const request = requests[next++ % requests.length];
    if (request === undefined) throw new Error("there is always a next request");
    socket.data.started = performance.now();
    socket.data.missing = -1;
    if (socket.write(request) !== request.length) throw new Error("a request did not fit");
  };

  const finish = (socket: Bun.Socket<Connection>) => {
    if (counting) {
      const us = Math.round((performance.now() - socket.data.started) * 1000);
      const step = Math.min(us, latency_us_max);
      histogram[step] = (histogram[step] ?? 0) + 1;
      finished++;
      if (socket.data.refused) refused++;
    }
    if (!stopped) send(socket);
  };

  const sockets = await Promise.all(
    Array.from({ length: job.connections }, () =>
      Bun.connect<Connection>({
        hostname: "127.0.0.1",
        port: job.port,
        data: { started: 0, missing: -1, head: null, refused: false },
        socket: {
          data: (socket, chunk) => receive(socket, chunk, finish),
          close: () => {
            if (!stopped) throw new Error("the server closed a connection");
          },
        },
      }),
    ),
  );
  sockets.forEach(send);
  await Bun.sleep(job.warmup_seconds * 1000);
  counting = true;
  const started = performance.now();
  await Bun.sleep(job.seconds * 1000);
  counting = false;
  stopped = true;
  const seconds = (performance.now() - started) / 1000;
  for (const socket of sockets) socket.end();

  return {
    requests: finished,
    refused,
    seconds,
    per_second: finished / seconds,
    p50_ms: quantile(histogram, finished * 0.5),
    p99_ms: quantile(histogram, finished * 0.99),
    max_ms: quantile(histogram, finished),
  };
}

/** Follows one answer: its head, then as many bytes as its Content-Length says. */
function receive(
  socket: Bun.Socket<Connection>,
  chunk: Buffer,
  finish: (socket: Bun.Socket<Connection>) => void,
): void {
  const { data } = socket;
  if (data.missing === -1) {
    const all = data.head === null ? chunk : Buffer.concat([data.head, chunk]);
    const end = all.indexOf("\r\n\r\n");
    if (end === -1) {
      data.head = Buffer.from(all);
      return;
    }
    const head = all.toString("latin1", 0, end);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    const chunked = /\r\ntransfer-encoding: chunked/i.test(head);
    if (length === undefined && !chunked) throw new Error(`an answer without length: ${head}`);
    const body = all.subarray(end + 4);
    data.head = null;
    // GraphQL refuses with status 200, and says so first.
    data.refused = !head.startsWith("HTTP/1.1 20") || body.subarray(0, 9).includes('{"errors"');
    data.missing = length === undefined ? Infinity : Number(length) - body.length;
  } else {
    data.missing -= chunk.length;
  }
  const isLast = data.missing === Infinity && chunk.subarray(-lastChunk.length).equals(lastChunk);
  if (data.missing === 0 || isLast) finish(socket);
}

const lastChunk = Buffer.from("\r\n0\r\n\r\n");

function quantile(histogram: Uint32Array, rank: number): number {
  let seen = 0;
  for (let us = 0; us < histogram.length; us++) {
    seen += histogram[us] ?? 0;
    if (seen >= rank && seen > 0) return us / 1000;
  }
  return 0;
}

function prepare(job: Job): Buffer[] {
  const random = seeded(job.seed);
  const pick = job.distribution === "zipf" ? zipf(job.aggregates, random) : uniform(job, random);
  const event = () => ({
    aggregate_type: "order",
    aggregate_id: `order-${pick()}`,
    event_type: "order-changed",
    payload: payload(job.payload_bytes, random),
  });
  // Anywhere in the first event of each aggregate, behind which there are others in any case.
  const after = () => Math.floor(random() * job.aggregates);
  const { request, batch_events } = job;
  // A batch is as long as many requests: fewer of them are enough.
  const count = request === "batch" ? requests_prepared / batch_events : requests_prepared;
  return Array.from({ length: count }, () => {
    if (request === "append") return write(job, "POST /v1/events", event());
    if (request === "batch") {
      const events = Array.from({ length: batch_events }, event);
      return write(job, "POST /v1/events/batch", { events });
    }
    if (request === "list") return write(job, "GET /v1/aggregates?take=100", null);
    if (request === "log") return write(job, `GET /v1/events?after=${after()}&take=100`, null);
    if (request === "health") return write(job, "GET /health", null);
    if (request === "graphql_append") {
      return write(job, "POST /graphql", {
        query: documents.append,
        variables: { input: event() },
      });
    }
    if (request === "graphql_list") return write(job, "POST /graphql", { query: documents.list });
    if (request === "graphql_aggregate") {
      const variables = { id: `order-${pick()}` };
      return write(job, "POST /graphql", { query: documents.aggregate, variables });
    }
    const path = `/v1/aggregates/order/order-${pick()}`;
    return write(job, `GET ${path}${request === "events" ? "/events?take=100" : ""}`, null);
  });
}

const aggregateFields = "{ aggregate_type aggregate_id version state merkle_root archived }";
const documents = {
  append: `mutation ($input: AppendEventInput!) { appendEvent(input: $input) {
    aggregate_type aggregate_id event_type payload version hash merkle_root position
    metadata { event_id created_at issued_by { group user } note } } }`,
  aggregate: `query ($id: String!) {
    aggregate(aggregate_type: "order", aggregate_id: $id) ${aggregateFields} }`,
  list: `{ aggregates(take: 10) ${aggregateFields} }`,
};

function write(job: Job, line: string, body: object | null): Buffer {
  const head = `${line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${job.token}\r\n`;
  if (body === null) return Buffer.from(`${head}\r\n`);
  const text = JSON.stringify(body);
  const length = `Content-Length: ${Buffer.byteLength(text)}\r\n`;
  return Buffer.from(`${head}Content-Type: application/json\r\n${length}\r\n${text}`);
}

/**
 * An object whose JSON has exactly `bytes` bytes: a few members of different kinds, then filling.
 */
export function payload(bytes: number, random: () => number): object {
  const facts = {
    status: ["open", "paid", "sent", "closed"][Math.floor(random() * 4)],
    amount: Math.round(random() * 1_000_000) / 100,
    lines: Math.floor(random() * 40),
    customer: { id: Math.floor(random() * 1_000_000), name: "Zoë Ångström" },
    filling: "",
  };
  const filling = bytes - Buffer.byteLength(JSON.stringify(facts));
  return { ...facts, filling: "x".repeat(Math.max(0, filling)) };
}

/** Mulberry32: small, and the same numbers for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function uniform(job: Job, random: () => number): () => number {
  return () => Math.floor(random() * job.aggregates);
}

/** Zipf with exponent 1, by its table of cumulated weights. */
export function zipf(count: number, random: () => number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) sums[rank] = sum += 1 / (rank + 1);
  return () => {
    const wanted = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

if (import.meta.main) {
  const job: Job = JSON.parse(argv[2] ?? "null");
  console.log(JSON.stringify(await run(job)));
  process.exit(0);
}
