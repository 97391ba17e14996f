// What it costs that a token sees a part only: the same requests over REST with a token for one
// type, for a list of aggregates, and for everything, and a page of the log of which a scope covers
// a tenth.
// Run: bun scripts/bench/scopes.ts [--rounds 1] [--seconds 2]

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { ScopeEntry } from "../../src/model/actor.ts";
import { aggregates, appendBatch, batch_events, jobFor, load, serve, type Child } from "./child.ts";
import { beside, inTurn } from "./figure.ts";
import type { Job, RequestKind } from "./load.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";

const connections = 64;
/** The most entries that a scope has here; what is asked for is then among them. */
const listed = 100;

const listOf: readonly ScopeEntry[] = Array.from({ length: listed }, (_, index) => ({
  aggregate_type: "order",
  aggregate_id: `order-${index}`,
}));

const oneType = (aggregate_type: string): readonly ScopeEntry[] => [{ aggregate_type }];

interface Comparison {
  readonly name: string;
  readonly request: RequestKind;
  readonly scope: readonly ScopeEntry[];
  /** Out of so many aggregates. */
  readonly among: number;
  readonly unit: string;
}

const requests = [
  { request: "log", name: "a log page of 100, 64 connections", unit: "requests/s" },
  { request: "aggregate", name: "read one aggregate, 64 connections", unit: "requests/s" },
  { request: "list", name: "read a list page of 100, 64 connections", unit: "requests/s" },
  { request: "append", name: "64 connections, durable appends", unit: "events/s" },
] as const satisfies readonly { request: RequestKind; name: string; unit: string }[];

/** Pages of the log come first: appends would put more between what a scope covers. */
const comparisons: readonly Comparison[] = requests.flatMap(({ name, request, unit }) => {
  if (request === "log") {
    const among = aggregates / 2;
    return [
      { name: `${name}, nine tenths of it covered`, scope: oneType("order") },
      { name: `${name}, a tenth of it covered`, scope: oneType("note") },
    ].map((each): Comparison => ({ ...each, request, among, unit }));
  }
  return [
    { name: `${name}, one type`, scope: oneType("order"), among: aggregates },
    { name: `${name}, ${listed} aggregates`, scope: listOf, among: listed },
  ].map((each): Comparison => ({ ...each, request, unit }));
});

type Round = readonly (readonly [scoped: number, unscoped: number])[];

export async function benchScopes(options: {
  directory: string;
  rounds: number;
  seconds: number;
}): Promise<Figure[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure({ ...options, round }));
  }
  return comparisons.map(({ name, unit }, index) => {
    const pairs = rounds.flatMap((round) => [round[index] ?? [NaN, NaN]]);
    return beside({
      ...{ topic: "scopes", name, unit, baseline: "a token for everything" },
      ones: pairs.map(([scoped]) => scoped),
      others: pairs.map(([, unscoped]) => unscoped),
    });
  });
}

async function measure(options: {
  directory: string;
  seconds: number;
  round: number;
}): Promise<Round> {
  const directory = join(options.directory, "scopes");
  mkdirSync(directory);
  const server = await serve("dbx", directory);
  try {
    await fillMixed(server);
    const everything = await tokenFor(server, null);
    const pairs: (readonly [number, number])[] = [];
    for (const { request, scope, among } of comparisons) {
      const { seconds, round } = options;
      const job: Pick<Job, "request" | "connections" | "seconds"> & Partial<Job> = {
        ...{ request, connections, seconds, aggregates: among, seed: 1 + round },
      };
      const scoped = await tokenFor(server, scope);
      const rate = (token: string) => async () =>
        (await load(jobFor({ ...server, token }, job))).per_second;
      pairs.push(await inTurn(round, rate(scoped), rate(everything)));
    }
    return pairs;
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** One event for every aggregate, and of every ten events one of another type. */
async function fillMixed(server: Child): Promise<void> {
  let orders = 0;
  while (orders < aggregates) {
    const events = Array.from({ length: batch_events }, (_, index) => {
      const isNote = index % 10 === 9;
      const aggregate_type = isNote ? "note" : "order";
      const id = isNote ? index : orders++;
      return {
        ...{ aggregate_type, aggregate_id: `${aggregate_type}-${id}` },
        ...{ event_type: "added", payload: { status: "open" } },
      };
    });
    await appendBatch(server, events);
  }
}

async function tokenFor(server: Child, scope: readonly ScopeEntry[] | null): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server.port}/admin/tokens`, {
    method: "POST",
    headers: { Authorization: `Bearer ${server.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ group: "bench", user: "reader", aggregates: scope }),
  });
  if (!response.ok) throw new Error(await response.text());
  const { token } = JSON.parse(await response.text());
  return token;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "1" },
      seconds: { type: "string", default: "2" },
    },
  });
  using directory = benchDirectory();
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  console.log(printTables(await benchScopes({ directory: directory.path, seconds, rounds })));
}
