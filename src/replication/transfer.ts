// Moving events from one node to another: gathered over aggregates into batches, the next one read
// while the last one is being written. Whatever a batch has that is there already is passed over by
// the receiver, so a transfer that was cut can begin again anywhere.

import type { Ask } from "../api/dbx.ts";
import { failedPrecondition } from "../model/error.ts";
import type { ForeignEvent } from "../model/imported.ts";
import { limits } from "../model/limits.ts";
import { showKey, type StreamKey } from "../model/stream.ts";
import type { Nodes } from "./compare.ts";
import type { Pair } from "./positions.ts";

export interface TransferOptions {
  readonly nodes: Nodes;
  /** Events of a batch. */
  readonly batch_events: number;
  readonly allow_future: boolean;
  /** Told how many events more are durable on the target. */
  readonly moved: (events: number) => void;
  readonly signal: AbortSignal;
}

/** Takes pairs whose source is ahead, or whose flags differ; `close` sends what is left. */
export function createTransfer(options: TransferOptions) {
  const { nodes, signal } = options;
  const { source, target } = nodes;
  const batch = createBatch(options);

  return {
    take: async ({ key, source: from, target: to }: Pair): Promise<void> => {
      if (from === null) return;
      const start = to?.version ?? 0;
      const grows = from.version > start;
      // An archived aggregate takes no events; what its flag is in the end is set behind them.
      if (grows && to?.archived === true) await target("restoreAggregate", { ...key, comment });
      for (let version = start; version < from.version;) {
        signal.throwIfAborted();
        const take = Math.min(options.batch_events, from.version - version);
        const events = await source("readForeign", { ...key, after: version, take });
        const last = events.at(-1);
        if (last === undefined) throw shrunk(key, version);
        for (const event of events) await batch.add(event, event.version <= from.erased);
        version = last.version;
      }
      const isArchived = grows ? false : (to?.archived ?? false);
      if (from.archived === isArchived || from.version === 0) return;
      await batch.afterwards(() => setFlag(target, key, from.archived));
    },
    close: batch.flush,
  };
}

const comment = "replication";

const setFlag = async (target: Ask, key: StreamKey, archived: boolean): Promise<void> => {
  await target(archived ? "archiveAggregate" : "restoreAggregate", { ...key, comment });
};

const shrunk = (key: StreamKey, version: number) =>
  failedPrecondition(`${showKey(key)} ends at version ${version}, before what was told of it`, {
    ...{ ...key, version },
  });

/**
 * Erased events have no body, and are taken over only together with the event that erased them:
 * they are held back until that has come.
 */
function createBatch({ nodes, batch_events, allow_future, moved, signal }: TransferOptions) {
  let events: ForeignEvent[] = [];
  let chars = 0;
  let running: Promise<void> = Promise.resolve();
  let after: (() => Promise<void>)[] = [];

  /** One batch at a time is on its way, while the next one is gathered. */
  async function send(): Promise<void> {
    const [sent, followers] = [events, after];
    [events, after, chars] = [[], [], 0];
    await running;
    signal.throwIfAborted();
    running = (async () => {
      if (sent.length > 0) {
        const future = allow_future ? { allow_future } : {};
        const { imported } = await nodes.target("importEvents", { events: sent, ...future });
        moved(imported);
      }
      for (const follow of followers) await follow();
    })();
    // Whoever waits next has it; nobody may be there to hear of it before.
    running.catch(() => undefined);
  }

  return {
    add: async (event: ForeignEvent, isHeld: boolean): Promise<void> => {
      if (events.length === limits.import_events_max) throw tooMuchErased(event);
      events.push(event);
      chars += event.payload.length + event_overhead;
      const isFull = events.length >= batch_events || chars >= limits.foreign_page_chars_max;
      if (isFull && !isHeld) await send();
    },
    /** Does something once all that was added so far is there. */
    afterwards: async (follow: () => Promise<void>): Promise<void> => {
      after.push(follow);
      if (after.length >= limits.position_rows_max) await send();
    },
    flush: async (): Promise<void> => {
      await send();
      await running;
    },
  };
}

/** Names, metadata, digests as JSON. */
const event_overhead = 1_024;

const tooMuchErased = (event: ForeignEvent) =>
  failedPrecondition(
    `${showKey(event)} has more than ${limits.import_events_max} erased events that the other ` +
      "node lacks, more than can be taken over at once",
    { aggregate_type: event.aggregate_type, aggregate_id: event.aggregate_id },
  );
