// Aggregates as they were: which version was in force at an instant, and the state at a version,
// from the nearest snapshot on. Nothing is cached; the past is asked for rarely.

import {
  emptyState,
  evolve,
  fold,
  toAggregate,
  type Aggregate,
  type StreamHead,
} from "../model/aggregate.ts";
import { dataCorrupted, failedPrecondition, invalidArgument, notFound } from "../model/error.ts";
import { parseInstant } from "../model/instant.ts";
import { limits } from "../model/limits.ts";
import { emptyRoot } from "../model/merkle.ts";
import { showKey, type StreamKey, type Version } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import { createTurns, nextTurn } from "./turns.ts";

/** When: at a version, at an instant, or now. */
export type Moment =
  | { readonly kind: "now" }
  | { readonly kind: "version"; readonly version: Version }
  | { readonly kind: "instant"; readonly at: string; readonly instant: string };

/** Throws `invalid_argument` for what is no instant, and for two moments at once. */
export function momentOf(asked: { version?: number; at?: string }): Moment {
  const { version, at } = asked;
  if (at === undefined)
    return version === undefined ? { kind: "now" } : { kind: "version", version };
  if (version !== undefined) {
    throw invalidArgument("at and version name two moments: give one", { path: "/at" });
  }
  return { kind: "instant", at, instant: parseInstant(at, { path: "/at" }) };
}

/**
 * The aggregate at a moment. Throws `not_found` for a version that it does not have yet, and for an
 * instant before its first event.
 */
export async function aggregateOf(
  storage: Storage,
  head: StreamHead,
  moment: Moment,
): Promise<Aggregate> {
  const { aggregate_type, aggregate_id } = head;
  switch (moment.kind) {
    case "now":
      return toAggregate(head);
    case "version": {
      const { version } = moment;
      if (version <= head.version) return aggregateAt(storage, head, version);
      // The current state under another number would be taken for that version's.
      throw notFound(
        `${showKey(head)} has no version ${version}; it is at version ${head.version}`,
        { aggregate_type, aggregate_id, version, current_version: head.version },
      );
    }
    case "instant": {
      const version = await versionAt(storage, head, moment.instant);
      if (version > 0) return aggregateAt(storage, head, version);
      throw notFound("aggregate not found", { aggregate_type, aggregate_id, at: moment.at });
    }
  }
}

/**
 * The aggregate as it was at an instant; undefined where it had no event by then, and where what it
 * was then is erased.
 */
export async function aggregateAtInstant(
  storage: Storage,
  head: StreamHead,
  instant: string,
): Promise<Aggregate | undefined> {
  const version = await versionAt(storage, head, instant);
  return version === 0 || isErased(head, version) ? undefined : aggregateAt(storage, head, version);
}

/**
 * The version of the last event at or before `instant` (text of the form of `created_at`); 0 where
 * there is none. Times never decrease within a stream, so it is found by halving.
 */
async function versionAt(storage: Storage, head: StreamHead, instant: string): Promise<Version> {
  if (head.updated_at <= instant) return head.version;
  let before = 0;
  let after = head.version;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    const [event] = await storage.readStream(head, { after: middle - 1, limit: 1 });
    if (event?.version !== middle) throw missing(head, middle);
    if (event.created_at <= instant) before = middle;
    else after = middle;
  }
  return before;
}

/** The aggregate after its first `version` events, which it MUST have. */
async function aggregateAt(
  storage: Storage,
  head: StreamHead,
  version: Version,
): Promise<Aggregate> {
  if (version === head.version) return toAggregate(head);
  if (isErased(head, version)) throw erased(head, version);
  const nearest = await storage.readSnapshot(head, { version_max: version });
  const giveWay = createTurns();
  // The event of the erasure is the first that can be read, and begins the state anew.
  let reached = nearest?.version ?? (version > head.erased ? head.erased : 0);
  let root = nearest?.merkle_root ?? emptyRoot;
  // Later members replace earlier ones, so the changes can be folded by themselves: a large state
  // is written once, and not with each of its events.
  let changes = emptyState;
  while (reached < version) {
    const limit = Math.min(limits.scan_rows_max, version - reached);
    const events = await storage.readStream(head, { after: reached, limit });
    if (events.length === 0) throw missing(head, reached + 1);
    for (const event of events) {
      if (event.version !== reached + 1) throw missing(head, reached + 1);
      changes = fold(changes, event);
      root = event.merkle_root;
      reached = event.version;
      await giveWay(changes.length);
    }
    await nextTurn();
  }
  const state = nearest === undefined ? changes : evolve(nearest.state, changes);
  return { ...toAggregate(head), version, state, merkle_root: root.toHex() };
}

const isErased = (head: StreamHead, version: Version): boolean =>
  version > 0 && version <= head.erased;

const erased = ({ aggregate_type, aggregate_id, erased: through }: StreamHead, version: Version) =>
  failedPrecondition(`what ${aggregate_type}/${aggregate_id} was at version ${version} is erased`, {
    aggregate_type,
    aggregate_id,
    version,
    erased: true,
    through,
  });

/** Not the caller's fault, and not to be covered up: a state without the event would be wrong. */
const missing = (key: StreamKey, version: Version) =>
  dataCorrupted(
    `${showKey(key)} has lost its version ${version}; dbx aggregate verify tells more`,
    {
      aggregate_type: key.aggregate_type,
      aggregate_id: key.aggregate_id,
      version,
    },
  );
