// How fast `dbx aggregate export --all` is, beside copying the same bytes, and whether its memory
// stays the same when there is ten times as much.

import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExportJob, ExportResult } from "./export-subject.ts";
import type { GrowthJob, GrowthResult } from "./growth-subject.ts";
import type { Figure } from "./report.ts";
import { median, runSubject } from "./subject.ts";

const events_each = 4;
/**
 * 64 MiB of it are SQLite's cache, which a small store does not fill; that, and the garbage that
 * the runtime lets lie at first, is why the smaller store takes less.
 */
const memory_mib_max = 320;
const formats = ["csv", "json"] as const;
type Format = (typeof formats)[number];

const run = (job: ExportJob): Promise<ExportResult> => runSubject("export-subject.ts", job);

interface Store {
  readonly config: string;
  readonly folder: string;
  readonly events: number;
}

interface Round extends ExportResult {
  readonly copy_seconds: number;
  readonly bytes: number;
}

export async function benchExport(options: {
  directory: string;
  rounds: number;
  quick: boolean;
}): Promise<Figure[]> {
  const [few, many] = options.quick ? [10_000, 100_000] : [100_000, 1_000_000];
  const folder = join(options.directory, "export");
  const short = await buildStore(join(folder, "short"), few);
  const long = await buildStore(join(folder, "long"), many);
  const figures: Figure[] = [];
  for (const format of formats) {
    const rounds: { short: Round[]; long: Round[] } = { short: [], long: [] };
    for (let round = 0; round < options.rounds; round++) {
      const order = round % 2 === 0 ? (["short", "long"] as const) : (["long", "short"] as const);
      for (const name of order) {
        rounds[name].push(await measure(name === "short" ? short : long, format));
      }
    }
    figures.push(...figuresOf({ format, short, long, rounds }));
  }
  rmSync(folder, { recursive: true });
  return figures;
}

async function buildStore(folder: string, events: number): Promise<Store> {
  const directory = join(folder, "data");
  mkdirSync(directory, { recursive: true });
  const groups = [{ name: "export", count: events / events_each, events: events_each }];
  const job: GrowthJob = { what: "build", directory, groups };
  const built = await runSubject<GrowthResult>("growth-subject.ts", job);
  const config = join(folder, "config.toml");
  writeFileSync(config, `data_dir = ${JSON.stringify(directory)}\n`);
  return { config, folder, events: built.events };
}

async function measure({ config, folder }: Store, format: Format): Promise<Round> {
  const output = join(folder, `all.${format}`);
  const to = `${output}.copy`;
  const exported = await run({ what: "export", config, format, output });
  const copied = await run({ what: "copy", from: output, to });
  const bytes = statSync(output).size;
  rmSync(output);
  rmSync(to);
  return { ...exported, copy_seconds: copied.seconds, bytes };
}

function figuresOf(measured: {
  format: Format;
  short: Store;
  long: Store;
  rounds: { short: readonly Round[]; long: readonly Round[] };
}): Figure[] {
  const { format, short, long, rounds } = measured;
  const topic = "export";
  const shown = `${format.toUpperCase()}, ${thousands(long.events)} events`;
  const rows = long.events / events_each;
  const rate = rounds.long.map(({ seconds }) => rows / seconds);
  const copy = rounds.long.map(({ copy_seconds }) => rows / copy_seconds);
  const seconds = rounds.long.map((round) => round.seconds);
  const megabytes = Math.round((rounds.long[0]?.bytes ?? NaN) / 1e6);
  const memory = rounds.long.map(memoryOf);
  const memoryShort = rounds.short.map(memoryOf);
  return [
    {
      ...{ topic, name: `${shown}: aggregates`, unit: "rows/s", value: median(rate), raw: rate },
      baseline: { name: `copying the ${megabytes} MB`, value: median(copy), raw: copy },
      ratio: median(rate.map((each, round) => each / (copy[round] ?? NaN))),
      aim: null,
    },
    {
      ...{ topic, name: `${shown}: time`, unit: "s", value: median(seconds), raw: seconds },
      ...{ baseline: null, ratio: null, aim: null },
    },
    {
      ...{ topic, name: `${shown}: peak memory`, unit: "MiB" },
      ...{ value: median(memory), raw: memory },
      baseline: {
        name: `${thousands(short.events)} events`,
        ...{ value: median(memoryShort), raw: memoryShort },
      },
      ratio: median(memory.map((each, round) => each / (memoryShort[round] ?? NaN))),
      aim: {
        text: `at most ${memory_mib_max} MiB, however large the log`,
        met: Math.max(...memory) <= memory_mib_max,
      },
    },
  ];
}

const memoryOf = ({ peak_memory_bytes }: Round): number => (peak_memory_bytes ?? NaN) / 2 ** 20;

const thousands = (count: number): string => count.toLocaleString("en-US");
