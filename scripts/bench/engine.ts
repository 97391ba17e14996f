// Measures the engine without HTTP beside raw bun:sqlite: the same rows into the same tables with
// the same indexes, triggers and pragmas. Each subject is a process of its own on a fresh
// directory; the order of the two is turned round every round.

import { join } from "node:path";
import { mkdirSync, rmSync } from "node:fs";
import type { EngineJob, EngineResult } from "./engine-subject.ts";
import type { Figure } from "./report.ts";
import { median, runSubject } from "./subject.ts";

export interface EngineOptions {
  readonly directory: string;
  readonly rounds: number;
  readonly quick: boolean;
  readonly callers: readonly number[];
}

const aggregates = 10_000;
const payload_bytes = 250;
/** Of raw bun:sqlite, at the most callers. */
const ratioAim = 0.6;
const walAim = 256 * 1024 * 1024;

export async function benchEngine(options: EngineOptions): Promise<Figure[]> {
  const rounds: Record<"dbx" | "raw", EngineResult>[][] = [];
  for (let round = 0; round < options.rounds; round++) {
    const row: Record<"dbx" | "raw", EngineResult>[] = [];
    for (const callers of options.callers) row.push(await measure({ ...options, callers, round }));
    rounds.push(row);
  }
  return options.callers.flatMap((callers, index) => {
    const results = rounds.flatMap((row) => row[index] ?? []);
    return figuresOf(callers, results, Math.max(...options.callers));
  });
}

/** More where the rate is higher, so that every measurement takes about as long. */
export function eventsFor(callers: number, quick: boolean): number {
  const events = callers === 1 ? 6_000 : callers <= 8 ? 30_000 : callers <= 64 ? 80_000 : 150_000;
  return quick ? events / 5 : events;
}

export async function measureEngine(
  what: "dbx" | "raw",
  options: {
    directory: string;
    callers: number;
    quick: boolean;
    round: number;
    script?: string;
    sealed?: boolean;
  },
): Promise<EngineResult> {
  const { callers, round } = options;
  const directory = join(options.directory, `engine-${what}`);
  mkdirSync(directory);
  try {
    const job: EngineJob = {
      ...{ what, directory, callers, aggregates, payload_bytes },
      events: eventsFor(callers, options.quick),
      seed: 1 + round,
      sealed: options.sealed ?? false,
    };
    return await runSubject<EngineResult>(options.script ?? "engine-subject.ts", job);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  options: Omit<EngineOptions, "callers"> & { callers: number; round: number },
): Promise<Record<"dbx" | "raw", EngineResult>> {
  if (options.round % 2 === 0) {
    const dbx = await measureEngine("dbx", options);
    return { dbx, raw: await measureEngine("raw", options) };
  }
  const raw = await measureEngine("raw", options);
  return { dbx: await measureEngine("dbx", options), raw };
}

function figuresOf(
  callers: number,
  results: readonly Record<"dbx" | "raw", EngineResult>[],
  callersMost: number,
): Figure[] {
  const topic = "engine";
  const ratio = median(results.map(({ dbx, raw }) => dbx.per_second / raw.per_second));
  const of = (name: string, unit: string, pick: (result: EngineResult) => number) => {
    const raw = results.map(({ dbx }) => pick(dbx));
    return { topic, name: `${callers} callers, ${name}`, unit, value: median(raw), raw };
  };
  const plain = { baseline: null, ratio: null, aim: null };
  const rawRates = results.map(({ raw }) => raw.per_second);
  const rawCpu = results.map(({ raw }) => raw.cpu_us);
  const wal = Math.max(...results.map(({ dbx }) => dbx.wal_bytes_max));
  const memory = of("peak memory", "MiB", (each) => (each.peak_memory_bytes ?? NaN) / 2 ** 20);
  return [
    {
      ...of("durable appends", "events/s", ({ per_second }) => per_second),
      baseline: {
        name: `raw bun:sqlite, transactions of ${callers}`,
        value: median(rawRates),
        raw: rawRates,
      },
      ratio,
      aim:
        callers === callersMost && callers >= 512
          ? { text: `at least ${ratioAim * 100} %`, met: ratio >= ratioAim }
          : null,
    },
    {
      ...of("CPU time per append", "µs", ({ cpu_us }) => cpu_us),
      baseline: { name: "raw bun:sqlite", value: median(rawCpu), raw: rawCpu },
      ratio: median(results.map(({ dbx, raw }) => dbx.cpu_us / raw.cpu_us)),
      aim: null,
    },
    { ...of("append p50", "ms", ({ p50_ms }) => p50_ms), ...plain },
    { ...of("append p99", "ms", ({ p99_ms }) => p99_ms), ...plain },
    {
      ...of("largest WAL", "MiB", ({ wal_bytes_max }) => wal_bytes_max / 2 ** 20),
      ...plain,
      aim: { text: "under 256 MiB in every round", met: wal < walAim },
    },
    { ...memory, ...plain },
  ];
}
