// Does dbx stay as fast as it grows? Appends to aggregates of three lengths, and to a short and a
// long log. Builds the long log once per run; what else needs a long log (start-up, verify) uses
// the same directory.

import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Group, GrowthJob, GrowthResult } from "./growth-subject.ts";
import type { Figure } from "./report.ts";
import { median, runSubject } from "./subject.ts";

export interface LongLog {
  readonly directory: string;
  readonly short: string;
  readonly events: number;
  readonly groups: ReturnType<typeof groupsOf>;
  readonly build: Figure;
}

const callers = 64;
/**
 * So many aggregates are written to at a time, whatever their length: as many rows change per
 * commit.
 */
const streams = 4;
const flatAim = 0.8;
const shortEvents = 10_000;

const run = (job: GrowthJob): Promise<GrowthResult> => runSubject("growth-subject.ts", job);

export async function buildLongLog(options: {
  directory: string;
  rounds: number;
  quick: boolean;
}): Promise<LongLog> {
  const events = options.quick ? 100_000 : 1_000_000;
  const groups = groupsOf(options);
  const directory = join(options.directory, "long");
  const short = join(options.directory, "short");
  mkdirSync(directory);
  mkdirSync(short);
  const wanted = [...groups.small, ...groups.middle, groups.large, ...groups.targets];
  const counted = wanted.reduce((sum, group) => sum + group.count * group.events, 0);
  const rest = Math.max(0, Math.floor((events - counted) / 10));
  const filler = { name: "filler", count: rest, events: 10 };
  const built = await run({ what: "build", directory, groups: [...wanted, filler] });
  const [target] = groups.targets;
  if (target === undefined) throw new Error("there is a target for every round");
  await run({ what: "build", directory: short, groups: [target] });
  const rate = built.events / built.seconds;
  return {
    ...{ directory, short, events: built.events, groups },
    build: {
      topic: "growth",
      name: `building ${thousands(built.events)} events in batches of 500`,
      unit: "events/s",
      value: rate,
      raw: [rate],
      ...{ baseline: null, ratio: null, aim: null },
    },
  };
}

/** Every round has aggregates of its own, because measuring them makes them longer. */
function groupsOf({ rounds, quick }: { rounds: number; quick: boolean }) {
  const each = (name: string, count: number, events: number): Group[] =>
    Array.from({ length: rounds }, (_, round) => ({ name: `${name}-${round}`, count, events }));
  return {
    small: each("small", 800, 10),
    middle: each("middle", 20, 1_000),
    large: { name: "large", count: streams, events: quick ? 10_000 : 100_000 },
    targets: each("target", shortEvents / 10, 10),
  };
}

export async function benchGrowth(log: LongLog, { rounds }: { rounds: number }): Promise<Figure[]> {
  const { groups, directory } = log;
  const rates: Record<"small" | "middle" | "large" | "short" | "long", number[]> = {
    ...{ small: [], middle: [], large: [], short: [], long: [] },
  };
  for (let round = 0; round < rounds; round++) {
    const subjects: [keyof typeof rates, () => Promise<number>][] = [
      ["small", () => appendRate({ directory, group: groups.small[round], appends: 20 })],
      ["middle", () => appendRate({ directory, group: groups.middle[round], appends: 800 })],
      ["large", () => appendRate({ directory, group: groups.large, appends: 4_000 })],
      ["short", () => onCopy(log, (copy) => logRate(copy, groups.targets[0]))],
      ["long", () => logRate(directory, groups.targets[round])],
    ];
    const ordered = round % 2 === 0 ? subjects : subjects.reverse();
    for (const [name, measure] of ordered) rates[name].push(await measure());
  }
  const large = thousands(groups.large.events);
  const figures = {
    small: figure("append to aggregates of 10 events", rates.small),
    middle: figure("append to aggregates of 1,000 events", rates.middle),
    large: figure(`append to aggregates of ${large} events`, rates.large),
    short: figure(`append to a log of ${thousands(shortEvents)} events`, rates.short),
    long: figure(`append to a log of ${thousands(log.events)} events`, rates.long),
  };
  return [
    log.build,
    figures.small,
    beside(figures.middle, figures.small),
    beside(figures.large, figures.small),
    figures.short,
    beside(figures.long, figures.short),
  ];
}

export async function benchVerify(log: LongLog, { rounds }: { rounds: number }): Promise<Figure[]> {
  const rates: Record<"verify" | "read", number[]> = { verify: [], read: [] };
  const memory: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? (["verify", "read"] as const) : (["read", "verify"] as const);
    for (const what of order) {
      const { events, seconds, peak_memory_bytes } = await run({ what, directory: log.directory });
      rates[what].push(events / seconds);
      if (what === "verify") memory.push((peak_memory_bytes ?? NaN) / 2 ** 20);
    }
  }
  const topic = "verify";
  const verify = figure(`recompute ${thousands(log.events)} events`, rates.verify);
  const baseline = {
    name: "reading the same log only",
    value: median(rates.read),
    raw: rates.read,
  };
  const ratio = median(rates.verify.map((rate, round) => rate / (rates.read[round] ?? NaN)));
  return [
    { ...verify, topic, baseline, ratio },
    {
      ...{ topic, name: "peak memory", unit: "MiB", value: median(memory), raw: memory },
      ...{ baseline: null, ratio: null, aim: null },
    },
  ];
}

async function appendRate(options: {
  directory: string;
  group: Group | undefined;
  appends: number;
}): Promise<number> {
  const { directory, group, appends } = options;
  if (group === undefined) throw new Error("there are aggregates for every round");
  const { events, seconds } = await run({
    ...{ what: "append", directory, group, callers, streams, appends },
  });
  return events / seconds;
}

/** A thousand aggregates of ten events, in whatever log they lie. */
const logRate = (directory: string, group: Group | undefined): Promise<number> =>
  appendRate({ directory, group, appends: 20 });

async function onCopy(
  log: LongLog,
  measure: (directory: string) => Promise<number>,
): Promise<number> {
  const copy = `${log.short}-copy`;
  cpSync(log.short, copy, { recursive: true });
  try {
    return await measure(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

const figure = (name: string, raw: readonly number[]): Figure => ({
  ...{ topic: "growth", name, unit: "events/s", value: median(raw), raw },
  ...{ baseline: null, ratio: null, aim: null },
});

function beside(one: Figure, other: Figure): Figure {
  const ratio = median(one.raw.map((rate, round) => rate / (other.raw[round] ?? NaN)));
  return {
    ...one,
    baseline: { name: other.name, value: other.value, raw: other.raw },
    ratio,
    aim: { text: "flat within 20 %", met: ratio >= flatAim },
  };
}

const thousands = (count: number): string => count.toLocaleString("en-US");
