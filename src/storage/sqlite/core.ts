// Commits, seen in call order: each is planned against what the ones before it will leave, also
// while those are still being written. Nothing resolves before it, and all before it, is durable;
// after one failed write nothing is taken any more, because later plans would stand on it.

import { assert, type DbxError } from "../../model/error.ts";
import type { StreamHead } from "../../model/aggregate.ts";
import type { CommittedEvent, EventId } from "../../model/event.ts";
import { digestBytes, keysWith } from "../../model/merkle.ts";
import type { Plan } from "../../model/plan.ts";
import { keyText } from "../../model/stream.ts";
import type { Committed, CommittedOutcome, Storage } from "../storage.ts";
import { createChanges, type Changes } from "./changes.ts";
import { stopped, translate, translated } from "./failure.ts";
import type { StoredHead } from "./heads.ts";
import type { Moves } from "./moves.ts";
import { growPositions, type Run } from "./positions.ts";
import type { Reader } from "./reader.ts";
import { saltBytes } from "./rows.ts";
import type { Step } from "./steps.ts";
import {
  begin,
  beginAlteration,
  createTail,
  recall,
  recallHeads,
  settle,
  settleAlteration,
  type Alteration,
  type PlannedBatch,
  type Tail,
} from "./tail.ts";
import type { Batch } from "./writer.ts";

/** Where batches go. */
export interface BatchSink {
  /** Resolves once the batch is durable. Batches and alterations are written in call order. */
  write(batch: Batch): Promise<void>;
  /**
   * The steps in one transaction. Resolves with null, or with the reason why they were rolled back
   * alone: others go on (`standsAlone`).
   */
  alter(steps: readonly Step[]): Promise<Error | null>;
  /**
   * Empties the write-ahead log, after the database was written anew without free pages where
   * `vacuum` says so. False where readers kept it from that.
   */
  compact(vacuum: boolean): Promise<boolean>;
  /** Resolves with the cause when background work on the files has failed. Never rejects. */
  readonly broken: Promise<unknown>;
  figures(): Record<string, number | string>;
  /** Faults of the file, as sentences; reads everything. */
  check(limit: number): Promise<string[]>;
  /** Writes what waits, then leaves the files as small as they get. */
  close(): Promise<void>;
}

export interface Core extends Pick<Storage, "commit">, Changes {
  /** One step in one transaction, in order with commits; durable when it resolves. */
  readonly take: (step: Step) => Promise<void>;
  /** Resolves when a write has failed and no more are taken. Never rejects. */
  readonly failure: Promise<DbxError>;
  readonly headsCached: () => number;
}

export function createCore(parts: {
  reader: Reader;
  moves: Moves;
  sink: BatchSink;
  heads_max: number;
}): Core {
  const { reader, moves, sink, heads_max } = parts;
  const tail = createTail(reader, heads_max);
  const failure = Promise.withResolvers<DbxError>();

  const fail = (cause: unknown): void => {
    if (tail.failed !== null) return;
    tail.failed = stopped(cause);
    failure.resolve(tail.failed);
  };
  void sink.broken.then(fail);

  const durable = async (written: Promise<void>): Promise<void> => {
    tail.written = written;
    try {
      await written;
    } catch (cause) {
      fail(cause);
      throw translate("commit", cause);
    }
  };
  const write = async (batch: PlannedBatch): Promise<void> => {
    begin(tail, batch);
    await durable(sink.write(batch));
    settle(tail, batch);
  };
  const alter = async (alteration: Alteration): Promise<void> => {
    beginAlteration(tail, alteration);
    const answer = sink.alter(alteration.steps);
    await durable(answer.then(() => undefined));
    const refused = await answer;
    if (refused !== null) throw refused;
    settleAlteration(tail, alteration);
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
    ...createChanges({ reader, moves, tail, alter, whatRuns }),
    commit: async (ask, plan) => {
      if (tail.failed !== null) throw tail.failed;
      const stored = translated("read heads", () => recallHeads(tail.heads, reader, ask.keys));
      const planned = plan(translated("read", () => recall(tail, reader, ask, stored)));
      const { batch, committed } = prepare(tail, planned, { stored, ids: ask.event_ids });
      if (batch === null) await whatRuns();
      else await write(batch);
      return committed;
    },
    take: (step) => {
      if (tail.failed !== null) throw tail.failed;
      return alter({ steps: [step] });
    },
    failure: failure.promise,
    headsCached: tail.heads.count,
  };
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
    batch: {
      ...{ events, created, changed, named, runs, snapshots, token_uses, before, after },
      imported: plan.imported === true,
    },
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
