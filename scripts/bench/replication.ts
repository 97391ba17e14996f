// How fast `dbx push` and `dbx pull` bring events over, beside the same events sent in batches over
// REST; whether both sides take no more memory for more of them; and how long comparing takes where
// nothing differs. Two nodes of real processes on loopback, over the disk that is measured.

import { join } from "node:path";
import { dbxCommand, type RunningServer } from "../../test/support/cli.ts";
import { introduce, openHome, type Home } from "../../test/support/homes.ts";
import { jobFor, load, serve } from "./child.ts";
import { alone, beside } from "./figure.ts";
import type { GrowthJob, GrowthResult } from "./growth-subject.ts";
import { peakMemory } from "./machine.ts";
import type { Figure } from "./report.ts";
import { runSubject } from "./subject.ts";

const topic = "replication";
const events_each = 100;
/**
 * Of ten times as many events. SQLite's cache and the garbage that the runtime lets lie at first
 * are why 10,000 take less.
 */
const memory_ratio_max = 1.5;

type Way = "push" | "pull";

interface Moved {
  readonly seconds: number;
  /** Peak of the command, and of the called node's server. */
  readonly command_mib: number;
  readonly server_mib: number;
}

export async function benchReplication(options: {
  directory: string;
  rounds: number;
  quick: boolean;
}): Promise<Figure[]> {
  const { directory, rounds, quick } = options;
  const sizes = quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000];
  const rated = 100_000;
  const rest: number[] = [];
  const moved = new Map<string, Moved[]>();
  for (let round = 0; round < rounds; round++) {
    rest.push(await restRate(join(directory, `replication-rest-${round}`), quick));
    for (const events of sizes) {
      // The longest one once: it is there for its memory.
      if (events > rated && round > 0) continue;
      for (const way of ["push", "pull"] as const) {
        const list = moved.get(`${way} ${events}`) ?? [];
        moved.set(`${way} ${events}`, [...list, await move(way, events)]);
      }
    }
  }
  return [
    ...(["push", "pull"] as const).flatMap((way) => figuresOf(way, { sizes, rated, moved, rest })),
    ...(await compareFigures(quick ? 100_000 : 1_000_000)),
  ];
}

/** Events a second, as many clients send them. */
async function restRate(directory: string, quick: boolean): Promise<number> {
  const server = await serve("dbx", directory);
  const seconds = quick ? 2 : 4;
  const job = jobFor(server, { request: "batch", connections: 16, seconds });
  const { per_second } = await load(job);
  await server.stop();
  return per_second * job.batch_events;
}

async function build(home: Home, count: number, events: number): Promise<void> {
  const groups = [{ name: "moved", count, events }];
  const job: GrowthJob = { what: "build", directory: join(home.path, ".eventdbx"), groups };
  await runSubject<GrowthResult>("growth-subject.ts", job);
}

async function move(way: Way, events: number): Promise<Moved> {
  using caller = await openHome();
  using called = await openHome();
  await build(way === "push" ? caller : called, events / events_each, events_each);
  await using server = await called.start();
  await introduce(caller, called, { port: server.socket_port });
  const moved = await command([way, "called", "--json"], { caller, server });
  if (!moved.text.includes(`"events": ${events},`)) throw new Error(`${way}: ${moved.text}`);
  return moved;
}

async function command(
  args: readonly string[],
  { caller, server }: { caller: Home; server: RunningServer },
): Promise<Moved & { readonly text: string }> {
  const { command: words, options } = dbxCommand(args, { home: caller.path });
  const started = performance.now();
  const child = Bun.spawn(words, { ...options, stdout: "pipe", stderr: "inherit" });
  const text = await child.stdout.text();
  const code = await child.exited;
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`dbx ${args.join(" ")} failed`);
  const [own, others] = [child.resourceUsage()?.maxRSS ?? 0, peakMemory(server.pid) ?? 0];
  return { text, seconds, command_mib: own / 2 ** 20, server_mib: others / 2 ** 20 };
}

function figuresOf(
  way: Way,
  measured: {
    sizes: readonly number[];
    rated: number;
    moved: ReadonlyMap<string, readonly Moved[]>;
    rest: readonly number[];
  },
): Figure[] {
  const { sizes, rated, moved, rest } = measured;
  const of = (events: number) => moved.get(`${way} ${events}`) ?? [];
  const rates = (events: number) => of(events).map(({ seconds }) => events / seconds);
  const [least = 0] = sizes;
  const long = sizes.filter((events) => events > rated);
  const memory = (side: "command" | "server"): Figure[] => {
    const mibs = (events: number) => of(events).map((each) => each[`${side}_mib`]);
    const named = (events: number) =>
      `${way}, peak memory of the ${side}, ${counted(events)} events`;
    return [
      alone({ topic, name: named(least), unit: "MiB", raw: mibs(least) }),
      alone({ topic, name: named(rated), unit: "MiB", raw: mibs(rated) }),
      ...long.map((events) =>
        beside({
          ...{ topic, name: named(events), unit: "MiB", ones: mibs(events), others: mibs(rated) },
          baseline: `${counted(rated)} events`,
          aim: {
            text: `at most ${memory_ratio_max} times`,
            meets: (ratio) => ratio <= memory_ratio_max,
          },
        }),
      ),
    ];
  };
  return [
    beside({
      ...{ topic, name: `${way}, ${counted(rated)} events`, unit: "events/s" },
      ...{ ones: rates(rated), others: rest },
      baseline: "REST, batches of 100, 16 connections",
      aim: { text: "at least as fast", meets: (ratio) => ratio >= 1 },
    }),
    ...long.map((events) =>
      alone({
        topic,
        name: `${way}, ${counted(events)} events`,
        unit: "events/s",
        raw: rates(events),
      }),
    ),
    ...memory("command"),
    ...memory("server"),
  ];
}

/** Two nodes that have the same, which each of them tells page by page. */
async function compareFigures(aggregates: number): Promise<Figure[]> {
  using caller = await openHome();
  using called = await openHome();
  await build(caller, aggregates, 1);
  const [from, to] = [caller, called].map(({ path }) => join(path, ".eventdbx/dbx.db"));
  if (from === undefined || to === undefined) throw new Error("both have a database");
  await Bun.write(to, Bun.file(from));
  await using server = await called.start();
  await introduce(caller, called, { port: server.socket_port });
  const { text, seconds, ...peak } = await command(["push", "called", "--json"], {
    ...{ caller, server },
  });
  if (!text.includes('"events": 0,')) throw new Error(text);
  const name = `comparing ${counted(aggregates)} equal aggregates`;
  return [
    alone({ topic, name, unit: "aggregates/s", raw: [aggregates / seconds] }),
    alone({
      ...{ topic, name: `${name}, peak memory of the command`, unit: "MiB" },
      raw: [peak.command_mib],
    }),
    alone({
      ...{ topic, name: `${name}, peak memory of the server`, unit: "MiB" },
      raw: [peak.server_mib],
    }),
  ];
}

const counted = (count: number): string => count.toLocaleString("en-US");
