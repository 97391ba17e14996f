// The processes of growth.ts. `build`: makes logs of a known shape through the engine, in batches.
// `append`: the rate at which callers append to given aggregates of such a log. `verify` and
// `read`: the whole log recomputed, and the whole log only read.

import { canonicalOf } from "../../src/model/canonical.ts";
import { silentLog } from "../../src/log.ts";
import { cliActor } from "../../src/model/actor.ts";
import { open } from "../../src/open.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../../test/support/store.ts";
import { appendConcurrently, openForBench, type Appended } from "./engine-subject.ts";
import { payload, seeded } from "./load.ts";
import { peakMemory } from "./machine.ts";

/** Aggregates `order/<name>-0` to `order/<name>-<count - 1>` with so many events each. */
export interface Group {
  readonly name: string;
  readonly count: number;
  readonly events: number;
}

export type GrowthJob =
  | { readonly what: "build"; readonly directory: string; readonly groups: readonly Group[] }
  | {
      readonly what: "append";
      readonly directory: string;
      readonly group: Group;
      readonly callers: number;
      /** Aggregates that are written to at the same time. */
      readonly streams: number;
      /** Appends to each aggregate before its neighbours have their turn. */
      readonly appends: number;
    }
  | { readonly what: "verify" | "read"; readonly directory: string };

export interface GrowthResult {
  readonly events: number;
  readonly seconds: number;
  readonly peak_memory_bytes: number | null;
}

const payload_bytes = 250;
const batch_events = 500;
/** Batches that wait at a time, so that planning and writing overlap. */
const batches_waiting = 4;

async function main(job: GrowthJob): Promise<GrowthResult> {
  if (job.what === "build") return build(job.directory, job.groups);
  if (job.what === "append") return appendTo(job);
  return scan(job.what, job.directory);
}

async function build(directory: string, groups: readonly Group[]): Promise<GrowthResult> {
  const { opened, actor } = await openForBench(directory, { threads: true });
  const started = performance.now();
  const keys = spread(groups);
  const random = seeded(7);
  let events = 0;
  const feed = async () => {
    for (;;) {
      const batch: Appended[] = [];
      while (batch.length < batch_events) {
        const key = keys.next();
        if (key.done === true) break;
        batch.push(eventOf(key.value, random));
      }
      if (batch.length === 0) return;
      events += batch.length;
      await opened.dbx.appendEvents(actor, { events: batch });
    }
  };
  await Promise.all(Array.from({ length: batches_waiting }, feed));
  const seconds = (performance.now() - started) / 1000;
  await opened.close();
  return { events, seconds, peak_memory_bytes: peakMemory("self") };
}

/**
 * Every aggregate's name as often as it has events. The events of one aggregate lie apart, as they
 * would if aggregates lived at the same time: a few of each, round and round.
 */
function* spread(groups: readonly Group[]): Generator<string> {
  const run = 100;
  const most = Math.max(...groups.map(({ events }) => events));
  for (let from = 0; from < most; from += run) {
    for (const { name, count, events } of groups) {
      const to = Math.min(from + run, events);
      for (let index = 0; index < count; index++) {
        for (let each = from; each < to; each++) yield `${name}-${index}`;
      }
    }
  }
}

const eventOf = (aggregate_id: string, random: () => number): Appended => ({
  aggregate_type: "order",
  aggregate_id,
  event_type: "order-changed",
  payload: canonicalOf(payload(payload_bytes, random)),
});

async function appendTo(job: Extract<GrowthJob, { what: "append" }>): Promise<GrowthResult> {
  const { group, streams, appends, callers } = job;
  const random = seeded(8);
  const events: Appended[] = [];
  for (let first = 0; first < group.count; first += streams) {
    for (let each = 0; each < appends; each++) {
      for (let index = first; index < Math.min(first + streams, group.count); index++) {
        events.push(eventOf(`${group.name}-${index}`, random));
      }
    }
  }
  const { opened, actor } = await openForBench(job.directory, { threads: true });
  // A fresh process is slow at first: what is measured is growth, so aggregates of its own warm it
  // up.
  const warm = Array.from({ length: 8_000 }, (_, index) => eventOf(`warm-${index % 500}`, random));
  await appendConcurrently(opened, actor, { callers, events: warm, count: warm.length });
  const { seconds } = await appendConcurrently(opened, actor, {
    ...{ callers, events, count: events.length },
  });
  await opened.close();
  return { events: events.length, seconds, peak_memory_bytes: peakMemory("self") };
}

async function scan(what: "verify" | "read", directory: string): Promise<GrowthResult> {
  const opened = await open({
    config: testConfig(directory),
    log: silentLog,
    system: realSystem,
    access: "read",
    opener: null,
    lock_wait_ms: 0,
    threads: false,
    plugins: false,
    env: {},
    reload: null,
    keepKey: null,
    keepRemote: null,
  });
  const actor = cliActor("bench");
  const started = performance.now();
  let events = 0;
  if (what === "verify") {
    events = (await opened.dbx.verifyLog(actor, {})).position;
  } else {
    for (;;) {
      const page = await opened.dbx.readLog(actor, { after: events, take: 1000 });
      if (page.length === 0) break;
      events += page.length;
    }
  }
  const seconds = (performance.now() - started) / 1000;
  await opened.close();
  return { events, seconds, peak_memory_bytes: peakMemory("self") };
}

if (import.meta.main) {
  const job: GrowthJob = JSON.parse(process.argv[2] ?? "null");
  console.log(JSON.stringify(await main(job)));
}
