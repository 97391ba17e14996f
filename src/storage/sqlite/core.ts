// Commits, seen in call order: each is planned against what the ones before it will leave, also
// while those are still being written. Nothing resolves before it, and all before it, is durable;
// after one failed write nothing is taken any more, because later plans would stand on it.

import { assert, type DbxError } from "../../model/error.ts";
import type { StreamHead } from "../../model/aggregate.ts";
import type { TokenId } from "../../model/actor.ts";
import type { CommittedEvent, EventId } from "../../model/event.ts";
import { digestBytes, keysWith } from "../../model/merkle.ts";
import { newHead, type Known, type Plan, type TokenUse } from "../../model/plan.ts";
import { keyText, type StreamKey } from "../../model/stream.ts";
import type { Ask, Committed, CommittedOutcome, Storage } from "../storage.ts";
import { stopped, translate, translated } from "./failure.ts";
import { createHeads, type Heads, type StoredHead } from "./heads.ts";
import { growPositions, type Run } from "./positions.ts";
import type { Reader } from "./reader.ts";
import { fromUuid, saltBytes } from "./rows.ts";
import type { Batch, LogTail } from "./writer.ts";

/** Where batches go. */
export interface BatchSink {
  /** Resolves once the batch is durable. Batches are written in call order. */
  write(batch: Batch): Promise<void>;
  /** Resolves with the cause when background work on the files has failed. Never rejects. */
  readonly broken: Promise<unknown>;
  figures(): Record<string, number | string>;
  /** Faults of the file, as sentences; reads everything. */
  check(limit: number): Promise<string[]>;
  /** Writes what waits, then leaves the files as small as they get. */
  close(): Promise<void>;
}

export interface Core extends Pick<Storage, "commit" | "createStream"> {
  /** Resolves when a write has failed and no more are taken. Never rejects. */
  readonly failure: Promise<DbxError>;
  readonly headsCached: () => number;
}

/** A batch whose heads this process goes on using. */
interface PlannedBatch extends Batch {
  readonly created: readonly StoredHead[];
  readonly changed: readonly StoredHead[];
  /** Those of its events whose ids clients chose: nobody can ask for another before it is durable. */
  readonly named: readonly CommittedEvent[];
}

/** What running commits have changed, and where the log will end when they are done. */
interface Tail {
  readonly heads: Heads;
  readonly events: Map<EventId, CommittedEvent>;
  /** Every use since the start: as many as there are tokens, and asked for in every commit. */
  readonly token_uses: Map<TokenId, TokenUse>;
  log: LogTail;
  stream_id_last: number;
  /** The write of the latest batch. */
  written: Promise<void>;
  failed: DbxError | null;
}

export function createCore(parts: { reader: Reader; sink: BatchSink; heads_max: number }): Core {
  const { reader, sink, heads_max } = parts;
  const tail: Tail = {
    heads: createHeads({ heads_max }),
    events: new Map(),
    token_uses: new Map(),
    log: reader.log(),
    stream_id_last: reader.lastStreamId(),
    written: Promise.resolve(),
    failed: null,
  };
  const failure = Promise.withResolvers<DbxError>();

  const fail = (cause: unknown): void => {
    if (tail.failed !== null) return;
    tail.failed = stopped(cause);
    failure.resolve(tail.failed);
  };
  void sink.broken.then(fail);

  const write = async (batch: PlannedBatch): Promise<void> => {
    begin(tail, batch);
    tail.written = sink.write(batch);
    try {
      await tail.written;
    } catch (cause) {
      fail(cause);
      throw translate("commit", cause);
    }
    settle(tail, batch);
  };
  /** An answer that stands on running commits must not overtake them. */
  const whatRuns = async (): Promise<void> => {
    try {
      await tail.written;
    } catch (cause) {
      throw stopped(cause);
    }
  };

  return {
    commit: async (ask, plan) => {
      if (tail.failed !== null) throw tail.failed;
      const stored = translated("read heads", () => recallHeads(tail.heads, reader, ask.keys));
      const planned = plan(translated("read", () => recall(tail, reader, ask, stored)));
      const { batch, committed } = prepare(tail, planned, { stored, ids: ask.event_ids });
      if (batch === null) await whatRuns();
      else await write(batch);
      return committed;
    },
    createStream: async (key) => {
      if (tail.failed !== null) throw tail.failed;
      const stored = translated("read heads", () => recallHeads(tail.heads, reader, [key]));
      if (stored.size > 0) {
        await whatRuns();
        return false;
      }
      const stream_id = tail.stream_id_last + 1;
      const created = { key: keyText(key), stream_id, head: newHead(key), positions: none };
      const { frontier, streams, keys } = tail.log;
      const after = { frontier, streams: streams + 1, keys: keysWith(keys, key) };
      await write({ ...emptyBatch, created: [created], before: tail.log, after });
      return true;
    },
    failure: failure.promise,
    headsCached: tail.heads.count,
  };
}

const emptyBatch: Pick<
  PlannedBatch,
  "events" | "created" | "changed" | "named" | "runs" | "snapshots" | "token_uses"
> = {
  events: [],
  created: [],
  changed: [],
  named: [],
  runs: [],
  snapshots: [],
  token_uses: [],
};

