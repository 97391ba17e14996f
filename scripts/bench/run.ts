// Measures dbx: every figure beside its baseline, in interleaved rounds of fresh processes, on a
// real disk.
// Run: bun run bench [--quick] [--only rest,engine,...] [--rounds N] [--json <file>]
// Prints one table per topic, then plainly which aims are missed, and writes everything as JSON.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchArchive } from "./archive.ts";
import { benchBackup } from "./backup.ts";
import type { CanonicalRow } from "./canonical.ts";
import { benchEncryption } from "./encryption.ts";
import { benchEngine } from "./engine.ts";
import { benchExport } from "./export.ts";
import { benchFiles } from "./files.ts";
import { benchGraphql } from "./graphql.ts";
import { benchGrpc } from "./grpc.ts";
import { benchGrowth, benchVerify, buildLongLog } from "./growth.ts";
import { benchLive } from "./live.ts";
import { benchDirectory, commitHash, describeMachine } from "./machine.ts";
import { benchPlugins } from "./plugins.ts";
import { missedAims, printTables, type BenchFile, type Figure } from "./report.ts";
import { benchReplication } from "./replication.ts";
import { restFigures, restSettings } from "./rest-figures.ts";
import { benchScopes } from "./scopes.ts";
import { benchShared } from "./shared-port.ts";
import { benchStartup } from "./startup.ts";

const topics = [
  "rest",
  "shared",
  "graphql",
  "grpc",
  "live",
  "plugins",
  "engine",
  "encryption",
  "scopes",
  "growth",
  "startup",
  "verify",
  "archive",
  "export",
  "replication",
  "backup",
  "files",
  "canonical",
] as const;
type Topic = (typeof topics)[number];

interface Plan {
  readonly quick: boolean;
  readonly only: readonly Topic[];
  readonly rounds: number;
  readonly directory: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", default: topics.join(",") },
      json: { type: "string" },
      rounds: { type: "string" },
    },
  });
  const only = values.only.split(",").map(topicOf);
  const { quick } = values;
  const started = performance.now();
  const date = Temporal.Now.instant().toString({ smallestUnit: "second" });
  using directory = benchDirectory();
  // Whatever a benchmark puts into the system's temporary directory must be on that disk too.
  process.env["TMPDIR"] = directory.path;
  const rounds = Number(values.rounds ?? (quick ? 1 : 5));
  const figures = await measure({ quick, only, rounds, directory: directory.path });
  const bench: BenchFile = {
    ...{ format: 1, commit: commitHash(), date, quick },
    machine: describeMachine(directory.path),
    settings: settingsOf(rounds),
    seconds: Math.round((performance.now() - started) / 1000),
    figures,
  };
  const path = values.json ?? `bench-${date.replaceAll(":", "-")}.json`;
  await Bun.write(path, `${JSON.stringify(bench, null, 2)}\n`);
  const { machine } = bench;
  console.log(printTables(figures));
  console.log(
    `\n${machine.cpu}, ${machine.cores} cores, ${machine.file_system}, Bun ${machine.bun}, ` +
      `SQLite ${machine.sqlite}; commit ${bench.commit}; ${bench.seconds} s`,
  );
  console.log(`all raw values: ${path}`);
  const missed = missedAims(figures);
  console.log(missed.length === 0 ? "every aim is met" : "MISSED AIMS");
  for (const each of missed) console.log(`  ${each}`);
  if (quick) console.log("a quick run: too short to conclude anything from");
}

const settingsOf = (rounds: number): BenchFile["settings"] => ({
  durability: "full",
  payload: "250 bytes",
  aggregates: "10,000",
  distribution: restSettings.distribution,
  page_limit: 1000,
  rounds,
});

function topicOf(name: string): Topic {
  const topic = topics.find((each) => each === name);
  if (topic === undefined) throw new Error(`no topic ${name}; there are: ${topics.join(", ")}`);
  return topic;
}

