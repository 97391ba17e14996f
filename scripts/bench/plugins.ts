// Measures what plugins deliver, how late, and what they cost those who append: a log from its
// beginning, a steady rate, and full speed beside none, one, five, and one that hangs.
// Run: bun scripts/bench/plugins.ts [--quick] [--rounds 1]

import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { PluginConfig } from "../../src/model/plugin.ts";
import { firstLine, jobFor, load, serve, type Child } from "./child.ts";
import { alone, beside } from "./figure.ts";
import type { GrowthResult } from "./growth-subject.ts";
import { installProgram } from "./plugins-program.ts";
import type { PacedResult, ReceiveJob, ReceiveKind } from "./plugins-subject.ts";
import type { Load } from "./load.ts";
import { benchDirectory } from "./machine.ts";
import { printTables, type Figure } from "./report.ts";
import { median, quantile, runSubject } from "./subject.ts";

const topic = "plugins";
const kinds = ["tcp", "http", "grpc", "node", "log", "process"] as const;
type Kind = (typeof kinds)[number];
/** Whoever can say when something arrived. */
const timed = ["tcp", "http", "grpc", "process"] as const;
const events_per_second = 5_000;
const batch_events = 10;
const connections = 64;
/** Who appends must not notice that somebody hangs. */
const hangAim = 1.2;

const called: Readonly<Record<Kind, string>> = {
  ...{ tcp: "TCP", http: "HTTP", grpc: "gRPC", node: "gRPC to another dbx" },
  ...{ log: "log", process: "process" },
};

interface Options {
  readonly directory: string;
  readonly rounds: number;
  readonly quick: boolean;
}

type Burden = "none" | "one" | "five" | "hung";
const whom: Readonly<Record<Burden, readonly (Kind | "mute")[]>> = {
  none: [],
  one: ["http"],
  five: ["tcp", "http", "grpc", "log", "process"],
  hung: ["mute"],
};
/** Whole turns of all burdens in a round, because a disk has moods that last for seconds. */
const turns = 3;

interface Round {
  readonly caughtUp: Readonly<Record<Kind, number>>;
  /** Of the first round alone: it takes minutes and varies little. */
  readonly long: number | null;
  readonly lag_ms: Readonly<Record<(typeof timed)[number], number>>;
  readonly paced: number;
  readonly appends: Readonly<Record<Burden, Pick<Load, "per_second" | "p99_ms">>>;
  readonly peak_bytes: number;
}

export async function benchPlugins(options: Options): Promise<Figure[]> {
  const { directory, quick } = options;
  const logs = {
    short: await buildLog(join(directory, "plugins-short"), quick ? 20_000 : 100_000),
    long: await buildLog(join(directory, "plugins-long"), quick ? 50_000 : 1_000_000),
  };
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    rounds.push(await measure({ ...options, logs, round }));
  }
  const raw = (of: (round: Round) => number) => rounds.map(of);
  const size = (log: Log): string => log.events.toLocaleString("en-US");
  const rate = `${events_per_second.toLocaleString("en-US")} appends/s`;
  return [
    ...kinds.map((kind) =>
      alone({
        ...{ topic, unit: "events/s", name: `${size(logs.short)} events, ${called[kind]}` },
        raw: raw(({ caughtUp }) => caughtUp[kind]),
      }),
    ),
    alone({
      ...{ topic, unit: "events/s", name: `${size(logs.long)} events, process` },
      raw: rounds.flatMap(({ long }) => long ?? []),
    }),
    ...timed.map((kind) =>
      alone({
        ...{ topic, unit: "ms", name: `${rate}, from request to receiver, p99, ${called[kind]}` },
        raw: raw(({ lag_ms }) => lag_ms[kind]),
      }),
    ),
    alone({
      ...{ topic, unit: "events/s", name: `${rate}, as they were reached` },
      raw: raw(({ paced }) => paced),
    }),
    ...appendFigures(rounds),
    alone({
      ...{ topic, unit: "MiB", name: "peak memory of the server" },
      raw: raw(({ peak_bytes }) => peak_bytes / 2 ** 20),
    }),
  ];
}

const burdens = [
  ["one", "beside one plugin (HTTP)"],
  ["five", "beside five, one of each kind"],
  ["hung", "beside one that never answers"],
] as const;

