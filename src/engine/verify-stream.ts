// Recomputes one aggregate from its events and compares it with what is stored. Bodies may be
// missing where an event that can be read says that they were erased, and nowhere else.

import { emptyState, erasedType, fold, type StreamHead } from "../model/aggregate.ts";
import { splitMembers } from "../model/canonical.ts";
import type { CommittedEvent } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import {
  emptyFrontier,
  emptyRoot,
  growFrontier,
  rootOf,
  type Digest,
  type Frontier,
} from "../model/merkle.ts";
import { contentDigest, eventHash } from "../model/plan.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { Position, StreamKey, Version } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import { createTurns, nextTurn } from "./turns.ts";

/** One thing that is not as the events say. */
export interface Fault {
  readonly fault: string;
  readonly aggregate_type?: string;
  readonly aggregate_id?: string;
  readonly version?: Version;
  readonly position?: Position;
}

/**
 * The faults of one stream; empty when everything follows from its events. `head` as it is stored.
 */
export async function verifyStream(storage: Storage, head: StreamHead): Promise<Fault[]> {
  const faults: Fault[] = [];
  const key = { aggregate_type: head.aggregate_type, aggregate_id: head.aggregate_id };
  const folded = await foldStream(storage, head, faults);
  const report = (fault: string) => faults.push({ ...key, fault });
  if (folded.version !== head.version)
    report(`the head says version ${head.version}, but there are ${folded.version} events`);
  if (
    folded.frontier.size !== head.frontier.size ||
    !same(folded.frontier.nodes, head.frontier.nodes)
  ) {
    report("the head's frontier does not follow from the events");
  }
  if (!same(folded.root, head.root)) report("the head's root does not follow from the events");
  if (folded.state !== head.state) report("the state does not follow from the events");
  if (folded.updated_at !== head.updated_at)
    report("the head's time is not that of the last event");
  if (folded.erased !== head.erased)
    report(`the head says that versions up to ${head.erased} are erased, its events say otherwise`);
  return faults;
}

interface Folded {
  version: Version;
  frontier: Frontier;
  root: Digest;
  state: StreamHead["state"];
  updated_at: string;
  /** Bodies up to here may be missing: an event that can be read says so. */
  erased: Version;
}

/** Folds the events up to the head's version, checking each, and the snapshots on the way. */
async function foldStream(storage: Storage, head: StreamHead, faults: Fault[]): Promise<Folded> {
  const folded: Folded = {
    version: 0,
    frontier: emptyFrontier,
    root: emptyRoot,
    state: emptyState,
    updated_at: "",
    erased: 0,
  };
  /** Of the last event without a body. */
  let bodiless: CommittedEvent | undefined;
  const snapshots = walkSnapshots(storage, head);
  const giveWay = createTurns();
  let lastPosition = 0;
  for (;;) {
    const after = folded.version;
    const events = await storage.readStream(head, { after, limit: limits.scan_rows_max });
    // A short page is no end: large rows come a few at a time.
    if (events.length === 0) break;
    for (const event of events) {
      // Rows beyond the head are new appends, or, if the head does not move, rows that somebody
      // added.
      if (event.version > head.version) {
        if (await isBeyondHead(storage, event))
          faults.push({ ...placeOf(event), fault: "the event is not counted by its head" });
        return folded;
      }
      for (const fault of faultsOf(event, folded, lastPosition))
        faults.push({ ...placeOf(event), fault });
      if (faults.length > limits.verify_faults_max) return folded;
      advance(folded, event);
      if (event.erased === true) bodiless = event;
      lastPosition = event.position;
      // A page has many events, and each may write a large state anew.
      await giveWay(event.payload.length + folded.state.length);
      for (;;) {
        const snapshot = await snapshots.next(folded.version);
        if (snapshot === undefined) break;
        if (isTrue(snapshot, folded)) continue;
        const { version } = snapshot;
        const fault = "the snapshot does not follow from the events";
        faults.push({ ...keyOf(head), version, fault });
      }
    }
    await nextTurn();
  }
  if (bodiless !== undefined && bodiless.version > folded.erased) {
    const fault = "its body is missing, and no erasure covers it";
    faults.push({ ...placeOf(bodiless), fault });
  }
  const left = await snapshots.next(Infinity);
  // Snapshots beyond the head are of new appends, unless the head has not moved.
  if (left !== undefined && (await isBeyondHead(storage, left))) {
    const fault = "there is a snapshot of a version that does not exist";
    faults.push({ ...keyOf(head), version: left.version, fault });
  }
  return folded;
}

