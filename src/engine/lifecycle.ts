// What is done to an aggregate as a whole: snapshots, archiving, restoring, removing.

import type { Dbx } from "../api/dbx.ts";
import { requireGrant, type Actor } from "../model/actor.ts";
import { toAggregate, type StreamHead } from "../model/aggregate.ts";
import type { Change } from "../model/audit.ts";
import { aggregateNotFound, failedPrecondition } from "../model/error.ts";
import { showKey, type StreamKey } from "../model/stream.ts";
import { visibleState } from "../model/visibility.ts";
import type { Storage } from "../storage/storage.ts";
import type { Schemas } from "./schemas.ts";

export type Lifecycle = Pick<
  Dbx,
  "createSnapshot" | "archiveAggregate" | "restoreAggregate" | "removeAggregate"
>;

type Reason = StreamKey & { comment?: string | null };

export function createLifecycle(deps: {
  readonly storage: Storage;
  readonly schemas: Schemas;
  readonly now: () => string;
}): Lifecycle {
  const { storage, now } = deps;
  const visibilityOf = ({ aggregate_type }: StreamKey) =>
    deps.schemas.view().visibilityOf(aggregate_type);
  /** What the answer shows of an aggregate: no more than reading it would. */
  const shown = (head: StreamHead) => {
    const aggregate = toAggregate(head);
    return { ...aggregate, state: visibleState(aggregate.state, visibilityOf(head)) };
  };
  const changeOf = ({ group, user }: Actor, { comment }: Reason): Change => ({
    at: now(),
    issued_by: { group, user },
    comment: comment ?? null,
  });
  return {
    createSnapshot: async (actor, input) => {
      const key = keyOf(input);
      // The answer shows the state.
      requireGrant(actor, "read");
      const visibility = visibilityOf(key);
      if (visibility.hidden && !actor.grants.includes("admin")) throw aggregateNotFound(key);
      const snapshot = await storage.keepSnapshot(key, changeOf(actor, input));
      if (snapshot === undefined) throw aggregateNotFound(key);
      if (snapshot === "no_events") {
        throw failedPrecondition(`${showKey(key)} has no events yet`, { ...key, version: 0 });
      }
      if (snapshot === "archived") {
        throw failedPrecondition(`${showKey(key)} is archived; restore it first`, { ...key });
      }
      const state = visibleState(snapshot.state, visibility);
      return { ...snapshot, state, merkle_root: snapshot.merkle_root.toHex() };
    },
    archiveAggregate: async (actor, input) => {
      const head = await storage.archiveStream(keyOf(input), changeOf(actor, input));
      if (head === undefined) throw aggregateNotFound(keyOf(input));
      return shown(head);
    },
    restoreAggregate: async (actor, input) => {
      const head = await storage.restoreStream(keyOf(input), changeOf(actor, input));
      if (head === undefined) throw aggregateNotFound(keyOf(input));
      return shown(head);
    },
    removeAggregate: async (actor, input) => {
      const key = keyOf(input);
      const outcome = await storage.removeStream(key, changeOf(actor, input));
      if (outcome === "not_found") throw aggregateNotFound(key);
      if (outcome === "has_events") {
        throw failedPrecondition(`aggregate ${showKey(key)} cannot be removed while events exist`, {
          ...key,
        });
      }
      return key;
    },
  };
}

const keyOf = ({ aggregate_type, aggregate_id }: StreamKey): StreamKey => ({
  aggregate_type,
  aggregate_id,
});
