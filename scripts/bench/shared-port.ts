// What it costs HTTP to share its port with gRPC: the same server with gRPC on, where a front tells
// the two apart and hands the bytes on, and off, where nothing stands between.
// Run: bun scripts/bench/shared-port.ts [--seconds 4] [--rounds 1]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { jobFor, load, serve } from "./child.ts";
import { beside, inTurn } from "./figure.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";

const connections = 64;
const share = 0.8;

export async function benchShared(options: {
  directory: string;
  rounds: number;
  seconds: number;
}): Promise<Figure[]> {
  const topic = "shared port";
  const baseline = "gRPC off";
  const rounds: [shared: Rates, direct: Rates][] = [];
  for (let round = 0; round < options.rounds; round++) {
    const rates = (kind: "dbx" | "direct") => () => measure(kind, { ...options, round });
    rounds.push(await inTurn(round, rates("dbx"), rates("direct")));
  }
  const pick = (name: keyof Rates) => ({
    ones: rounds.map(([shared]) => shared[name]),
    others: rounds.map(([, direct]) => direct[name]),
  });
  return [
    beside({
      ...{ topic, baseline, unit: "events/s", ...pick("appends") },
      name: `${connections} connections, durable REST appends`,
      aim: { text: `at least ${share * 100} %`, meets: (ratio) => ratio >= share },
    }),
    beside({
      ...{ topic, baseline, unit: "ms", ...pick("append_p50_ms") },
      name: `${connections} connections, append p50`,
    }),
    beside({
      ...{ topic, baseline, unit: "requests/s", ...pick("health") },
      name: `${connections} connections, GET /health`,
    }),
  ];
}

interface Rates {
  readonly appends: number;
  readonly append_p50_ms: number;
  readonly health: number;
}

async function measure(
  kind: "dbx" | "direct",
  options: { directory: string; seconds: number; round: number },
): Promise<Rates> {
  const directory = join(options.directory, `shared-${kind}`);
  mkdirSync(directory);
  const server = await serve(kind, directory);
  try {
    const { seconds, round } = options;
    const health = await load(
      jobFor(server, { request: "health", connections, seconds: seconds / 2 }),
    );
    const appends = await load(
      jobFor(server, { request: "append", connections, seconds, seed: 1 + round }),
    );
    const { per_second, p50_ms } = appends;
    return { appends: per_second, append_p50_ms: p50_ms, health: health.per_second };
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "4" },
      rounds: { type: "string", default: "1" },
    },
  });
  using directory = benchDirectory();
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  console.log(printTables(await benchShared({ directory: directory.path, seconds, rounds })));
}