function appendFigures(rounds: readonly Round[]): Figure[] {
  const baseline = "no plugin";
  return burdens.flatMap(([burden, words]) => [
    beside({
      ...{ topic, baseline, unit: "events/s", name: `REST appends ${words}` },
      ones: rounds.map(({ appends }) => appends[burden].per_second),
      others: rounds.map(({ appends }) => appends.none.per_second),
    }),
    beside({
      ...{ topic, baseline, unit: "ms", name: `REST append p99 ${words}` },
      ones: rounds.map(({ appends }) => appends[burden].p99_ms),
      others: rounds.map(({ appends }) => appends.none.p99_ms),
      ...(burden === "hung"
        ? { aim: { text: `at most ${hangAim} ×`, meets: (ratio: number) => ratio <= hangAim } }
        : {}),
    }),
  ]);
}

interface Log {
  readonly directory: string;
  readonly events: number;
}

async function buildLog(directory: string, events: number): Promise<Log> {
  mkdirSync(directory);
  const groups = [{ name: "order", count: events / 10, events: 10 }];
  const job = { what: "build", directory, groups };
  const built = await runSubject<GrowthResult>("growth-subject.ts", job);
  await installProgram(directory, receiverCommand({ ...receiving, kind: "process" }));
  return { directory, events: built.events };
}

const receiving = { what: "receive", lags: null } as const;

interface Measured extends Options {
  readonly logs: { readonly short: Log; readonly long: Log };
  readonly round: number;
}