/** The snapshots of a stream one after the other, as far as a version; read a page at a time. */
function walkSnapshots(storage: Storage, key: StreamKey) {
  let page: Snapshot[] = [];
  let after: Version = 0;
  let ended = false;
  return {
    next: async (version_max: Version): Promise<Snapshot | undefined> => {
      if (page.length === 0 && !ended) {
        page = await storage.readSnapshots(key, { after, limit: limits.scan_rows_max });
        ended = page.length === 0;
        after = page.at(-1)?.version ?? after;
      }
      const first = page[0];
      return first !== undefined && first.version <= version_max ? page.shift() : undefined;
    },
  };
}

async function isBeyondHead(
  storage: Storage,
  row: StreamKey & { readonly version: Version },
): Promise<boolean> {
  const head = await storage.readHead(row);
  return head === undefined || head.version < row.version;
}

export const keyOf = (key: StreamKey): StreamKey => ({
  aggregate_type: key.aggregate_type,
  aggregate_id: key.aggregate_id,
});
const placeOf = (event: CommittedEvent) => ({
  ...keyOf(event),
  version: event.version,
  position: event.position,
});

/**
 * What is wrong with one event, given the state of its stream before it. That its id is unique in
 * the whole log is the index's word, which `storage.check` verifies.
 */
function faultsOf(event: CommittedEvent, before: Folded, lastPosition: Position): string[] {
  const faults: string[] = [];
  if (event.version !== before.version + 1) faults.push(`version ${before.version + 1} is missing`);
  if (event.position <= lastPosition)
    faults.push("its position is not above that of the version before");
  if (event.created_at < before.updated_at)
    faults.push("its time is before that of the version before");
  if (event.erased !== true && !same(contentDigest(event), event.content_digest))
    faults.push("payload or note do not match the content digest");
  if (!same(eventHash({ ...event, previous_root: before.root }), event.hash))
    faults.push("the event does not match its hash");
  const root = rootOf(growFrontier(before.frontier, event.hash));
  if (!same(root, event.merkle_root)) faults.push("the root does not follow from the events");
  return faults;
}

function advance(folded: Folded, event: CommittedEvent): void {
  folded.version = event.version;
  folded.frontier = growFrontier(folded.frontier, event.hash);
  folded.root = rootOf(folded.frontier);
  try {
    folded.state = fold(folded.state, event);
  } catch {
    // A damaged payload may be no JSON any more; its digest has told so already.
  }
  folded.updated_at = event.created_at;
  if (event.event_type === erasedType && event.erased !== true) folded.erased = throughOf(event);
}

/** Up to which version an event says that bodies were erased; 0 where it says nothing sensible. */
function throughOf({ payload, version }: CommittedEvent): Version {
  // Clients cannot append such an event, so its payload is the planner's: anything else is damage.
  const through = version - 1;
  const said = new Map(payload.startsWith("{") ? splitMembers(payload) : []).get("through");
  return said === String(through) ? through : 0;
}

const isTrue = (snapshot: Snapshot, folded: Folded): boolean =>
  snapshot.version === folded.version &&
  snapshot.state === folded.state &&
  // Kept by hand it is younger than the event.
  snapshot.created_at >= folded.updated_at &&
  same(snapshot.merkle_root, folded.root);

export const same = (left: Uint8Array, right: Uint8Array): boolean =>
  Buffer.compare(left, right) === 0;
