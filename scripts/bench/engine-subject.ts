// One subject of engine.ts, in a process of its own. `dbx`: so many callers that each wait for
// their append, on a store opened as the server opens it. `raw`: the same statements with the same
// values, recorded from dbx itself, run by nothing but bun:sqlite, in transactions of as many
// events as there are callers.

import { Database, type Statement } from "bun:sqlite";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { createLog, type LogFields } from "../../src/log.ts";
import { grants, type Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { open, type Opened } from "../../src/open.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../../test/support/store.ts";
import { payload, seeded, zipf } from "./load.ts";
import { peakMemory, watchWal } from "./machine.ts";
import { quantile } from "./subject.ts";

export interface EngineJob {
  readonly what: "dbx" | "raw";
  /** Empty; the subject fills it. */
  readonly directory: string;
  readonly callers: number;
  readonly events: number;
  readonly aggregates: number;
  readonly payload_bytes: number;
  readonly seed: number;
  /** With a data encryption key. */
  readonly sealed: boolean;
}

export interface EngineResult {
  readonly per_second: number;
  /** Of all threads, per event: tells more than the rate where others use the machine too. */
  readonly cpu_us: number;
  /** From the call to the answer; of whole transactions where there are no callers. */
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly wal_bytes_max: number;
  readonly peak_memory_bytes: number | null;
}

export type Appended = Parameters<Opened["dbx"]["appendEvent"]>[1];

/** Of stores that are encrypted. */
export const benchKey = Buffer.alloc(32, 7).toString("base64");

/**
 * The store as the server has it, and an actor who pays with a token. `settings`: the pragmas as
 * read back.
 */
export async function openForBench(
  directory: string,
  { threads, sealed = false }: { threads: boolean; sealed?: boolean },
): Promise<{ opened: Opened; actor: Actor; settings: LogFields }> {
  let settings: LogFields = {};
  const quiet = createLog({
    least: "warn",
    now: realSystem.now,
    write: (line) => console.error(line),
  });
  const opened = await open({
    config: testConfig(directory, sealed ? { data_encryption_key: benchKey } : {}),
    log: {
      ...quiet,
      info: (phrase, fields) => {
        if (phrase === "storage open" && fields !== undefined) settings = fields;
      },
    },
    system: realSystem,
    access: "write",
    opener: null,
    lock_wait_ms: 0,
    threads,
    plugins: false,
    env: {},
    reload: null,
    keepKey: null,
    keepRemote: null,
  });
  const issuer: Actor = { group: "admin", user: "bench", grants, scope: null, token_id: null };
  const { token } = await opened.dbx.issueToken(issuer, { group: "admin", user: "bench" });
  return { opened, actor: opened.authenticate(token), settings };
}

/**
 * Events made before a measurement, used round and round: a heap full of them would slow down dbx's
 * own.
 */
const events_prepared = 20_000;

/** Lets `callers` append `count` events one after the other, each waiting for its answer. */
export async function appendConcurrently(
  opened: Opened,
  actor: Actor,
  options: { callers: number; events: readonly Appended[]; count: number },
): Promise<{ seconds: number; cpu: NodeJS.CpuUsage; latencies: Float64Array }> {
  const { callers, events, count } = options;
  const latencies = new Float64Array(count);
  let next = 0;
  const call = async () => {
    while (next < count) {
      const index = next++;
      const event = events[index % events.length];
      if (event === undefined) throw new Error("there is an event for every call");
      const started = performance.now();
      await opened.dbx.appendEvent(actor, event);
      latencies[index] = performance.now() - started;
    }
  };
  const cpu = process.cpuUsage();
  const started = performance.now();
  await Promise.all(Array.from({ length: callers }, call));
  const seconds = (performance.now() - started) / 1000;
  return { seconds, cpu: process.cpuUsage(cpu), latencies };
}

async function main(job: EngineJob): Promise<EngineResult> {
  await fill(job);
  return job.what === "dbx" ? measureDbx(job) : measureRaw(job);
}

/** One event for every aggregate, so that nothing is measured on an empty store. */
async function fill(job: EngineJob): Promise<void> {
  const { sealed } = job;
  const { opened, actor } = await openForBench(job.directory, { threads: false, sealed });
  for (let first = 0; first < job.aggregates; first += limits.commit_events_max) {
    const length = Math.min(limits.commit_events_max, job.aggregates - first);
    const events = Array.from({ length }, (_, index) => ({
      aggregate_type: "order",
      aggregate_id: `order-${first + index}`,
      event_type: "order-added",
      payload: canonicalOf({ status: "open" }),
    }));
    await opened.dbx.appendEvents(actor, { events });
  }
  await opened.close();
}

function eventsOf(job: EngineJob): Appended[] {
  const random = seeded(job.seed);
  const pick = zipf(job.aggregates, random);
  return Array.from({ length: Math.min(job.events, events_prepared) }, () => ({
    aggregate_type: "order",
    aggregate_id: `order-${pick()}`,
    event_type: "order-changed",
    payload: canonicalOf(payload(job.payload_bytes, random)),
  }));
}

async function measureDbx(job: EngineJob): Promise<EngineResult> {
  const events = eventsOf(job);
  const { sealed } = job;
  const { opened, actor } = await openForBench(job.directory, { threads: true, sealed });
  const walMax = watchWal(job.directory);
  const measured = await appendConcurrently(opened, actor, {
    ...{ callers: job.callers, events, count: job.events },
  });
  const wal_bytes_max = walMax();
  await opened.close();
  return result({ ...measured, events: job.events, wal_bytes_max });
}

async function measureRaw(job: EngineJob): Promise<EngineResult> {
  const { directory } = job;
  const copy = join(directory, "raw");
  cpSync(join(directory, "dbx.db"), join(copy, "dbx.db"), { recursive: true });
  const { transactions, settings } = await record(job);
  const database = new Database(join(copy, "dbx.db"));
  for (const [name, value] of Object.entries(settings)) {
    if (!notPragmas.includes(name)) database.run(`PRAGMA ${name} = ${value}`);
  }
  // Nobody checkpoints beside it, so SQLite has to, at the size to which dbx lets its log shrink.
  const pageSize = database.query<{ page_size: number }, []>("PRAGMA page_size").get()?.page_size;
  if (pageSize === undefined) throw new Error("a database has a page size");
  database.run(`PRAGMA wal_autocheckpoint = ${Math.floor((64 * 1024 * 1024) / pageSize)}`);
  const statements = new Map<string, Statement>();
  const prepared = transactions.map((calls) =>
    calls.map(({ sql, values }) => {
      const statement = statements.get(sql) ?? database.prepare(sql);
      statements.set(sql, statement);
      return { statement, values };
    }),
  );
  const latencies = new Float64Array(prepared.length);
  const walMax = watchWal(copy);
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  prepared.forEach((calls, index) => {
    const begun = performance.now();
    for (const { statement, values } of calls) statement.run(...values);
    latencies[index] = performance.now() - begun;
  });
  const seconds = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const wal_bytes_max = walMax();
  for (const statement of statements.values()) statement.finalize();
  database.close();
  return result({ events: job.events, seconds, cpu, latencies, wal_bytes_max });
}

/** Fields of "storage open" that are not settings of SQLite, or are set otherwise above. */
const notPragmas = ["directory", "access", "sqlite", "wal_autocheckpoint"];

interface Call {
  readonly sql: string;
  readonly values: (string | number | Uint8Array | null)[];
}

/** Runs the appends on a store without threads and notes every statement that writes. */
async function record(
  job: EngineJob,
): Promise<{ transactions: readonly Call[][]; settings: LogFields }> {
  const events = eventsOf(job);
  const calls: Call[] = [];
  const restore = noteStatements(calls);
  const { opened, actor, settings } = await openForBench(job.directory, { threads: false });
  const transactions: Call[][] = [];
  for (let first = 0; first < job.events; first += job.callers) {
    calls.length = 0;
    const length = Math.min(job.callers, job.events - first);
    const group = Array.from({ length }, (_, index) => events[(first + index) % events.length]);
    // A batch is one transaction for sure; what is written is the same.
    await opened.dbx.appendEvents(actor, { events: group.filter((event) => event !== undefined) });
    transactions.push([...calls]);
  }
  await opened.close();
  restore();
  const begins = transactions.flat().filter(({ sql }) => sql.trim().startsWith("BEGIN")).length;
  if (begins !== transactions.length) {
    throw new Error(`${transactions.length} groups became ${begins} transactions`);
  }
  return { transactions, settings };
}

function noteStatements(calls: Call[]): () => void {
  const { prepare } = Database.prototype;
  const replace = (value: typeof prepare | typeof noted) =>
    Object.defineProperty(Database.prototype, "prepare", { value, configurable: true });
  function noted(this: Database, sql: string): Statement {
    const statement = prepare.call(this, sql);
    if (/^\s*(?:SELECT|PRAGMA)/.test(sql)) return statement;
    const run = statement.run.bind(statement);
    statement.run = (...values: Call["values"]) => {
      // Copied, because a writer may use the same bytes again.
      const kept = values.map((value) => (value instanceof Uint8Array ? value.slice() : value));
      calls.push({ sql, values: kept });
      return run(...values);
    };
    return statement;
  }
  replace(noted);
  return () => void replace(prepare);
}

function result(measured: {
  events: number;
  seconds: number;
  cpu: NodeJS.CpuUsage;
  latencies: Float64Array;
  wal_bytes_max: number;
}): EngineResult {
  const { cpu } = measured;
  return {
    per_second: measured.events / measured.seconds,
    cpu_us: (cpu.user + cpu.system) / measured.events,
    p50_ms: quantile(measured.latencies, 0.5),
    p99_ms: quantile(measured.latencies, 0.99),
    wal_bytes_max: measured.wal_bytes_max,
    peak_memory_bytes: peakMemory("self"),
  };
}

if (import.meta.main) {
  const job: EngineJob = JSON.parse(process.argv[2] ?? "null");
  console.log(JSON.stringify(await main(job)));
}
