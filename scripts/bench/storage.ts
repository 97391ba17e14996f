/**
 * The storage port alone: events per second and the time of a commit, per implementation and batch
 * size, beside bun:sqlite inserting the same rows into the same tables in transactions of that
 * size.
 *
 *   bun scripts/bench/storage.ts [--events=60000] [--streams=10000] [--sizes=1,8,64,512]
 *     [--only=copier] [--preload=0] [--depth=1] [--json]
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { canonicalOf } from "../../src/model/canonical.ts";
import { planAppends, type PlanContext, type Transaction } from "../../src/model/plan.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import { openSqliteStorage, type ThreadUse } from "../../src/storage/sqlite/open.ts";
import {
  connectReader,
  connectWriter,
  pagesPerCheckpoint,
} from "../../src/storage/sqlite/connect.ts";
import { createWriter, type Batch } from "../../src/storage/sqlite/writer.ts";
import { createCore } from "../../src/storage/sqlite/core.ts";
import { createKeyring } from "../../src/storage/sqlite/keyring.ts";
import { createReader } from "../../src/storage/sqlite/reader.ts";
import { createOpener } from "../../src/storage/sqlite/sealed.ts";
import { archivePathOf, createArchive } from "../../src/storage/sqlite/archive.ts";
import { mainFormat } from "../../src/storage/sqlite/migrations.ts";
import { createMoves } from "../../src/storage/sqlite/moves.ts";
import type { Storage } from "../../src/storage/storage.ts";

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "60000" },
    streams: { type: "string", default: "10000" },
    sizes: { type: "string", default: "1,8,64,512" },
    only: { type: "string" },
    preload: { type: "string", default: "0" },
    depth: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const events = Number(values.events);
const streams = Number(values.streams);

interface Row {
  readonly implementation: string;
  readonly batch: number;
  readonly events_per_second: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly max_ms: number;
  readonly wal_mb_max: number;
  readonly cpu_us: number;
}

const context: PlanContext = {
  now: "2024-12-01T17:22:43.512345Z",
  allowanceOf: () => ({ ok: true, writes_max: null, expires_at: null, term: "t" }),
  checkSchema: () => undefined,
  snapshotThresholdOf: () => null,
  hidesSomething: () => false,
};
const payload = canonicalOf({ text: "x".repeat(239) });
const issued_by = { group: "admin", user: "jane" };

const keyOf = (): StreamKey => ({
  aggregate_type: "account",
  aggregate_id: `account-${Math.floor(Math.random() * streams)}`,
});

const transaction = (): Transaction => ({
  events: [
    {
      ...keyOf(),
      event_type: "deposited",
      payload,
      note: null,
      event_id: Bun.randomUUIDv7(),
      client_id: false,
      expected_version: "any",
      salt: crypto.getRandomValues(new Uint8Array(16)),
    },
  ],
  batch: false,
  issued_by,
  token_id: null,
});

function commit(storage: Pick<Storage, "commit">, size: number): Promise<unknown> {
  const transactions = Array.from({ length: size }, transaction);
  const keys = new Map(transactions.flatMap(({ events: [e] }) => (e ? [[e.aggregate_id, e]] : [])));
  return storage.commit({ keys: [...keys.values()], event_ids: [], token_ids: [] }, (known) =>
    planAppends(known, transactions, context),
  );
}

/** `step` commits one batch; it is called until `events` are in, `depth` of them at a time. */
async function measure(
  implementation: string,
  options: { batch: number; directory: string | null; step: () => Promise<unknown> },
): Promise<Row> {
  const { batch, directory, step } = options;
  // A commit of one event costs a whole fsync: fewer are enough for a stable figure.
  const commits = Math.min(Math.ceil(events / batch), batch < 8 ? 5_000 : Infinity);
  const times: number[] = [];
  let walMax = 0;
  let left = commits;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const before = performance.now();
      await step();
      times.push(performance.now() - before);
      if (directory !== null) walMax = Math.max(walMax, walBytes(directory));
    }
  };
  await Promise.all(Array.from({ length: Number(values.depth) }, worker));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    Number((times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(2));
  return {
    implementation,
    batch,
    events_per_second: Math.round((commits * batch) / seconds),
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    max_ms: at(1),
    wal_mb_max: Math.round(walMax / 1e6),
    cpu_us: Number(((user + system) / (commits * batch)).toFixed(1)),
  };
}

const walBytes = (directory: string): number =>
  statSync(join(directory, "dbx.db-wal"), { throwIfNoEntry: false })?.size ?? 0;

async function inDirectory(use: (directory: string) => Promise<Row>): Promise<Row> {
  const directory = mkdtempSync(join(tmpdir(), "dbx-bench-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Plans the batches before the clock starts, so that only SQLite is measured. */
const raw = (batch: number): Promise<Row> =>
  inDirectory(async (directory) => {
    const options = { durability: "full", autocheckpoint: pagesPerCheckpoint } as const;
    const path = join(directory, "dbx.db");
    await Bun.write(path, "");
    const { database } = connectWriter(path, {
      ...{ format: mainFormat, ...options, secure_delete: false },
    });
    const writer = createWriter(database, null);
    const reading = connectReader(path, mainFormat);
    if (reading === undefined) throw new Error("the database is empty");
    const opener = createOpener(createKeyring(reading.database, null));
    const archive = createArchive(archivePathOf(path), opener);
    const reader = createReader(reading.database, archive, opener);
    const batches: Batch[] = [];
    const sink = {
      write: async (each: Batch) => void batches.push(each),
      alter: async () => null,
      broken: Promise.withResolvers<unknown>().promise,
      figures: () => ({}),
      check: async () => [],
      compact: async () => true,
      close: async () => undefined,
    };
    const moves = createMoves({ path, dek: null, threads: false, read: reader.move });
    const core = createCore({ reader, moves, sink, heads_max: streams });
    for (let index = 0; index < Math.ceil(events / batch); index++) await commit(core, batch);
    let next = 0;
    const row = await measure("raw bun:sqlite", {
      batch,
      directory,
      step: async () => {
        const each = batches[next++];
        if (each !== undefined) writer.write(each);
      },
    });
    writer.close();
    reader.close();
    reading.database.close();
    database.close();
    return row;
  });

const sqlite = (threads: false | ThreadUse) => (batch: number) =>
  inDirectory(async (directory) => {
    const storage = await openSqliteStorage({
      directory,
      durability: "full",
      access: "write",
      heads_max: 100_000,
      opener: null,
      lock_wait_ms: 0,
      threads,
      dek: null,
    });
    for (let index = 0; index < Number(values.preload); index += 512) await commit(storage, 512);
    const row = await measure(`sqlite, threads: ${threads}`, {
      batch,
      directory,
      step: () => commit(storage, batch),
    });
    if (values.json) console.error(JSON.stringify(await storage.figures()));
    await storage.close();
    return row;
  });

const memory = (batch: number) => {
  const storage = createMemoryStorage({ sealing: "none" });
  return measure("memory", { batch, directory: null, step: () => commit(storage, batch) });
};

const rows: Row[] = [];
const subjects = {
  memory,
  raw,
  inline: sqlite(false),
  copier: sqlite("copier"),
  both: sqlite("both"),
};
for (const batch of values.sizes.split(",").map(Number)) {
  for (const [name, run] of Object.entries(subjects)) {
    if (values.only !== undefined && values.only !== name) continue;
    rows.push(await run(batch));
  }
}
console.log(values.json ? JSON.stringify(rows) : Bun.inspect.table(rows));