async function measure(options: Measured): Promise<Round> {
  const { logs, round } = options;
  const caughtUp = await withServer(logs.short.directory, async (server) => {
    const rates: [Kind, number][] = [];
    for (const kind of kinds) rates.push([kind, await catchUp(server, { kind, options })]);
    return Object.fromEntries(rates) as Record<Kind, number>;
  });
  const long =
    round > 0
      ? null
      : await withServer(logs.long.directory, (server) =>
          catchUp(server, { kind: "process", options }),
        );
  const directory = join(options.directory, "plugins-live");
  mkdirSync(directory);
  try {
    return await withServer(directory, async (server) => {
      const lags = await measureLags(server, { ...options, directory });
      const appends = await measureAppends(server, { ...options, directory });
      return { caughtUp, long, ...lags, appends, peak_bytes: server.peakMemory() };
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function withServer<Value>(
  directory: string,
  work: (server: Child) => Promise<Value>,
): Promise<Value> {
  const server = await serve("plugins", directory);
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
}

/** Events a second, from the moment the plugin is there until the last one is settled. */
async function catchUp(
  server: Child,
  { kind, options: { directory } }: { kind: Kind; options: Measured },
): Promise<number> {
  const place = join(directory, "plugins-node");
  if (kind === "node") mkdirSync(place);
  const target = await startTarget(kind, { place, lags: null });
  try {
    const started = performance.now();
    await putPlugin(server, { name: kind, config: target.config, from_beginning: true });
    for (;;) {
      const { lag, checkpoint } = await statusOf(server, kind);
      if (lag === 0) return checkpoint / ((performance.now() - started) / 1_000);
      await Bun.sleep(10);
    }
  } finally {
    await removePlugin(server, kind);
    await target.stop();
    rmSync(place, { recursive: true, force: true });
  }
}

async function measureLags(
  server: Child,
  { directory, quick }: Options,
): Promise<Pick<Round, "lag_ms" | "paced">> {
  const seconds = quick ? 2 : 8;
  const lag_ms: [string, number][] = [];
  const rates: number[] = [];
  for (const kind of timed) {
    const lags = join(directory, `lags-${kind}`);
    await installProgram(directory, receiverCommand({ what: "receive", kind: "process", lags }));
    const target = await startTarget(kind, { place: directory, lags });
    await putPlugin(server, { name: kind, config: target.config, from_beginning: false });
    const { port, token } = server;
    const job = { what: "append", port, token, events_per_second, batch_events, seconds };
    rates.push((await runSubject<PacedResult>("plugins-subject.ts", job)).per_second);
    while ((await statusOf(server, kind)).lag > 0) await Bun.sleep(20);
    await removePlugin(server, kind);
    // Receivers write down what they have every 50 ms.
    await Bun.sleep(200);
    await target.stop();
    const found = existsSync(lags) ? readFileSync(lags, "utf8").trim().split("\n") : [];
    // A plugin begins with one event a step, which over TCP takes seconds to become many.
    const late = found.slice(found.length / 2);
    lag_ms.push([kind, quantile(Float64Array.from(late, Number), 0.99)]);
  }
  return {
    lag_ms: Object.fromEntries(lag_ms) as Round["lag_ms"],
    paced: Math.min(...rates),
  };
}

/** Full speed, each burden on the same server; in every other turn in the other order. */
async function measureAppends(
  server: Child,
  { directory, quick, round }: Options & { round: number },
): Promise<Round["appends"]> {
  const seconds = quick ? 1 : 3;
  await installProgram(directory, receiverCommand({ ...receiving, kind: "process" }));
  const order: readonly Burden[] = ["none", "one", "hung", "five"];
  const found: Record<Burden, Load[]> = { none: [], one: [], five: [], hung: [] };
  for (let turn = 0; turn < turns; turn++) {
    for (const burden of (round + turn) % 2 === 0 ? order : order.toReversed()) {
      const targets = [];
      for (const kind of whom[burden]) {
        const target = await startTarget(kind, { place: directory, lags: null });
        targets.push({ kind, ...target });
        await putPlugin(server, { name: kind, config: target.config, from_beginning: false });
      }
      const job = jobFor(server, { request: "append", connections, seconds, seed: 1 + round });
      found[burden].push(await load(job));
      for (const { kind, stop } of targets) {
        await removePlugin(server, kind);
        await stop();
      }
    }
  }
  const medianOf = (of: (load: Load) => number) => (burden: Burden) =>
    median(found[burden].map(of));
  const [rate, p99] = [medianOf((each) => each.per_second), medianOf((each) => each.p99_ms)];
  return Object.fromEntries(
    order.map((burden) => [burden, { per_second: rate(burden), p99_ms: p99(burden) }]),
  ) as Round["appends"];
}

interface Target {
  readonly config: PluginConfig;
  readonly stop: () => Promise<void>;
}

async function startTarget(
  kind: Kind | "mute",
  { place, lags }: { place: string; lags: string | null },
): Promise<Target> {
  const host = "127.0.0.1";
  const nothing = async (): Promise<void> => {};
  if (kind === "log") {
    return { config: { type: "log", level: "warn", template: "{payload}" }, stop: nothing };
  }
  if (kind === "process") {
    const program = { name: "taker", version: "1.0.0", args: [], env: {}, working_dir: null };
    return { config: { type: "process", ...program }, stop: nothing };
  }
  if (kind === "node") {
    const { port, token, stop } = await serve("dbx", place);
    return { config: { type: "grpc", endpoint: `${host}:${port}`, token }, stop };
  }
  const { port, stop } = await startReceiver({ what: "receive", kind, lags });
  if (kind === "tcp") return { config: { type: "tcp", host, port }, stop };
  if (kind === "grpc") return { config: { type: "grpc", endpoint: `${host}:${port}` }, stop };
  const endpoint = `http://${host}:${port}/`;
  return { config: { type: "http", endpoint, headers: {}, https: false }, stop };
}

const receiverCommand = (job: ReceiveJob & { kind: ReceiveKind }): string[] => [
  ...[process.execPath, "--no-env-file", join(import.meta.dir, "plugins-subject.ts")],
  JSON.stringify(job),
];

async function startReceiver(
  job: ReceiveJob,
): Promise<{ port: number; stop: () => Promise<void> }> {
  const child = Bun.spawn(receiverCommand(job), { stdio: ["ignore", "pipe", "inherit"] });
  const { port } = JSON.parse(await firstLine(child.stdout));
  return {
    port,
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

async function ask(
  { port, machine }: Child,
  { method, path, body }: { method: string; path: string; body?: object },
): Promise<Response> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { Authorization: `Bearer ${machine}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
  return response;
}

async function putPlugin(
  server: Child,
  plugin: { name: string; config: PluginConfig; from_beginning: boolean },
): Promise<void> {
  const { name, config, from_beginning } = plugin;
  const body = { config, ...(from_beginning ? { from_beginning } : {}) };
  await ask(server, { method: "PUT", path: `/admin/plugins/${name}`, body });
}

async function removePlugin(server: Child, name: string): Promise<void> {
  await ask(server, { method: "POST", path: `/admin/plugins/${name}/disable` });
  await ask(server, { method: "DELETE", path: `/admin/plugins/${name}` });
}

async function statusOf(server: Child, name: string): Promise<{ lag: number; checkpoint: number }> {
  const response = await ask(server, { method: "GET", path: "/admin/plugins" });
  const all: { name: string; lag: number; checkpoint: number }[] = JSON.parse(
    await response.text(),
  );
  const found = all.find((plugin) => plugin.name === name);
  if (found === undefined) throw new Error(`there is no plugin ${name}`);
  return found;
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
  console.log(printTables(await benchPlugins({ directory: directory.path, quick, rounds })));
}
