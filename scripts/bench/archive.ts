// What archiving and restoring a long aggregate costs those who write to others meanwhile: the 99th
// percentile of 16 writers over REST while it runs, beside that of the same writers before it.

import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { payload, seeded, type Job, type Load } from "./load.ts";
import type { Figure } from "./report.ts";
import { load, serve, type Child } from "./child.ts";
import { median } from "./subject.ts";

const connections = 16;
const batchEvents = 1000;
const tailAim = 3;
const path = "/v1/aggregates/case/long";

interface Round {
  readonly idle: Load;
  readonly archive: Load;
  readonly restore: Load;
  readonly archive_seconds: number;
  readonly restore_seconds: number;
  readonly bodies_bytes: number;
  readonly archive_bytes: number;
}

export async function benchArchive(options: {
  directory: string;
  rounds: number;
  quick: boolean;
}): Promise<Figure[]> {
  const events = options.quick ? 10_000 : 100_000;
  const seconds = options.quick ? 1 : 5;
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const directory = join(options.directory, `archive-${round}`);
    mkdirSync(directory);
    rounds.push(await measure({ directory, events, seconds, seed: round + 1 }));
    rmSync(directory, { recursive: true });
  }
  return figuresOf(rounds, events);
}

async function measure(options: {
  directory: string;
  events: number;
  seconds: number;
  seed: number;
}): Promise<Round> {
  const { directory, events, seconds, seed } = options;
  const dbx = await serve("dbx", directory);
  try {
    const bodies_bytes = await fill(dbx, { events, seed });
    const writing = (): Promise<Load> => load(jobOf(dbx, { seconds, seed }));
    // The first run finds caches empty and the log of the filling uncopied; it would flatter us.
    await writing();
    const idle = await writing();
    const archive = await beside(dbx, { move: "archive", writing });
    const archive_bytes = statSync(join(directory, "archive.db")).size;
    const restore = await beside(dbx, { move: "restore", writing });
    return {
      ...{ idle, archive: archive.load, restore: restore.load, bodies_bytes, archive_bytes },
      ...{ archive_seconds: archive.seconds, restore_seconds: restore.seconds },
    };
  } finally {
    await dbx.stop();
  }
}

const jobOf = (dbx: Child, { seconds, seed }: { seconds: number; seed: number }): Job => ({
  ...{ port: dbx.port, token: dbx.token, connections, seconds, warmup_seconds: 0.5 },
  ...{ request: "append", aggregates: 10_000, distribution: "uniform" },
  ...{ payload_bytes: 250, batch_events, seed },
});

/** Of the load generator's batches, which this one has none of. */
const batch_events = 1;

/** One aggregate of so many events. Out: the bytes of their payloads. */
async function fill(
  dbx: Child,
  { events, seed }: { events: number; seed: number },
): Promise<number> {
  const random = seeded(seed);
  let bytes = 0;
  for (let first = 0; first < events; first += batchEvents) {
    const batch = Array.from({ length: batchEvents }, () => ({
      ...{ aggregate_type: "case", aggregate_id: "long", event_type: "case-changed" },
      payload: payload(250, random),
    }));
    const body = JSON.stringify({ events: batch });
    await post(dbx, "/v1/events/batch", body);
    bytes += batch.length * 250;
  }
  return bytes;
}

/** The move, once the writers are under way; both are waited for. */
async function beside(
  dbx: Child,
  { move, writing }: { move: "archive" | "restore"; writing: () => Promise<Load> },
): Promise<{ load: Load; seconds: number }> {
  const loading = writing();
  await Bun.sleep(500);
  const started = performance.now();
  await post(dbx, `${path}/${move}`, "{}");
  const seconds = (performance.now() - started) / 1000;
  return { load: await loading, seconds };
}

async function post(dbx: Child, to: string, body: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${dbx.port}${to}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${dbx.token}`, "Content-Type": "application/json" },
    body,
  });
  if (!response.ok) throw new Error(await response.text());
}

function figuresOf(rounds: readonly Round[], events: number): Figure[] {
  const topic = "archive";
  const count = events.toLocaleString("en-US");
  const tail = (name: "archive" | "restore"): Figure => {
    const ones = rounds.map((round) => round[name].p99_ms);
    const others = rounds.map(({ idle }) => idle.p99_ms);
    const ratio = median(ones.map((one, index) => one / (others[index] ?? NaN)));
    return {
      ...{ topic, name: `append p99 of 16 writers during ${name} of ${count} events`, unit: "ms" },
      ...{ value: median(ones), raw: ones, ratio },
      baseline: { name: "the same writers before it", value: median(others), raw: others },
      aim: { text: "at most 3 × before", met: ratio <= tailAim },
    };
  };
  const plain = (name: string, unit: string, raw: readonly number[]): Figure => ({
    ...{ topic, name, unit, value: median(raw), raw, baseline: null, ratio: null, aim: null },
  });
  const size: Figure = {
    ...plain(
      `archive file of ${count} events`,
      "MiB",
      rounds.map((round) => round.archive_bytes / 2 ** 20),
    ),
    baseline: {
      name: "their payloads as JSON",
      value: median(rounds.map((round) => round.bodies_bytes / 2 ** 20)),
      raw: rounds.map((round) => round.bodies_bytes / 2 ** 20),
    },
    ratio: median(rounds.map((round) => round.archive_bytes / round.bodies_bytes)),
  };
  return [
    tail("archive"),
    tail("restore"),
    plain(
      `archive ${count} events beside 16 writers`,
      "s",
      rounds.map((round) => round.archive_seconds),
    ),
    plain(
      `restore ${count} events beside 16 writers`,
      "s",
      rounds.map((round) => round.restore_seconds),
    ),
    size,
  ];
}
