// Reading a store, encrypted or not, in a process of its own: the log in pages of 1000, the events
// of each aggregate, aggregates by their key, and the list of them. Opened anew before it is read,
// so that every data key is unwrapped on the way.

import type { Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { Opened } from "../../src/open.ts";
import { openForBench } from "./engine-subject.ts";
import { payload, seeded } from "./load.ts";

export interface EncryptionJob {
  /** Empty; the subject fills it. */
  readonly directory: string;
  readonly sealed: boolean;
  readonly aggregates: number;
  readonly events: number;
}

export interface EncryptionResult {
  /** Events or aggregates, by what is read. */
  readonly per_second: Readonly<Record<string, number>>;
}

const batch_events = 500;
const page = 1000;
const aggregate_type = "order";

async function main(job: EncryptionJob): Promise<EncryptionResult> {
  const { directory, sealed } = job;
  const filling = await openForBench(directory, { threads: false, sealed });
  await write(filling.opened, filling.actor, job);
  await filling.opened.close();
  const { opened, actor } = await openForBench(directory, { threads: true, sealed });
  const per_second = {
    "reading the log in pages of 1000": await rateOf(() => readLog(opened, actor)),
    "events of each aggregate": await rateOf(() => readEvents(opened, actor, job)),
    "aggregate by its key": await rateOf(() => readStates(opened, actor, job)),
    "list in pages of 1000": await rateOf(() => readList(opened, actor)),
  };
  await opened.close();
  return { per_second };
}

/** The aggregates take turns. */
async function write(opened: Opened, actor: Actor, job: EncryptionJob): Promise<void> {
  const random = seeded(1);
  for (let first = 0; first < job.events; first += batch_events) {
    const events = Array.from({ length: batch_events }, (_, index) => ({
      aggregate_type,
      aggregate_id: idOf(first + index, job),
      event_type: "order-changed",
      payload: canonicalOf(payload(250, random)),
    }));
    await opened.dbx.appendEvents(actor, { events });
  }
}

const idOf = (index: number, job: EncryptionJob): string => `order-${index % job.aggregates}`;

async function rateOf(read: () => Promise<number>): Promise<number> {
  const started = performance.now();
  const count = await read();
  return count / ((performance.now() - started) / 1000);
}

async function readLog({ dbx }: Opened, actor: Actor): Promise<number> {
  for (let after = 0; ;) {
    const records = await dbx.readLog(actor, { after, take: page });
    if (records.length === 0) return after;
    after += records.length;
  }
}

async function readEvents({ dbx }: Opened, actor: Actor, job: EncryptionJob): Promise<number> {
  let count = 0;
  for (let index = 0; index < job.aggregates; index++) {
    const key = { aggregate_type, aggregate_id: idOf(index, job) };
    count += (await dbx.listEvents(actor, { ...key, take: page })).length;
  }
  return count;
}

async function readStates({ dbx }: Opened, actor: Actor, job: EncryptionJob): Promise<number> {
  for (let index = 0; index < job.aggregates; index++) {
    await dbx.getAggregate(actor, { aggregate_type, aggregate_id: idOf(index, job) });
  }
  return job.aggregates;
}

async function readList({ dbx }: Opened, actor: Actor): Promise<number> {
  let count = 0;
  let cursor: string | null = "";
  while (cursor !== null) {
    const after = cursor === "" ? {} : { cursor };
    const found = await dbx.listAggregates(actor, { ...after, take: page });
    count += found.aggregates.length;
    cursor = found.next_cursor;
  }
  return count;
}

if (import.meta.main) {
  const job: EncryptionJob = JSON.parse(process.argv[2] ?? "null");
  console.log(JSON.stringify(await main(job)));
}