async function measure(plan: Plan): Promise<Figure[]> {
  const { quick, rounds, directory, only } = plan;
  const figures: Figure[] = [];
  const take: Take = async (topic, work) => {
    console.error(`measuring ${topic} …`);
    figures.push(...(await work()));
  };
  if (only.includes("rest")) {
    const connections = quick ? [1, 64] : [1, 16, 64, 256];
    const seconds = quick ? 1 : 4;
    await take("REST", () => restFigures({ connections, seconds, rounds }));
  }
  await measureSurfaces(plan, take);
  if (only.includes("engine")) {
    const callers = quick ? [64, 512] : [1, 8, 64, 512];
    await take("engine", () => benchEngine({ directory, rounds, quick, callers }));
  }
  await measureSecrecy(plan, take);
  if (only.some((topic) => ["growth", "verify", "startup"].includes(topic))) {
    console.error("building a long log …");
    const log = await buildLongLog({ directory, rounds, quick });
    if (only.includes("growth")) await take("growth", () => benchGrowth(log, { rounds }));
    if (only.includes("startup")) {
      await take("start-up", () => benchStartup({ directory, log, rounds }));
    }
    // Last, and fewer rounds: reading a million events takes long and varies little.
    const few = Math.min(rounds, 3);
    if (only.includes("verify")) await take("verify", () => benchVerify(log, { rounds: few }));
  }
  if (only.includes("archive")) {
    await take("archive", () => benchArchive({ directory, rounds: Math.min(rounds, 3), quick }));
  }
  if (only.includes("export")) {
    await take("export", () => benchExport({ directory, rounds: Math.min(rounds, 3), quick }));
  }
  if (only.includes("replication")) {
    const few = Math.min(rounds, 3);
    await take("replication", () => benchReplication({ directory, rounds: few, quick }));
  }
  if (only.includes("backup")) {
    await take("backup", () => benchBackup({ directory, rounds: Math.min(rounds, 3), quick }));
  }
  if (only.includes("files")) await take("files", () => benchFiles({ directory, quick }));
  if (only.includes("canonical")) await take("canonical JSON", () => canonicalFigures(directory));
  return figures;
}

type Take = (topic: string, work: () => Promise<Figure[]>) => Promise<void>;

/** What stands beside REST, and what it costs REST. */
async function measureSurfaces(plan: Plan, take: Take): Promise<void> {
  const { directory, quick, only } = plan;
  const rounds = Math.min(plan.rounds, 3);
  if (only.includes("shared")) {
    const seconds = quick ? 1 : 4;
    await take("the shared port", () => benchShared({ directory, rounds, seconds }));
  }
  if (only.includes("graphql")) {
    const seconds = quick ? 1 : 2;
    await take("GraphQL", () => benchGraphql({ directory, rounds, seconds }));
  }
  if (only.includes("grpc")) {
    await take("gRPC", () => benchGrpc({ directory, rounds, quick }));
  }
  if (only.includes("live")) {
    await take("live streams", () => benchLive({ directory, rounds, quick }));
  }
  if (only.includes("plugins")) {
    await take("plugins", () => benchPlugins({ directory, rounds, quick }));
  }
}

/** What it costs that not everybody sees everything. */
async function measureSecrecy({ directory, quick, only, rounds }: Plan, take: Take): Promise<void> {
  const seconds = quick ? 1 : 3;
  if (only.includes("encryption")) {
    await take("encryption", () => benchEncryption({ directory, rounds, seconds, quick }));
  }
  if (only.includes("scopes")) {
    await take("scopes", () => benchScopes({ directory, rounds, seconds }));
  }
}

/** Of JSON.parse on a text like those that clients send. */
const canonicalAim = 2;

async function canonicalFigures(directory: string): Promise<Figure[]> {
  const path = join(directory, "canonical.json");
  const script = join(import.meta.dir, "canonical.ts");
  const child = Bun.spawn([process.execPath, "--no-env-file", script, "--json", path], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if ((await child.exited) !== 0) throw new Error("canonical.ts failed");
  const { rows }: { rows: CanonicalRow[] } = await Bun.file(path).json();
  return rows.map(({ workload, bytes, ratio, raw, ...row }) => ({
    ...{ topic: "canonical JSON", name: `${workload} (${bytes} bytes)`, unit: "ns" },
    ...{ value: row.canonicalize_ns, raw: raw.map(({ canonicalize_ns }) => canonicalize_ns) },
    baseline: {
      ...{ name: "JSON.parse", value: row.parse_ns },
      raw: raw.map(({ parse_ns }) => parse_ns),
    },
    ratio,
    aim: workload.startsWith("typical")
      ? { text: "at most twice JSON.parse", met: ratio <= canonicalAim }
      : null,
  }));
}

await main();
