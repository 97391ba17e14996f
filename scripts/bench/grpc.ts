// Measures gRPC beside a bare server of grpc-js over the same contract, and a stream of appends
// beside the engine without any network. Run: bun scripts/bench/grpc.ts [--quick] [--rounds 1]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fill, serve, type Child } from "./child.ts";
import { measureEngine } from "./engine.ts";
import { alone, beside, inTurn } from "./figure.ts";
import type { GrpcJob, GrpcResult } from "./grpc-subject.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";
import { runSubject } from "./subject.ts";

const topic = "gRPC";
const calls = 64;
/** Callers of the engine that a stream is compared with: as many as it commits together. */
const callers = 512;
/** Events of a message, and one alone, which costs a frame for each. */
const messages = [50, 1] as const;
const streamAim = 0.6;

interface Options {
  readonly directory: string;
  readonly rounds: number;
  readonly quick: boolean;
}

interface Round {
  readonly unary: readonly [dbx: GrpcResult, bare: GrpcResult];
  readonly streams: readonly (readonly [dbx: GrpcResult, bare: GrpcResult])[];
  /** Events per second. */
  readonly engine: number;
}

export async function benchGrpc(options: Options): Promise<Figure[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure({ ...options, round }));
  }
  const baseline = "grpc-js sending back what comes";
  const unary = (of: (result: GrpcResult) => number) => ({
    ones: rounds.map((round) => of(round.unary[0])),
    others: rounds.map((round) => of(round.unary[1])),
  });
  const name = `${calls} unary calls at a time, durable appends`;
  return [
    beside({ topic, name, unit: "events/s", baseline, ...unary((each) => each.per_second) }),
    beside({ topic, name: `${name}, p50`, unit: "ms", baseline, ...unary((each) => each.p50_ms) }),
    alone({ topic, name: `${name}, p99`, unit: "ms", raw: unary((each) => each.p99_ms).ones }),
    ...messages.flatMap((message, index) => streamFigures(rounds, { message, index })),
  ];
}

function streamFigures(
  rounds: readonly Round[],
  { message, index }: { message: number; index: number },
): Figure[] {
  const rates = (at: 0 | 1) => rounds.map(({ streams }) => streams[index]?.[at].per_second ?? NaN);
  const events = message === 1 ? "1 event" : `${message} events`;
  const name = `AppendStream, messages of ${events}`;
  const common = { topic, name, unit: "events/s", ones: rates(0) };
  const text = `at least ${streamAim * 100} %`;
  return [
    beside({
      ...common,
      baseline: `engine, ${callers} callers, no network`,
      others: rounds.map(({ engine }) => engine),
      ...(index === 0 ? { aim: { text, meets: (ratio) => ratio >= streamAim } } : {}),
    }),
    beside({ ...common, baseline: "grpc-js counting what comes", others: rates(1) }),
  ];
}

async function measure(options: Options & { round: number }): Promise<Round> {
  const { quick, round } = options;
  const directory = join(options.directory, "grpc");
  mkdirSync(directory);
  const servers: Child[] = [];
  try {
    const dbx = await serve("dbx", directory);
    servers.push(dbx);
    const bare = await serve("grpc", directory);
    servers.push(bare);
    await fill(dbx);
    const seed = 1 + round;
    const run =
      ({ port, token }: Child, job: Job) =>
      () =>
        runSubject<GrpcResult>("grpc-subject.ts", { ...job, port, token } satisfies GrpcJob);
    const both = (job: Job) => inTurn(round, run(dbx, job), run(bare, job));
    const unary = await both({ what: "unary", calls, seconds: quick ? 1 : 3, seed });
    const streams: (readonly [GrpcResult, GrpcResult])[] = [];
    for (const message of messages) {
      const events = message === 1 ? 60_000 : 150_000;
      streams.push(
        await both({ what: "stream", events: quick ? events / 5 : events, message, seed }),
      );
    }
    const engine = await measureEngine("dbx", { ...options, callers });
    return { unary, streams, engine: engine.per_second };
  } finally {
    await Promise.all(servers.map(({ stop }) => stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

type Job =
  | { readonly what: "unary"; readonly calls: number; readonly seconds: number; seed: number }
  | { readonly what: "stream"; readonly events: number; readonly message: number; seed: number };

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "1" },
    },
  });
  using directory = benchDirectory();
  const [quick, rounds] = [values.quick, Number(values.rounds)];
  console.log(printTables(await benchGrpc({ directory: directory.path, quick, rounds })));
}
