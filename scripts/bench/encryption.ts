// What a data encryption key costs: appends in the engine and over REST, and reading, each beside
// the same without a key.
// Run: bun scripts/bench/encryption.ts [--rounds 1] [--seconds 2] [--quick]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fill, jobFor, load, serve } from "./child.ts";
import type { EncryptionJob, EncryptionResult } from "./encryption-subject.ts";
import { measureEngine } from "./engine.ts";
import { beside, inTurn } from "./figure.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";
import { runSubject } from "./subject.ts";

export interface EncryptionOptions {
  readonly directory: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly quick: boolean;
}

const callers = [64, 512] as const;
const connections = 64;

/** With a key, and without. */
type Pair = readonly [sealed: number, plain: number];
type Round = ReadonlyMap<string, Pair>;

export async function benchEncryption(options: EncryptionOptions): Promise<Figure[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure(options, round));
  }
  const [first = new Map<string, Pair>()] = rounds;
  return [...first.keys()].map((name) => {
    const pairs = rounds.flatMap((round) => {
      const pair = round.get(name);
      return pair === undefined ? [] : [pair];
    });
    return beside({
      ...{ topic: "encryption", name, unit: unitOf(name), baseline: "the same without a key" },
      ones: pairs.map(([sealed]) => sealed),
      others: pairs.map(([, plain]) => plain),
    });
  });
}

const unitOf = (name: string): string =>
  name.includes("CPU") ? "µs" : /aggregate by|list/.test(name) ? "aggregates/s" : "events/s";

async function measure(options: EncryptionOptions, round: number): Promise<Round> {
  const figures = new Map<string, Pair>();
  for (const count of callers) {
    const append = (sealed: boolean) => () =>
      measureEngine("dbx", { ...options, callers: count, round, sealed });
    const [sealed, plain] = await inTurn(round, append(true), append(false));
    const where = `engine, ${count} callers`;
    figures.set(`${where}, durable appends`, [sealed.per_second, plain.per_second]);
    figures.set(`${where}, CPU time per append`, [sealed.cpu_us, plain.cpu_us]);
  }
  const rest = await inTurn(round, restAppends("sealed"), restAppends("dbx"));
  figures.set(`REST, ${connections} connections, durable appends`, rest);
  const [sealed, plain] = await inTurn(round, reading(true), reading(false));
  for (const [name, value] of Object.entries(sealed.per_second)) {
    figures.set(`engine, ${name}`, [value, plain.per_second[name] ?? NaN]);
  }
  return figures;

  function restAppends(kind: "sealed" | "dbx"): () => Promise<number> {
    return () =>
      inside(join(options.directory, `encryption-${kind}`), async (directory) => {
        const server = await serve(kind, directory);
        try {
          await fill(server);
          const { seconds } = options;
          const job = { request: "append", connections, seconds, seed: 1 + round } as const;
          return (await load(jobFor(server, job))).per_second;
        } finally {
          await server.stop();
        }
      });
  }

  function reading(isSealed: boolean): () => Promise<EncryptionResult> {
    return () =>
      inside(join(options.directory, "encryption-read"), (directory) => {
        const events = options.quick ? 20_000 : 200_000;
        const job: EncryptionJob = { directory, sealed: isSealed, aggregates: 10_000, events };
        return runSubject<EncryptionResult>("encryption-subject.ts", job);
      });
  }
}

async function inside<Result>(
  directory: string,
  use: (directory: string) => Promise<Result>,
): Promise<Result> {
  mkdirSync(directory);
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "1" },
      seconds: { type: "string", default: "2" },
      quick: { type: "boolean", default: false },
    },
  });
  using directory = benchDirectory();
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  const { quick } = values;
  const figures = await benchEncryption({ directory: directory.path, seconds, rounds, quick });
  console.log(printTables(figures));
}
