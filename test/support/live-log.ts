// The mechanism of live streams over a log in memory, with bounds of the test's own: appends in a
// few words, followers that are asked batch by batch.

import type { Live, LiveBatch } from "../../src/api/live.ts";
import { createCommitter } from "../../src/engine/committer.ts";
import { createLive, type LiveBounds, type LiveLog } from "../../src/engine/live.ts";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import type { Visibility } from "../../src/model/visibility.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { context, event, transaction } from "./storage.ts";
import { root } from "./store.ts";

export type Selected = Parameters<Live["followLog"]>[1];

/** `patient/p-1/noted`: type, id and event type. */
export type Name = `${string}/${string}/${string}`;

export interface TestLog {
  readonly live: LiveLog;
  readonly storage: Storage;
  /** Appends one event with each name as one transaction. */
  readonly append: (...names: Name[]) => Promise<readonly CommittedEvent[]>;
  /** One event with a text of so many characters. */
  readonly appendLarge: (chars: number) => Promise<readonly CommittedEvent[]>;
  /** What schemas hide from now on. */
  readonly hide: (type: string, visibility: Visibility) => void;
  /** Pages that were read from the storage. */
  readonly reads: () => number;
}

/** Long enough never to come while a test runs. */
const never_ms = 3_600_000;

export function openLiveLog(bounds: Partial<LiveBounds> = {}): TestLog {
  const memory = createMemoryStorage({ sealing: "none" });
  let reads = 0;
  const storage: Storage = {
    ...memory,
    readLog: (page) => {
      reads++;
      return memory.readLog(page);
    },
  };
  const hidden = new Map<string, Visibility>();
  const view = () => ({
    checkEvent: () => {},
    snapshotThresholdOf: () => null,
    textOf: () => null,
    visibilityOf: (type: string) => hidden.get(type) ?? { hidden: false, hidden_fields: [] },
  });
  const live = createLive({
    ...{ storage, schemas: { view }, head: 0 },
    bounds: {
      ...{ events_max: 8, chars_max: 10_000, heartbeat_ms: never_ms, followers_max: 100 },
      ...bounds,
    },
  });
  const committer = createCommitter({ storage, context: () => context, advance: live.advance });
  const planned = (name: Name, payload: unknown = { name }) => {
    const [aggregate_type = "", aggregate_id = "", event_type = ""] = name.split("/");
    const key = { aggregate_type, aggregate_id };
    return event(key, { event_type, payload: canonicalOf(payload) });
  };
  return {
    ...{ live, storage },
    append: (...names) => committer.submit(transaction(names.map((name) => planned(name)))),
    appendLarge: (chars) =>
      committer.submit(transaction([planned("large/l-1/noted", "x".repeat(chars))])),
    hide: (type, visibility) => void hidden.set(type, visibility),
    reads: () => reads,
  };
}

export interface TestFollower {
  /** The next batch; undefined once it has ended. */
  readonly next: () => Promise<LiveBatch | undefined>;
  /** Positions of all events up to the one at `last`, from where it is. */
  readonly upTo: (last: number) => Promise<number[]>;
  readonly abort: () => void;
}

export function follow(
  live: Live,
  selected: Selected,
  actorOf: () => Actor = () => root,
): TestFollower {
  const killer = new AbortController();
  const batches = live.followLog(actorOf, selected, killer.signal)[Symbol.asyncIterator]();
  const next = async () => {
    const { done, value } = await batches.next();
    return done === true ? undefined : value;
  };
  return {
    next,
    async upTo(last) {
      const seen: number[] = [];
      while ((seen.at(-1) ?? 0) < last) {
        const batch = await next();
        if (batch === undefined) throw new Error(`it ended after ${seen.at(-1)}`);
        seen.push(...positionsOf(batch));
      }
      return seen;
    },
    abort: () => killer.abort(),
  };
}

export const positionsOf = (batch: LiveBatch | undefined): number[] =>
  batch?.records.map(({ position }) => position) ?? [];

export const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);
