// Measures dbx over REST, beside an Elysia route that only parses and echoes the same body in the
// same run. Server, echo and load generator are processes of their own; on a machine with two cores
// they share both. Run: bun scripts/bench/rest.ts [--connections 1,16,64,256] [--seconds 5]
// [--rounds 1] [--json]

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { aggregates, batch_events, fill, jobFor, load, serve, type Child } from "./child.ts";
import type { Job, Load } from "./load.ts";
import { watchWal } from "./machine.ts";

export interface RestOptions {
  readonly connections: readonly number[];
  readonly seconds: number;
  /** Rounds of the whole table; each figure is the median of its rounds. */
  readonly rounds: number;
  readonly distribution: Job["distribution"];
  /** Leave batches and reads out. */
  readonly appends_only?: boolean;
}

export interface RestRow extends Load {
  readonly what: string;
  readonly connections: number;
  /** Per request one event, or as many as a batch or page has. */
  readonly events_per_second: number;
  /**
   * This row's rate as a part of the echo's at as many connections; null where nothing compares.
   */
  readonly of_echo: number | null;
}

export interface RestReport {
  readonly payload_bytes: number;
  readonly aggregates: number;
  readonly distribution: string;
  readonly rows: readonly RestRow[];
  /** Largest resident size of the server process. */
  readonly peak_memory_bytes: number;
  /** Largest size of SQLite's log while it served. */
  readonly wal_bytes_max: number;
}

const payload_bytes = 250;

export async function benchRest(options: RestOptions): Promise<RestReport> {
  const directory = await mkdtemp(join(tmpdir(), "dbx-bench-"));
  const servers: Child[] = [];
  try {
    const dbx = await serve("dbx", directory);
    servers.push(dbx);
    const echo = await serve("echo", directory);
    servers.push(echo);
    const walMax = watchWal(directory);
    await fill(dbx);
    const rounds: RestRow[][] = [];
    for (let round = 0; round < options.rounds; round++) {
      rounds.push(await measureAll({ dbx, echo }, options, round));
    }
    const wal_bytes_max = walMax();
    const peak_memory_bytes = dbx.peakMemory();
    await Promise.all(servers.map(({ stop }) => stop()));
    const rows = medians(rounds);
    return {
      payload_bytes,
      aggregates,
      distribution: options.distribution,
      rows,
      peak_memory_bytes,
      wal_bytes_max,
    };
  } finally {
    await Promise.all(servers.map(({ stop }) => stop()));
    await rm(directory, { recursive: true, force: true });
  }
}

/** One round: every connection count with the echo beside it, then batches and reads. */
async function measureAll(
  { dbx, echo }: { dbx: Child; echo: Child },
  options: RestOptions,
  round: number,
): Promise<RestRow[]> {
  const rows: RestRow[] = [];
  const job = (child: Child, request: Job["request"], connections: number): Job => {
    const { seconds, distribution } = options;
    return jobFor(child, {
      request,
      connections,
      seconds,
      distribution,
      payload_bytes,
      seed: 1 + round,
    });
  };
  for (const connections of options.connections) {
    const baseline = await load(job(echo, "append", connections));
    rows.push(row("echo", baseline, { connections, events: 1, echo: null }));
    const appends = await load(job(dbx, "append", connections));
    rows.push(row("append", appends, { connections, events: 1, echo: baseline }));
  }
  if (options.appends_only === true) return rows;
  const batch = { connections: 8, events: batch_events };
  const batchEcho = await load(job(echo, "batch", 8));
  rows.push(row("echo batch", batchEcho, { ...batch, echo: null }));
  const batches = await load(job(dbx, "batch", 8));
  rows.push(row("batch of 100", batches, { ...batch, echo: batchEcho }));
  for (const request of ["aggregate", "events", "list"] as const) {
    await teach(echo, { kind: request, answer: await sample(dbx, request) });
    const baseline = await load(job(echo, request, 64));
    rows.push(row(`same ${request}`, baseline, { connections: 64, events: 1, echo: null }));
    const reads = await load(job(dbx, request, 64));
    rows.push(row(`read ${request}`, reads, { connections: 64, events: 1, echo: baseline }));
  }
  return rows;
}

/** What dbx answers for the most written aggregate, so that the echo sends as many bytes. */
async function sample(dbx: Child, request: "aggregate" | "events" | "list"): Promise<string> {
  const paths = {
    aggregate: "/order/order-0",
    events: "/order/order-0/events?take=100",
    list: "?take=100",
  };
  const response = await fetch(`http://127.0.0.1:${dbx.port}/v1/aggregates${paths[request]}`, {
    headers: { Authorization: `Bearer ${dbx.token}` },
  });
  if (!response.ok) throw new Error(await response.text());
  return response.text();
}

async function teach(echo: Child, { kind, answer }: { kind: string; answer: string }) {
  const url = `http://127.0.0.1:${echo.port}/sample/${kind}`;
  const response = await fetch(url, { method: "POST", body: answer });
  if (!response.ok) throw new Error(await response.text());
}

function row(
  what: string,
  load: Load,
  options: { connections: number; events: number; echo: Load | null },
): RestRow {
  return {
    what,
    connections: options.connections,
    ...load,
    events_per_second: load.per_second * options.events,
    of_echo: options.echo === null ? null : load.per_second / options.echo.per_second,
  };
}

/** Row by row the round with the median rate. */
function medians(rounds: readonly RestRow[][]): RestRow[] {
  const [first = []] = rounds;
  return first.map((fallback, index) => {
    const sorted = rounds
      .map((rows) => rows[index] ?? fallback)
      .sort((left, right) => left.per_second - right.per_second);
    return sorted[Math.floor(sorted.length / 2)] ?? fallback;
  });
}

export function printRest(report: RestReport): string {
  const lines = [
    `payload ${payload_bytes} bytes, ${aggregates} aggregates, ${report.distribution}`,
    "what            conns  requests/s    events/s   p50 ms   p99 ms   max ms  of echo",
  ];
  for (const each of report.rows) {
    lines.push(
      [
        each.what.padEnd(14),
        String(each.connections).padStart(6),
        each.per_second.toFixed(0).padStart(11),
        each.events_per_second.toFixed(0).padStart(11),
        each.p50_ms.toFixed(2).padStart(8),
        each.p99_ms.toFixed(2).padStart(8),
        each.max_ms.toFixed(1).padStart(8),
        (each.of_echo === null ? "" : `${(each.of_echo * 100).toFixed(0)} %`).padStart(8),
      ].join(" "),
    );
  }
  lines.push(
    `peak memory of the server: ${(report.peak_memory_bytes / 2 ** 20).toFixed(0)} MiB`,
    `largest WAL: ${(report.wal_bytes_max / 2 ** 20).toFixed(0)} MiB`,
  );
  return lines.join("\n");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      connections: { type: "string", default: "1,16,64,256" },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string", default: "1" },
      uniform: { type: "boolean", default: false },
      "appends-only": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const report = await benchRest({
    connections: values.connections.split(",").map(Number),
    seconds: Number(values.seconds),
    rounds: Number(values.rounds),
    distribution: values.uniform ? "uniform" : "zipf",
    appends_only: values["appends-only"],
  });
  console.log(values.json ? JSON.stringify(report, null, 2) : printRest(report));
}