function recallHeads(
  heads: Heads,
  reader: Reader,
  keys: readonly StreamKey[],
): Map<string, StoredHead> {
  const recalled = new Map<string, StoredHead>();
  for (const key of keys) {
    const text = keyText(key);
    let stored = heads.latest(text);
    if (stored === undefined) {
      stored = reader.head(key);
      if (stored === undefined) continue;
      heads.remember(stored);
    }
    recalled.set(text, stored);
  }
  return recalled;
}

function recall(
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

/** Gives positions and stream ids, and checks that the plan continues what is there. */
function prepare(
  tail: Tail,
  plan: Plan,
  { stored, ids }: { stored: ReadonlyMap<string, StoredHead>; ids: readonly EventId[] },
): { batch: PlannedBatch | null; committed: Committed } {
  const created: StoredHead[] = [];
  const changed: StoredHead[] = [];
  const runs: Run[] = [];
  const streams = new Map<string, Growth>();
  let streamsNew = 0;
  for (const head of plan.heads) {
    const text = keyText(head);
    const old = stored.get(text);
    const key = old?.key ?? text;
    const stream_id = old?.stream_id ?? tail.stream_id_last + ++streamsNew;
    const version = old?.head.version ?? 0;
    streams.set(key, { key, head, stream_id, version, old, added: [] });
  }
  const events: { stream_id: number; event: CommittedEvent }[] = [];
  const placed: CommittedEvent[] = [];
  const start = tail.log.frontier.size;
  const outcomes = plan.outcomes.map((outcome): CommittedOutcome => {
    if (outcome.kind !== "appended") return outcome;
    const committed = outcome.events.map((event) => {
      const one = { ...event, position: start + events.length + 1 };
      events.push({ stream_id: grow(streams, one), event: one });
      placed.push(one);
      return one;
    });
    return { kind: "appended", events: committed };
  });
  for (const { key, head, stream_id, old, added, version: versionPlaced } of streams.values()) {
    assert(head.version === versionPlaced, "a head is at its stream's last event");
    assert(head.frontier.size === head.version, "a head's tree has a leaf for every event");
    const version = old?.head.version ?? 0;
    const grown = growPositions({ stream_id, version, positions: old?.positions ?? none }, added);
    runs.push(...grown.runs);
    const place = old === undefined ? created : changed;
    place.push({ key, stream_id, head, positions: grown.positions });
  }
  const position = start + events.length;
  assert(plan.log.size === position, "the log's tree has a leaf for every event");
  const snapshots = plan.snapshots.map((snapshot) => {
    const stream = streams.get(keyText(snapshot));
    assert(stream !== undefined, "a snapshot belongs to a stream that grew");
    return { stream_id: stream.stream_id, snapshot };
  });
  const committed = { outcomes, position };
  const { token_uses } = plan;
  if (plan.heads.length + token_uses.length === 0) return { batch: null, committed };
  const before = tail.log;
  const after = {
    frontier: plan.log,
    streams: before.streams + created.length,
    keys: created.reduce((keys, { head }) => keysWith(keys, head), before.keys),
  };
  const asked = new Set(ids);
  const named = ids.length === 0 ? [] : placed.filter(({ event_id }) => asked.has(event_id));
  return {
    batch: { events, created, changed, named, runs, snapshots, token_uses, before, after },
    committed,
  };
}

const none = new Uint8Array(0);

interface Growth {
  readonly key: string;
  /** As it will be. */
  readonly head: StreamHead;
  readonly stream_id: number;
  /** As it was before this commit. */
  readonly old: StoredHead | undefined;
  /** Positions of the events placed so far. */
  readonly added: number[];
  /** Grows with each event that is placed. */
  version: number;
}

function grow(streams: ReadonlyMap<string, Growth>, event: CommittedEvent): number {
  const stream = streams.get(keyText(event));
  assert(stream !== undefined, "the head of an appended event changes");
  stream.version++;
  stream.added.push(event.position);
  assert(event.version === stream.version, "an event continues its stream");
  assert(event.salt.length === saltBytes, "a salt has 16 bytes");
  assert(event.content_digest.length === digestBytes, "a content digest has 32 bytes");
  assert(event.hash.length === digestBytes, "a hash has 32 bytes");
  assert(event.merkle_root.length === digestBytes, "a root has 32 bytes");
  return stream.stream_id;
}

/** From here on later commits see the batch. */
function begin(tail: Tail, batch: PlannedBatch): void {
  for (const stored of batch.created) tail.heads.change(stored);
  for (const stored of batch.changed) tail.heads.change(stored);
  for (const event of batch.named) tail.events.set(event.event_id, event);
  for (const use of batch.token_uses) tail.token_uses.set(use.token_id, use);
  tail.stream_id_last += batch.created.length;
  tail.log = batch.after;
}

/**
 * The batch is durable: the database knows it now, and only what later batches changed stays here.
 */
function settle(tail: Tail, batch: PlannedBatch): void {
  for (const stored of batch.created) tail.heads.settle(stored);
  for (const stored of batch.changed) tail.heads.settle(stored);
  for (const event of batch.named) tail.events.delete(event.event_id);
}
