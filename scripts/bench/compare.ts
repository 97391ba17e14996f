// Compares the working tree with a git ref: the same workload, each time in a fresh process, the
// order of the two turned round every round. Prints the medians and every raw value.
// Run: bun scripts/bench/compare.ts <ref> [--what engine|rest] [--rounds 5] [--at 64] [--json file]

import { cpSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../root.ts";
import { eventsFor } from "./engine.ts";
import type { EngineJob, EngineResult } from "./engine-subject.ts";
import { benchDirectory, commitHash } from "./machine.ts";
import type { RestReport } from "./rest.ts";
import { median } from "./subject.ts";

interface Measured {
  readonly per_second: number;
  readonly p99_ms: number;
  /** Of all threads per event; only the engine's subject can tell. */
  readonly cpu_us: number | null;
}

type Side = "tree" | "ref";

const rest_seconds = 3;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      what: { type: "string", default: "engine" },
      rounds: { type: "string", default: "5" },
      at: { type: "string", default: "64" },
      json: { type: "string" },
    },
    allowPositionals: true,
  });
  const [ref] = positionals;
  if (ref === undefined) throw new Error("which ref? bun scripts/bench/compare.ts <ref>");
  const measure = { engine: measureEngine, rest: measureRest }[values.what];
  if (measure === undefined) throw new Error("--what is engine or rest");
  using directory = benchDirectory();
  process.env["TMPDIR"] = directory.path;
  const trees = { tree: root, ref: await checkOut(ref, join(directory.path, "ref")) };
  const raw: Record<Side, Measured[]> = { tree: [], ref: [] };
  for (let round = 0; round < Number(values.rounds); round++) {
    const sides: Side[] = round % 2 === 0 ? ["tree", "ref"] : ["ref", "tree"];
    for (const side of sides) {
      const options = {
        tree: trees[side],
        directory: directory.path,
        at: Number(values.at),
        round,
      };
      const measured = await measure(options);
      raw[side].push(measured);
      console.error(side.padEnd(4), JSON.stringify(measured));
    }
  }
  const names = { tree: `working tree (${commitHash()})`, ref };
  console.log(`${values.what} at ${values.at}`);
  for (const side of ["tree", "ref"] as const) console.log(lineOf(names[side], raw[side]));
  const ratios = raw.tree.map(
    ({ per_second }, round) => per_second / (raw.ref[round]?.per_second ?? NaN),
  );
  console.log(`tree / ref, median of the rounds: ${median(ratios).toFixed(3)}`);
  if (values.json !== undefined) {
    await Bun.write(values.json, `${JSON.stringify({ ...values, names, ratios, raw }, null, 2)}\n`);
  }
}

function lineOf(name: string, raw: readonly Measured[]): string {
  const rates = raw.map(({ per_second }) => per_second);
  const tail = median(raw.map(({ p99_ms }) => p99_ms)).toFixed(2);
  const cpu = raw.flatMap(({ cpu_us }) => cpu_us ?? []);
  const words = [
    `${name}: ${median(rates).toFixed(0)} events/s, best ${Math.max(...rates).toFixed(0)}`,
    `p99 ${tail} ms`,
    ...(cpu.length === 0 ? [] : [`${median(cpu).toFixed(1)} µs of processor per event`]),
    `raw ${rates.map((rate) => rate.toFixed(0)).join(" ")}`,
  ];
  return words.join("; ");
}

/** The ref's tree with the present benchmarks, so that both sides run the same workload. */
async function checkOut(ref: string, folder: string): Promise<string> {
  mkdirSync(folder);
  const archive = Bun.spawn(["git", "archive", ref], { cwd: root, stdout: "pipe" });
  const unpack = Bun.spawn(["tar", "x", "-C", folder], { stdin: archive.stdout });
  if ((await archive.exited) !== 0 || (await unpack.exited) !== 0) {
    throw new Error(`git cannot give the tree of ${ref}`);
  }
  rmSync(join(folder, "scripts", "bench"), { recursive: true, force: true });
  cpSync(join(root, "scripts", "bench"), join(folder, "scripts", "bench"), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}

interface Subject {
  readonly tree: string;
  readonly directory: string;
  readonly at: number;
  readonly round: number;
}

async function measureEngine({ tree, directory, at, round }: Subject): Promise<Measured> {
  const job: EngineJob = {
    ...{ what: "dbx", directory: join(directory, "data"), callers: at },
    ...{ aggregates: 10_000, payload_bytes: 250, seed: 1 + round, sealed: false },
    events: eventsFor(at, false),
  };
  mkdirSync(job.directory);
  const script = join(tree, "scripts", "bench", "engine-subject.ts");
  const result: EngineResult = await run([script, JSON.stringify(job)]);
  rmSync(job.directory, { recursive: true });
  const { per_second, p99_ms, cpu_us } = result;
  return { per_second, p99_ms, cpu_us };
}

async function measureRest({ tree, at }: Subject): Promise<Measured> {
  const script = join(tree, "scripts", "bench", "rest.ts");
  const options = ["--connections", String(at), "--seconds", String(rest_seconds), "--json"];
  const report: RestReport = await run([script, ...options, "--appends-only"]);
  const row = report.rows.find(({ what }) => what === "append");
  if (row === undefined) throw new Error("rest.ts reports appends");
  return { per_second: row.per_second, p99_ms: row.p99_ms, cpu_us: null };
}

async function run<Result>(argv: readonly string[]): Promise<Result> {
  const child = Bun.spawn([process.execPath, "--no-env-file", ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`${argv[0]} failed:\n${text}`);
  return JSON.parse(text);
}

await main();
