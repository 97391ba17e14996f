// Where the database will stand when all running commits are done: every plan is made against this,
// and what is durable is looked up below it.

import type { StreamHead } from "../../model/aggregate.ts";
import type { TokenId } from "../../model/actor.ts";
import type { CommittedEvent, EventId } from "../../model/event.ts";
import type { Known, TokenUse } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { keyText, type StreamKey } from "../../model/stream.ts";
import type { Ask } from "../storage.ts";
import type { DbxError } from "../../model/error.ts";
import type { Trail } from "./audit.ts";
import { createHeads, type Heads, type Removal, type StoredHead } from "./heads.ts";
import type { Reader } from "./reader.ts";
import { fromUuid } from "./rows.ts";
import type { Step } from "./steps.ts";
import type { Batch, LogTail } from "./writer.ts";

/** A batch whose heads this process goes on using. */
export interface PlannedBatch extends Batch {
  readonly created: readonly StoredHead[];
  readonly changed: readonly StoredHead[];
  /** Those of its events whose ids clients chose: nobody can ask for another before it is durable. */
  readonly named: readonly CommittedEvent[];
}

/** Something that is done to one stream as a whole, and what it leaves; missing: as it was. */
export interface Alteration {
  readonly steps: readonly Step[];
  /** Null: gone. */
  readonly head?: Removal | { readonly key: string; readonly stored: StoredHead };
  readonly snapshot?: Snapshot;
  /** How many streams it makes. */
  readonly created?: number;
  readonly log?: LogTail;
  readonly trail?: Trail;
}

/** What running commits have changed, and where the log will end when they are done. */
export interface Tail {
  readonly heads: Heads;
  readonly events: Map<EventId, CommittedEvent>;
  /** Every use since the start: as many as there are tokens, and asked for in every commit. */
  readonly token_uses: Map<TokenId, TokenUse>;
  /** Kept by hand or by an append, by `snapshotKey`. */
  readonly snapshots: Map<string, Snapshot>;
  log: LogTail;
  trail: Trail;
  stream_id_last: number;
  /** The write of the latest batch. */
  written: Promise<void>;
  failed: DbxError | null;
}

export const createTail = (reader: Reader, heads_max: number): Tail => ({
  heads: createHeads({ heads_max }),
  events: new Map(),
  token_uses: new Map(),
  snapshots: new Map(),
  log: reader.log(),
  trail: reader.trail(),
  stream_id_last: reader.lastStreamId(),
  written: Promise.resolve(),
  failed: null,
});

export const snapshotKey = (snapshot: Pick<Snapshot, keyof StreamKey | "version">): string =>
  `${keyText(snapshot)}\u0000${snapshot.version}`;

export function recallHeads(
  heads: Heads,
  reader: Reader,
  keys: readonly StreamKey[],
): Map<string, StoredHead> {
  const recalled = new Map<string, StoredHead>();
  for (const key of keys) {
    const text = keyText(key);
    let stored = heads.latest(text);
    if (stored === null) continue;
    if (stored === undefined) {
      stored = reader.head(key);
      if (stored === undefined) continue;
      heads.remember(stored);
    }
    recalled.set(text, stored);
  }
  return recalled;
}

export function recall(
  tail: Tail,
  reader: Reader,
  ask: Ask,
  stored: ReadonlyMap<string, StoredHead>,
): Known {
  const heads = new Map<string, StreamHead>();
  for (const [key, { head }] of stored) heads.set(key, head);
  const events = new Map<EventId, CommittedEvent>();
  for (const id of ask.event_ids) {
    const event = tail.events.get(id) ?? reader.eventById(fromUuid(id));
    if (event !== undefined) events.set(id, event);
  }
  const token_uses = new Map<TokenId, TokenUse>();
  for (const id of ask.token_ids) {
    const use = tail.token_uses.get(id) ?? reader.tokenUse(id);
    if (use !== undefined) token_uses.set(id, use);
  }
  return { heads, events, token_uses, log: tail.log.frontier };
}

/** From here on later commits see the batch. */
export function begin(tail: Tail, batch: PlannedBatch): void {
  for (const stored of batch.created) tail.heads.change(stored);
  for (const stored of batch.changed) tail.heads.change(stored);
  for (const event of batch.named) tail.events.set(event.event_id, event);
  for (const { snapshot } of batch.snapshots) tail.snapshots.set(snapshotKey(snapshot), snapshot);
  for (const use of batch.token_uses) tail.token_uses.set(use.token_id, use);
  tail.stream_id_last += batch.created.length;
  tail.log = batch.after;
}

/**
 * The batch is durable: the database knows it now, and only what later batches changed stays here.
 */
export function settle(tail: Tail, batch: PlannedBatch): void {
  for (const stored of batch.created) tail.heads.settle(stored);
  for (const stored of batch.changed) tail.heads.settle(stored);
  for (const event of batch.named) tail.events.delete(event.event_id);
  for (const { snapshot } of batch.snapshots) settleSnapshot(tail, snapshot);
}

export function beginAlteration(tail: Tail, alteration: Alteration): void {
  const { head, snapshot, created, log, trail } = alteration;
  if (head?.stored === null) tail.heads.remove(head);
  else if (head !== undefined) tail.heads.change(head.stored);
  if (snapshot !== undefined) tail.snapshots.set(snapshotKey(snapshot), snapshot);
  tail.stream_id_last += created ?? 0;
  tail.log = log ?? tail.log;
  tail.trail = trail ?? tail.trail;
}

export function settleAlteration(tail: Tail, { head, snapshot }: Alteration): void {
  if (head?.stored === null) tail.heads.settleRemoval(head);
  else if (head !== undefined) tail.heads.settle(head.stored);
  if (snapshot !== undefined) settleSnapshot(tail, snapshot);
}

function settleSnapshot(tail: Tail, snapshot: Snapshot): void {
  const key = snapshotKey(snapshot);
  // A later change of its comment settles it.
  if (tail.snapshots.get(key) === snapshot) tail.snapshots.delete(key);
}
