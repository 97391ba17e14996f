// Making, removing, archiving, restoring and keeping snapshots: decided here, in call order with
// commits, and written as one transaction with its entry in the audit trail.

import type { StreamHead } from "../../model/aggregate.ts";
import type { AggregateAction, AuditEntry, Change, OtherChange } from "../../model/audit.ts";
import { canonicalOf } from "../../model/canonical.ts";
import { assert } from "../../model/error.ts";
import { keysWith } from "../../model/merkle.ts";
import { newHead } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { keyText, type StreamKey } from "../../model/stream.ts";
import type { Storage } from "../storage.ts";
import { trailWith, type Trail } from "./audit.ts";
import { translated } from "./failure.ts";
import type { StoredHead } from "./heads.ts";
import type { MoveEffects, Moves } from "./moves.ts";
import type { Reader } from "./reader.ts";
import type { Direction, Step } from "./steps.ts";
import { recallHeads, snapshotKey, type Alteration, type Tail } from "./tail.ts";

export interface Changes extends Pick<
  Storage,
  "createStream" | "removeStream" | "archiveStream" | "restoreStream" | "keepSnapshot" | "record"
> {
  /** A step, and what the audit trail says to it, in one transaction. */
  readonly takeNoted: (step: Step, change: OtherChange) => Promise<void>;
  /** Goes on with the moves that were cut short. */
  readonly resume: () => void;
}

export interface ChangesParts {
  readonly reader: Reader;
  readonly moves: Moves;
  readonly tail: Tail;
  /** Durable when it resolves; commits called after it see what it did. */
  readonly alter: (alteration: Alteration) => Promise<void>;
  /** Resolves when what was called before is durable. */
  readonly whatRuns: () => Promise<void>;
}

export function createChanges(parts: ChangesParts): Changes {
  const { reader, tail, alter, whatRuns } = parts;
  const recall = (key: StreamKey): StoredHead | undefined => {
    if (tail.failed !== null) throw tail.failed;
    return translated("read heads", () => recallHeads(tail.heads, reader, [key])).get(keyText(key));
  };
  /** An answer that changes nothing. */
  const answer = async <T>(value: T): Promise<T> => {
    await whatRuns();
    return value;
  };
  return {
    ...createArchiving(parts, { recall, answer }),
    createStream: async (key, change) => {
      if (recall(key) !== undefined) return await answer(false);
      const before = tail.log;
      const stream_id = tail.stream_id_last + 1;
      const stored = { key: keyText(key), stream_id, head: newHead(key), positions: none };
      const { frontier, streams, keys } = before;
      const log = { frontier, streams: streams + 1, keys: keysWith(keys, key) };
      const { trail, step } = noted(tail.trail, "create", key, change);
      const steps: Step[] = [{ kind: "create", stored, before, after: log }, step];
      await alter({ steps, head: { key: stored.key, stored }, created: 1, log, trail });
      return true;
    },
    removeStream: async (key, change) => {
      const stored = recall(key);
      if (stored === undefined) return await answer("not_found");
      if (stored.head.version > 0) return await answer("has_events");
      const before = tail.log;
      const { frontier, streams, keys } = before;
      // XOR takes out what it has put in.
      const log = { frontier, streams: streams - 1, keys: keysWith(keys, key) };
      const { trail, step } = noted(tail.trail, "remove", key, change);
      const { stream_id } = stored;
      const steps: Step[] = [{ kind: "remove", stream_id, before, after: log }, step];
      await alter({ steps, head: { key: stored.key, stored: null }, log, trail });
      return "removed";
    },
    record: async (change) => {
      if (tail.failed !== null) throw tail.failed;
      const { trail, step } = otherNoted(tail.trail, change);
      await alter({ steps: [step], trail });
    },
    takeNoted: async (first, change) => {
      if (tail.failed !== null) throw tail.failed;
      const { trail, step } = otherNoted(tail.trail, change);
      await alter({ steps: [first, step], trail });
    },
    keepSnapshot: async (key, change) => {
      const stored = recall(key);
      if (stored === undefined) return await answer(undefined);
      if (stored.head.version === 0) return await answer("no_events");
      if (stored.head.archived) return await answer("archived");
      const snapshot = snapshotOf(parts, stored.head, change);
      const { trail, step } = noted(tail.trail, "snapshot", key, change);
      const { stream_id } = stored;
      const steps: Step[] = [{ kind: "keep", stream_id, snapshot }, step];
      await alter({ steps, snapshot, trail });
      return snapshot;
    },
  };
}

const none = new Uint8Array(0);

interface Recalled {
  readonly recall: (key: StreamKey) => StoredHead | undefined;
  readonly answer: <T>(value: T) => Promise<T>;
}

