// Measures what following the log costs: a thousand followers who wait for what never comes, a
// hundred who get everything, one who reads the log from its beginning.
// Run: bun scripts/bench/live.ts [--quick] [--rounds 1]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { firstLine, jobFor, load, serve, type Child } from "./child.ts";
import { alone, beside } from "./figure.ts";
import type { GrpcJob, GrpcResult } from "./grpc-subject.ts";
import { appendMany, type LiveJob, type LiveResult } from "./live-subject.ts";
import { benchDirectory, residentMemory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";
import { runSubject } from "./subject.ts";

const topic = "live";
const idle = 1_000;
const fanout = { followers: 100, events_per_second: 200 } as const;
const connections = 64;
/** Waiting followers must cost the writer next to nothing. */
const idleShare = 0.9;

interface Options {
  readonly directory: string;
  readonly rounds: number;
  readonly quick: boolean;
}

interface Round {
  readonly alone: number;
  readonly withIdle: number;
  readonly idle_bytes: number;
  readonly fanout: LiveResult;
  readonly sse: number;
  readonly grpc: number;
}

export async function benchLive(options: Options): Promise<Figure[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure({ ...options, round }));
  }
  const raw = (of: (round: Round) => number) => rounds.map(of);
  const { followers, events_per_second } = fanout;
  const crowd = `${followers} followers of everything, ${events_per_second} appends/s`;
  const lag = `${crowd}, from answer to follower`;
  const begin = "the log from its beginning";
  return [
    beside({
      ...{ topic, unit: "events/s", baseline: "the same without followers" },
      name: `REST appends beside ${idle.toLocaleString("en-US")} idle followers`,
      ones: raw((round) => round.withIdle),
      others: raw((round) => round.alone),
      aim: { text: `at least ${idleShare * 100} %`, meets: (ratio) => ratio >= idleShare },
    }),
    alone({
      ...{ topic, unit: "KiB", name: "memory of an idle follower" },
      raw: raw((round) => round.idle_bytes / 1024),
    }),
    alone({ topic, unit: "ms", name: `${lag}, p50`, raw: raw((round) => round.fanout.p50_ms) }),
    alone({ topic, unit: "ms", name: `${lag}, p99`, raw: raw((round) => round.fanout.p99_ms) }),
    alone({
      ...{ topic, unit: "events/s", name: `${crowd}, deliveries` },
      raw: raw((round) => round.fanout.per_second),
    }),
    alone({ topic, unit: "events/s", name: `${begin}, SSE`, raw: raw(({ sse }) => sse) }),
    alone({
      ...{ topic, unit: "events/s", name: `${begin}, gRPC Subscribe` },
      raw: raw(({ grpc }) => grpc),
    }),
  ];
}

async function measure(options: Options & { round: number }): Promise<Round> {
  const { quick } = options;
  const directory = join(options.directory, "live");
  mkdirSync(directory);
  const server = await serve("dbx", directory);
  const target = { port: server.port, token: server.token };
  const run = (job: LiveJob) => runSubject<LiveResult>("live-subject.ts", job);
  try {
    // First, while nothing else has moved its memory.
    const idle_bytes = await measureMemory(server);
    // Then, while the log holds nothing but this.
    const events = quick ? 20_000 : 100_000;
    await appendMany(target, events);
    const sse = await run({ ...target, what: "catchup", events });
    const job: GrpcJob = { ...target, what: "subscribe", events };
    const grpc = await runSubject<GrpcResult>("grpc-subject.ts", job);
    const seconds = quick ? 1 : 4;
    const crowd = await run({ ...target, what: "fanout", ...fanout, seconds });
    const idling = await measureIdle(server, { ...options, seconds });
    return { ...idling, idle_bytes, fanout: crowd, sse: sse.per_second, grpc: grpc.per_second };
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Appends without followers and beside them, each first in every other round. */
async function measureIdle(
  server: Child,
  { seconds, round }: { seconds: number; round: number },
): Promise<Pick<Round, "alone" | "withIdle">> {
  const appends = async () =>
    (await load(jobFor(server, { request: "append", connections, seconds, seed: 1 + round })))
      .per_second;
  const before = round % 2 === 0 ? await appends() : null;
  const crowd = await startIdle(server, idle);
  const withIdle = await appends();
  await crowd.stop();
  return { alone: before ?? (await appends()), withIdle };
}

/** Of one follower among a thousand, its connection included. */
async function measureMemory(server: Child): Promise<number> {
  // The first ones bring code and buffers with them that the next ones share.
  const first = await startIdle(server, idle / 10);
  const before = residentMemory(server.pid);
  const crowd = await startIdle(server, idle);
  const after = residentMemory(server.pid);
  await Promise.all([first.stop(), crowd.stop()]);
  return (after - before) / idle;
}

async function startIdle(
  { port, token }: Child,
  followers: number,
): Promise<{ stop: () => Promise<void> }> {
  const job: LiveJob = { port, token, what: "idle", followers };
  const script = join(import.meta.dir, "live-subject.ts");
  const child = Bun.spawn([process.execPath, "--no-env-file", script, JSON.stringify(job)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await firstLine(child.stdout);
  return {
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "1" },
    },
  });
  using directory = benchDirectory();
  const [quick, rounds] = [values.quick, Number(values.rounds)];
  console.log(printTables(await benchLive({ directory: directory.path, quick, rounds })));
}
