// How fast `dbx backup` and `dbx restore` are, beside copying and hashing the same bytes with the
// system's tools; how much memory they take for four times the data; what an increment takes; and
// how long appends take while a server is backed up.

import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { dbxCommand } from "../../test/support/cli.ts";
import { jobFor, load, serve } from "./child.ts";
import { alone, beside, inTurn } from "./figure.ts";
import type { GrowthJob, GrowthResult } from "./growth-subject.ts";
import type { Figure } from "./report.ts";
import { runSubject } from "./subject.ts";

const topic = "backup";
const mib = 2 ** 20;
const events_each = 100;
/** Appends wait for the disk and the cores that the backup uses, too. */
const slower_max = 5;
const memory_ratio_max = 1.5;

interface Store {
  readonly directory: string;
  readonly home: string;
  readonly events: number;
}

interface Run {
  readonly seconds: number;
  readonly peak_mib: number;
}

export async function benchBackup(options: {
  directory: string;
  rounds: number;
  quick: boolean;
}): Promise<Figure[]> {
  const { rounds, quick } = options;
  const large = await build(options.directory, quick ? 200_000 : 1_000_000);
  const small = await build(options.directory, large.events / 4);
  const taken: Record<"backup" | "restore" | "copy" | "since" | "small", Run[]> = {
    ...{ backup: [], restore: [], copy: [], since: [], small: [] },
  };
  const ratios = { packed: [] as number[], increment: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    const output = join(large.home, `${round}.dbx`);
    const [whole, copied] = await inTurn(
      round,
      () => dbx(large, ["backup", "--output", output]),
      () => copyAndHash(large),
    );
    taken.backup.push(whole);
    taken.copy.push(copied);
    ratios.packed.push(bytesOf(large) / statSync(output).size);
    taken.small.push(await dbx(small, ["backup", "--output", join(small.home, `${round}.dbx`)]));
    const target = join(large.home, "restored");
    taken.restore.push(await dbx(large, ["restore", "--input", output, "--data-dir", target]));
    rmSync(target, { recursive: true });
    await grow(large, round);
    const next = join(large.home, `${round}-next.dbx`);
    taken.since.push(await dbx(large, ["backup", "--output", next, "--since", output]));
    ratios.increment.push(statSync(next).size / statSync(output).size);
    rmSync(next);
    rmSync(output);
  }
  return [
    ...rates(large, taken),
    alone({ topic, name: "data to backup, bytes", unit: "times", raw: ratios.packed }),
    alone({
      ...{ topic, name: "after 1 % more events, --since, of a whole one", unit: "%" },
      raw: ratios.increment.map((ratio) => ratio * 100),
    }),
    ...(await besideAppends(large, { rounds, quick })),
  ];
}

const bytesOf = ({ directory }: Store): number => statSync(join(directory, "dbx.db")).size;

async function build(parent: string, events: number): Promise<Store> {
  const directory = join(parent, `backup-${events}`);
  const home = join(parent, `backup-home-${events}`);
  mkdirSync(home);
  const groups = [{ name: "kept", count: events / events_each, events: events_each }];
  const job: GrowthJob = { what: "build", directory, groups };
  await runSubject<GrowthResult>("growth-subject.ts", job);
  return { directory, home, events };
}

/** One percent more, of other aggregates. */
async function grow({ directory, events }: Store, round: number): Promise<void> {
  const groups = [
    { name: `more-${round}`, count: events / 100 / events_each, events: events_each },
  ];
  const job: GrowthJob = { what: "build", directory, groups };
  await runSubject<GrowthResult>("growth-subject.ts", job);
}

async function dbx({ home, directory }: Store, args: readonly string[]): Promise<Run> {
  const env = { EVENTDBX_DATA_DIR: directory };
  const { command, options } = dbxCommand(args, { home, env });
  return timed(command, options);
}

/** What the least would be: the bytes once more on the disk, and known to be the same. */
async function copyAndHash({ directory, home }: Store): Promise<Run> {
  const [from, to] = [join(directory, "dbx.db"), join(home, "copy")];
  const script = 'cp "$1" "$2" && sync "$2" && sha256sum "$1" "$2" && rm "$2"';
  return timed(["sh", "-c", script, "sh", from, to], { env: { PATH: process.env["PATH"] ?? "" } });
}

async function timed(
  command: readonly string[],
  options: { readonly env: Record<string, string> },
): Promise<Run> {
  const started = performance.now();
  const child = Bun.spawn([...command], { ...options, stdout: "ignore", stderr: "pipe" });
  const words = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${words}`);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, peak_mib: (child.resourceUsage()?.maxRSS ?? 0) / mib };
}

function rates(
  large: Store,
  taken: Readonly<Record<"backup" | "restore" | "copy" | "since" | "small", readonly Run[]>>,
): Figure[] {
  const megabytes = bytesOf(large) / 1_000_000;
  const perSecond = (runs: readonly Run[]) => runs.map(({ seconds }) => megabytes / seconds);
  const peaks = (runs: readonly Run[]) => runs.map(({ peak_mib }) => peak_mib);
  const unit = "MB/s";
  const baseline = "cp, sync and sha256sum of both";
  const others = perSecond(taken.copy);
  const of = `${Math.round(megabytes)} MB`;
  return [
    beside({ topic, name: `backup, ${of}`, unit, ones: perSecond(taken.backup), others, baseline }),
    beside({
      topic,
      name: `restore, ${of}`,
      unit,
      ones: perSecond(taken.restore),
      others,
      baseline,
    }),
    alone({ topic, name: "the same with --since", unit, raw: perSecond(taken.since) }),
    beside({
      ...{ topic, name: `backup, peak memory, ${of}`, unit: "MiB" },
      ...{ ones: peaks(taken.backup), others: peaks(taken.small), baseline: "a quarter of it" },
      aim: {
        text: `at most ${memory_ratio_max} times`,
        meets: (ratio) => ratio <= memory_ratio_max,
      },
    }),
    alone({ topic, name: `restore, peak memory, ${of}`, unit: "MiB", raw: peaks(taken.restore) }),
  ];
}

/** One backup after the other as long as appends are measured. */
async function besideAppends(
  store: Store,
  { rounds, quick }: { readonly rounds: number; readonly quick: boolean },
): Promise<Figure[]> {
  const p99: { readonly quiet: number[]; readonly backed: number[] } = { quiet: [], backed: [] };
  const longest: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const server = await serve("dbx", store.directory);
    const job = jobFor(server, { request: "append", connections: 16, seconds: quick ? 5 : 15 });
    const quiet = async () => load(job);
    const backed = async () => {
      let measuring = true;
      const backups = (async () => {
        for (let number = 0; measuring; number++) {
          const output = join(store.home, `beside-${number}.dbx`);
          await dbx(store, ["backup", "--output", output]);
          rmSync(output);
        }
      })();
      const measured = await load(job);
      measuring = false;
      await backups;
      return measured;
    };
    const [calm, busy] = await inTurn(round, quiet, backed);
    p99.quiet.push(calm.p99_ms);
    p99.backed.push(busy.p99_ms);
    longest.push(busy.max_ms);
    await server.stop();
  }
  return [
    beside({
      ...{ topic, name: "p99 of appends while it is backed up, 16 connections", unit: "ms" },
      ...{ ones: p99.backed, others: p99.quiet, baseline: "no backup" },
      aim: { text: `at most ${slower_max} times`, meets: (ratio) => ratio <= slower_max },
    }),
    alone({ topic, name: "the longest of these appends", unit: "ms", raw: longest }),
  ];
}