/** What takes long: a move of the same stream waits for the one before it. */
function createArchiving(
  { reader, moves, tail, alter }: ChangesParts,
  { recall, answer }: Recalled,
): Pick<Changes, "archiveStream" | "restoreStream" | "resume"> {
  /** The latest move of a stream, by `keyText`; resolves when it ended, however. */
  const turns = new Map<string, Promise<void>>();
  const inTurn = async <T>(text: string, work: () => Promise<T>): Promise<T> => {
    const mine = turns.get(text)?.then(work) ?? work();
    const ended = mine.then(
      () => undefined,
      () => undefined,
    );
    turns.set(text, ended);
    try {
      return await mine;
    } finally {
      if (turns.get(text) === ended) turns.delete(text);
    }
  };
  const effects: MoveEffects = {
    alter: (steps) => alter({ steps }),
    end: async ({ stream_id, pending, ...key }) => {
      assert(pending !== null, "what ends was on its way");
      await alter({ steps: [{ kind: "end", stream_id, direction: pending }] });
      if (pending === "archive") return;
      const stored = recall(key);
      assert(stored !== undefined, "an archived stream is not removed while it moves");
      // Only now: nothing may be planned on an end for which the disk has no room.
      tail.heads.remember(flagged(stored, false));
    },
  };
  const move = async (
    key: StreamKey,
    change: Change,
    direction: Direction,
  ): Promise<StreamHead | undefined> => {
    // It may have waited for its turn until now.
    moves.requireOpen();
    const stored = recall(key);
    if (stored === undefined) return await answer(undefined);
    const { stream_id, head } = stored;
    const empty = head.version === 0;
    const pending = empty || !head.archived ? null : (reader.move(stream_id)?.pending ?? null);
    if ((pending ?? (head.archived ? "archive" : "restore")) === direction) {
      if (change.comment !== null) {
        const { trail, step } = noted(tail.trail, direction, key, change);
        await alter({ steps: [step], trail });
      }
      if (pending === null) return await answer(head);
    } else {
      const { trail, step } = noted(tail.trail, direction, key, change);
      const steps: Step[] = [step, { kind: "begin", stream_id, direction }];
      if (empty) steps.push({ kind: "end", stream_id, direction });
      // A stream on its way back takes no events before it is back.
      const after = flagged(stored, direction === "archive" || !empty);
      await alter({ steps, head: { key: stored.key, stored: after }, trail });
    }
    if (!empty) await moves.run(stream_id, effects);
    return { ...head, archived: direction === "archive" };
  };
  const begin = async (
    key: StreamKey,
    change: Change,
    direction: Direction,
  ): Promise<StreamHead | undefined> => {
    // Where nothing moves there is nothing to wait for.
    moves.requireOpen();
    const isEmpty = (recall(key)?.head.version ?? 0) === 0;
    if (isEmpty) return await move(key, change, direction);
    return await inTurn(keyText(key), () => move(key, change, direction));
  };
  return {
    archiveStream: (key, change) => begin(key, change, "archive"),
    restoreStream: (key, change) => begin(key, change, "restore"),
    resume: () => {
      for (const stream_id of reader.pendingMoves()) {
        const found = reader.move(stream_id);
        if (found === undefined) continue;
        // Its failure is told by the figures, and by the next request for the stream.
        void inTurn(keyText(found), () => moves.run(stream_id, effects)).catch(() => undefined);
      }
    },
  };
}

const flagged = (stored: StoredHead, archived: boolean): StoredHead => ({
  ...stored,
  head: { ...stored.head, archived },
});

/** The state as it is; where this version has a snapshot, that one, with a comment that is given. */
function snapshotOf({ reader, tail }: ChangesParts, head: StreamHead, change: Change): Snapshot {
  const { aggregate_type, aggregate_id, version, state, root: merkle_root } = head;
  const of = { aggregate_type, aggregate_id, version };
  const old =
    tail.snapshots.get(snapshotKey(of)) ??
    translated("read snapshots", () =>
      reader.snapshotPage(of, { after: version - 1, limit: 1 }),
    )[0];
  if (old !== undefined) return { ...old, comment: change.comment ?? old.comment };
  return { ...of, state, merkle_root, created_at: change.at, comment: change.comment };
}

function noted(
  before: Trail,
  action: AggregateAction,
  { aggregate_type, aggregate_id }: StreamKey,
  { at, issued_by, comment }: Change,
): { readonly trail: Trail; readonly step: Step } {
  const entry: AuditEntry = {
    ...{ entry: before.entries + 1, at, issued_by, action },
    ...{ aggregate_type, aggregate_id, comment, subject: null, details: canonicalOf(null) },
  };
  return chained(before, entry);
}

/** A change that no stream shows. */
export function otherNoted(
  before: Trail,
  { at, issued_by, comment, action, subject, details, aggregate }: OtherChange,
): { readonly trail: Trail; readonly step: Extract<Step, { kind: "note" }> } {
  return chained(before, {
    ...{ entry: before.entries + 1, at, issued_by, action },
    aggregate_type: aggregate?.aggregate_type ?? null,
    aggregate_id: aggregate?.aggregate_id ?? null,
    ...{ subject, details: canonicalOf(details), comment },
  });
}

function chained(
  before: Trail,
  entry: AuditEntry,
): { readonly trail: Trail; readonly step: Extract<Step, { kind: "note" }> } {
  const trail = trailWith(before, entry);
  return { trail, step: { kind: "note", entry, before, after: trail } };
}
