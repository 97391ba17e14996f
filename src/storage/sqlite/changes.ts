// Removing, archiving, restoring and keeping snapshots: decided here, in call order with commits,
// and written as one transaction with its entry in the audit trail.

import type { StreamHead } from "../../model/aggregate.ts";
import type { AuditAction, AuditEntry, Change } from "../../model/audit.ts";
import { keysWith } from "../../model/merkle.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { keyText, type StreamKey } from "../../model/stream.ts";
import type { Storage } from "../storage.ts";
import { trailWith, type Trail } from "./audit.ts";
import { translated } from "./failure.ts";
import type { StoredHead } from "./heads.ts";
import type { Reader } from "./reader.ts";
import type { Direction, Step } from "./steps.ts";
import { recallHeads, snapshotKey, type Alteration, type Tail } from "./tail.ts";

export type Changes = Pick<
  Storage,
  "removeStream" | "archiveStream" | "restoreStream" | "keepSnapshot"
>;

export interface ChangesParts {
  readonly reader: Reader;
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
  const move = async (
    key: StreamKey,
    change: Change,
    direction: Direction,
  ): Promise<StreamHead | undefined> => {
    const stored = recall(key);
    const archived = direction === "archive";
    if (stored === undefined) return await answer(undefined);
    const { stream_id, head } = stored;
    if (head.archived === archived) return await answer(head);
    const moved = { ...stored, head: { ...head, archived } };
    const { trail, step } = noted(tail.trail, direction, key, change);
    const steps: Step[] = [
      step,
      { kind: "begin", stream_id, direction },
      { kind: "end", stream_id, direction },
    ];
    await alter({ steps, key: stored.key, stored: moved, snapshot: null, log: tail.log, trail });
    return moved.head;
  };
  return {
    archiveStream: (key, change) => move(key, change, "archive"),
    restoreStream: (key, change) => move(key, change, "restore"),
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
      await alter({ steps, key: stored.key, stored: null, snapshot: null, log, trail });
      return "removed";
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
      await alter({ steps, key: stored.key, stored, snapshot, log: tail.log, trail });
      return snapshot;
    },
  };
}

/** The state as it is; where this version has a snapshot, that one, with a comment that is given. */
function snapshotOf({ reader, tail }: ChangesParts, head: StreamHead, change: Change): Snapshot {
  const { aggregate_type, aggregate_id, version, state, root: merkle_root } = head;
  const of = { aggregate_type, aggregate_id, version };
  const old =
    tail.snapshots.get(snapshotKey(of)) ??
    translated("read snapshots", () => reader.snapshotPage(of, version - 1, 1))[0];
  if (old !== undefined) return { ...old, comment: change.comment ?? old.comment };
  return { ...of, state, merkle_root, created_at: change.at, comment: change.comment };
}

function noted(
  before: Trail,
  action: AuditAction,
  { aggregate_type, aggregate_id }: StreamKey,
  { at, issued_by, comment }: Change,
): { readonly trail: Trail; readonly step: Step } {
  const entry: AuditEntry = {
    ...{ entry: before.entries + 1, at, issued_by, action },
    ...{ aggregate_type, aggregate_id, comment },
  };
  const trail = trailWith(before, entry);
  return { trail, step: { kind: "note", entry, before, after: trail } };
}
