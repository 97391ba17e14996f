// Measures GraphQL beside the plugin alone: same framework, a schema of the same shape, constant
// answers and no database. Run: bun scripts/bench/graphql.ts [--seconds 2] [--rounds 1]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fill, jobFor, load, serve, type Child } from "./child.ts";
import { beside, inTurn } from "./figure.ts";
import type { Load, RequestKind } from "./load.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";

const connections = 64;
const requests = [
  { request: "graphql_append", name: "durable appendEvent mutations", unit: "events/s" },
  { request: "graphql_aggregate", name: "aggregate by its key", unit: "requests/s" },
  { request: "graphql_list", name: "aggregates(take: 10)", unit: "requests/s" },
] as const satisfies readonly { request: RequestKind; name: string; unit: string }[];

type Round = ReadonlyMap<RequestKind, readonly [dbx: Load, bare: Load]>;

export async function benchGraphql(options: {
  directory: string;
  rounds: number;
  seconds: number;
}): Promise<Figure[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure({ ...options, round }));
  }
  return requests.flatMap(({ request, name, unit }) => {
    const pick = (of: (load: Load) => number) => {
      const pairs = rounds.flatMap((round) => [round.get(request) ?? []].flat());
      const ones = pairs.filter((_, index) => index % 2 === 0).map(of);
      return { ones, others: pairs.filter((_, index) => index % 2 === 1).map(of) };
    };
    const common = { topic: "GraphQL", baseline: "the plugin with constant answers" };
    const where = `${connections} connections, ${name}`;
    return [
      beside({ ...common, name: where, unit, ...pick(({ per_second }) => per_second) }),
      beside({ ...common, name: `${where}, p50`, unit: "ms", ...pick(({ p50_ms }) => p50_ms) }),
    ];
  });
}

async function measure(options: {
  directory: string;
  seconds: number;
  round: number;
}): Promise<Round> {
  const directory = join(options.directory, "graphql");
  mkdirSync(directory);
  const servers: Child[] = [];
  try {
    const dbx = await serve("dbx", directory);
    servers.push(dbx);
    const bare = await serve("yoga", directory);
    servers.push(bare);
    await fill(dbx);
    const round = new Map<RequestKind, readonly [Load, Load]>();
    for (const { request } of requests) {
      const { seconds } = options;
      const job = (child: Child) => () =>
        load(jobFor(child, { request, connections, seconds, seed: 1 + options.round }));
      round.set(request, await inTurn(options.round, job(dbx), job(bare)));
    }
    return round;
  } finally {
    await Promise.all(servers.map(({ stop }) => stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "2" },
      rounds: { type: "string", default: "1" },
    },
  });
  using directory = benchDirectory();
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  console.log(printTables(await benchGraphql({ directory: directory.path, seconds, rounds })));
}
