// Erasing an aggregate: what its events say becomes unreadable for good, that they happened stays.
// The event `$erased` is an ordinary append whose commit destroys the data key; what follows only
// clears away what nobody can read any more.

import type { Dbx } from "../api/dbx.ts";
import { erasedType, type StreamHead } from "../model/aggregate.ts";
import { canonicalOf, splitMembers, type Canonical } from "../model/canonical.ts";
import { aggregateNotFound, assert, failedPrecondition, type DbxError } from "../model/error.ts";
import { toRecord, type CommittedEvent } from "../model/event.ts";
import type { PlannedEvent } from "../model/plan.ts";
import { showKey, type StreamKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import type { Committer } from "./committer.ts";
import type { Staging } from "./staging.ts";

interface ErasureDeps {
  readonly storage: Storage;
  readonly committer: Committer;
  readonly staging: Staging;
  readonly system: System;
  readonly now: () => string;
}

/**
 * Rejects with `failed_precondition` where not everything is encrypted, and without events. Erasing
 * again what has no later event answers with the same record: a lost answer can be asked for again.
 * Another reason than the record's is kept in the audit trail. What is only staged is not erased
 * but discarded, by whom it concerns.
 */
export function createErasure(deps: ErasureDeps): Pick<Dbx, "eraseAggregate"> {
  const { storage, committer, staging, now } = deps;
  return {
    eraseAggregate: async (actor, { reason, aggregate_type, aggregate_id }) => {
      const key = { aggregate_type, aggregate_id };
      requireSealed(storage);
      const head = await storage.readHead(key);
      if (head === undefined || head.version === 0) throw await nothingToErase(deps, key, head);
      const issued_by = { group: actor.group, user: actor.user };
      const note = (details: Readonly<Record<string, unknown>> | null) =>
        storage.record({
          ...{ at: now(), issued_by, comment: reason, action: "erase" },
          ...{ aggregate: key, subject: null, details },
        });
      let event = await lastErasure(storage, key, head.version);
      if (event !== undefined && reasonOf(event) !== canonicalOf(reason)) {
        await note({ erased_already: event.version });
      }
      if (event === undefined) {
        await note(null);
        const events = [erasing(deps.system, key, reason)];
        // No token pays for it: a spent one must not keep what has to go.
        const asked = { events, batch: false, issued_by, token_id: null };
        [event] = await committer.submit(asked);
        assert(event !== undefined, "an append of one event answers one");
      }
      await staging.forget(key);
      await storage.forgetErased(key);
      return toRecord(event);
    },
  };
}

async function nothingToErase(
  { staging }: ErasureDeps,
  key: StreamKey,
  head: StreamHead | undefined,
): Promise<DbxError> {
  const staged = await staging.countOf(key);
  if (staged > 0) {
    return failedPrecondition(
      `${showKey(key)} has no events to erase, only staged ones (${staged}); discard them: ` +
        "dbx aggregate list --stage shows their ids, dbx aggregate discard takes them out",
      { ...key, staged },
    );
  }
  if (head === undefined) return aggregateNotFound(key);
  return failedPrecondition(`${showKey(key)} has no events; remove it instead`, { ...key });
}

function requireSealed(storage: Storage): void {
  const sealing = storage.sealing();
  if (sealing === "all") return;
  throw failedPrecondition(
    sealing === "none"
      ? "erasing destroys a key, and nothing here is encrypted; give a key with dbx config --dek"
      : "what was written before the key was given is still being encrypted; erase when it is done",
    { encrypted: sealing },
  );
}

async function lastErasure(
  storage: Storage,
  key: StreamKey,
  version: number,
): Promise<CommittedEvent | undefined> {
  const [last] = await storage.readStream(key, { after: version - 1, limit: 1 });
  return last?.event_type === erasedType ? last : undefined;
}

/** As canonical JSON. */
const reasonOf = ({ payload }: CommittedEvent): Canonical | undefined =>
  new Map(splitMembers(payload)).get("reason");

const erasing = (system: System, key: StreamKey, reason: string): PlannedEvent => ({
  ...key,
  event_type: erasedType,
  // The planner knows the version, and makes it.
  payload: canonicalOf(null),
  note: null,
  event_id: system.uuid(),
  client_id: false,
  expected_version: "stream_exists",
  salt: system.random(16),
  erasure: { reason },
});
