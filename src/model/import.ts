// The other way in: events that another node has committed, taken over as they are. Nothing of them
// is decided here; everything they claim is recomputed, and what does not follow from the history
// that is here already is refused. Pure, like the planner of appends, and called as it is.

import { erasedType, fold, type StreamHead } from "./aggregate.ts";
import { canonicalOf } from "./canonical.ts";
import { aggregateArchived, alreadyExists, DbxError, failedPrecondition } from "./error.ts";
import type { CommittedEvent, UnpositionedEvent } from "./event.ts";
import { limits } from "./limits.ts";
import { growFrontier, growFrontierBy, rootOf, type Digest } from "./merkle.ts";
import {
  contentDigest,
  eventHash,
  newHead,
  stateTooLarge,
  type Known,
  type Outcome,
  type Plan,
} from "./plan.ts";
import { isSnapshotDue, type Snapshot } from "./snapshot.ts";
import { keyText, showKey, type StreamKey } from "./stream.ts";

/** As another node tells it. `body` is null where it was erased there. */
export interface ImportedEvent extends Omit<UnpositionedEvent, "payload" | "note" | "salt"> {
  readonly body: Pick<UnpositionedEvent, "payload" | "note" | "salt"> | null;
}

export interface ImportContext {
  /** The latest time that an event may have; null for any. */
  readonly created_at_max: string | null;
  readonly snapshotThresholdOf: (aggregate_type: string) => number | null;
}

/**
 * Takes the events as one transaction, all or nothing. Those that are here already are passed over,
 * so a batch whose answer was lost can come again; the outcome has the others. Refused with
 * `failed_precondition` where versions are missing between, where the history here is another one
 * (`details.reason` is `gap` or `fork`), where a hash does not follow from what it is to prove, and
 * where a missing body is not covered by an erasure among them.
 */
export function planImports(
  known: Known,
  events: readonly ImportedEvent[],
  context: ImportContext,
): Plan {
  const draft: Draft = { known, context, heads: new Map(), added: new Map(), snapshots: [] };
  let outcome: Outcome;
  try {
    const fresh = events.flatMap((event, index) => {
      try {
        return take(draft, event) ?? [];
      } catch (error) {
        if (!(error instanceof DbxError)) throw error;
        throw new DbxError(error.code, error.message, { index, ...error.details });
      }
    });
    requireCovered(draft, fresh);
    outcome = { kind: "appended", events: fresh };
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    const nothing = { heads: [], snapshots: [], token_uses: [], log: known.log };
    return { outcomes: [{ kind: "refused", error }], ...nothing };
  }
  const leaves = outcome.events.map(({ hash }) => hash);
  return {
    outcomes: [outcome],
    heads: [...draft.heads.values()],
    snapshots: draft.snapshots,
    token_uses: [],
    log: leaves.length === 0 ? known.log : growFrontierBy(known.log, leaves),
    imported: true,
  };
}

interface Draft {
  readonly known: Known;
  readonly context: ImportContext;
  /** Of the streams that grow. */
  readonly heads: Map<string, StreamHead>;
  /** By event id. */
  readonly added: Map<string, ImportedEvent>;
  readonly snapshots: Snapshot[];
}

/** Out: the event to be written; null for one that is here already. */
function take(draft: Draft, event: ImportedEvent): UnpositionedEvent | null {
  const { known, heads, added } = draft;
  const key = keyText(event);
  const head = heads.get(key) ?? known.heads.get(key) ?? newHead(event);
  const first = added.get(event.event_id) ?? known.events.get(event.event_id);
  if (event.version <= head.version) {
    if (first !== undefined && isSame(first, event)) return null;
    throw fork(event, `version ${event.version} is another event here`);
  }
  if (event.version > head.version + 1) throw gap(event, head.version);
  if (first !== undefined) {
    const { event_id } = event;
    throw alreadyExists(`event id ${event_id} is already used by another event`, { event_id });
  }
  requireTime(event, head, draft.context.created_at_max);
  const root = requireProof(event, head);
  if (head.archived && event.event_type !== erasedType) throw aggregateArchived(keyOf(event));
  const { next, snapshot } = grown(event, { head, root, context: draft.context });
  heads.set(key, next);
  added.set(event.event_id, event);
  if (snapshot !== null) draft.snapshots.push(snapshot);
  return writable(event);
}

/** A hash covers everything but the body, and the body's digest. */
const isSame = (
  first: Pick<CommittedEvent, "version" | "hash"> & StreamKey,
  again: ImportedEvent,
) =>
  keyText(first) === keyText(again) &&
  first.version === again.version &&
  isEqual(first.hash, again.hash);

const isEqual = (left: Digest, right: Digest): boolean => Buffer.compare(left, right) === 0;

/** Out: the root of the stream with this event. Throws where anything is not as it is claimed. */
function requireProof(event: ImportedEvent, head: StreamHead): Digest {
  const { body, content_digest, issued_by } = event;
  if (body !== null && !isEqual(contentDigest(body), content_digest)) {
    throw unproven(event, "the payload or note does not match its digest");
  }
  const { aggregate_type, aggregate_id, version, event_id, event_type, created_at } = event;
  const hash = eventHash({
    ...{ aggregate_type, aggregate_id, version, event_id, event_type, created_at, issued_by },
    ...{ content_digest, previous_root: head.root },
  });
  if (!isEqual(hash, event.hash)) {
    // One hash covers the history before it as well, so it cannot be told which of them differs.
    throw fork(event, "its hash does not follow from it and the history before it here");
  }
  const root = rootOf(growFrontier(head.frontier, hash));
  if (isEqual(root, event.merkle_root)) return root;
  throw unproven(event, "its root is not that of the events up to it");
}

function requireTime(event: ImportedEvent, head: StreamHead, latest: string | null): void {
  const { created_at } = event;
  if (created_at < head.updated_at) {
    throw unproven(event, `it is of ${created_at}, before the event before it`);
  }
  if (latest === null || created_at <= latest) return;
  throw failedPrecondition(
    `${nameOf(event)} is of ${created_at}, which is later than ${latest}: a clock is wrong`,
    { ...keyOf(event), version: event.version, created_at, reason: "future" },
  );
}

function grown(
  event: ImportedEvent,
  { head, root, context }: { head: StreamHead; root: Digest; context: ImportContext },
): { next: StreamHead; snapshot: Snapshot | null } {
  const { aggregate_type, aggregate_id, version, event_type, created_at, body } = event;
  const isErasure = event_type === erasedType;
  // One whose own body is missing was erased by a later one, which has to follow.
  const erased = isErasure && body !== null ? requireThrough(event) : head.erased;
  const state =
    body === null ? head.state : fold(head.state, { event_type, payload: body.payload });
  if (state.length > limits.state_chars_max) throw stateTooLarge(event, state.length);
  const next: StreamHead = {
    ...{ aggregate_type, aggregate_id, version, root, state, archived: head.archived },
    frontier: growFrontier(head.frontier, event.hash),
    erased,
    updated_at: created_at,
  };
  const isDue = !isErasure && isSnapshotDue(version, context.snapshotThresholdOf(aggregate_type));
  if (!isDue || body === null) return { next, snapshot: null };
  const comment = `auto snapshot v${version}`;
  const of = { aggregate_type, aggregate_id, version };
  return { next, snapshot: { ...of, state, merkle_root: root, created_at, comment } };
}

/** What an erasure says that it has erased: everything before it, and nothing else. */
function requireThrough(event: ImportedEvent): number {
  const through = event.version - 1;
  const wanted = new RegExp(`^\\{"reason":"[\\s\\S]*","through":${through}\\}$`);
  if (through > 0 && event.body !== null && wanted.test(event.body.payload)) return through;
  throw unproven(event, "it does not say that everything before it is erased");
}

function requireCovered({ heads }: Draft, fresh: readonly UnpositionedEvent[]): void {
  for (const event of fresh) {
    const erased = heads.get(keyText(event))?.erased ?? 0;
    if (event.erased !== true || event.version <= erased) continue;
    throw unproven(event, "its body is missing, and no event here says that it was erased");
  }
}

/** What the storage takes, which writes nothing of a body that is erased. */
const writable = ({ body, ...event }: ImportedEvent): UnpositionedEvent =>
  body === null
    ? { ...event, payload: canonicalOf(null), note: null, salt: noSalt, erased: true }
    : { ...event, ...body };

const noSalt = new Uint8Array(16);

const keyOf = ({ aggregate_type, aggregate_id }: StreamKey) => ({ aggregate_type, aggregate_id });
const nameOf = (event: StreamKey & { version: number }) =>
  `version ${event.version} of ${showKey(event)}`;

const gap = (event: ImportedEvent, version: number) =>
  failedPrecondition(
    `${nameOf(event)} does not follow: ${showKey(event)} is at version ${version} here`,
    { ...keyOf(event), version: event.version, current_version: version, reason: "gap" },
  );
const fork = (event: ImportedEvent, problem: string) =>
  failedPrecondition(`${nameOf(event)} is of another history: ${problem}`, {
    ...{ ...keyOf(event), version: event.version, reason: "fork" },
  });
const unproven = (event: StreamKey & { version: number }, problem: string) =>
  failedPrecondition(`${nameOf(event)} is not what it claims to be: ${problem}`, {
    ...{ ...keyOf(event), version: event.version, reason: "unproven" },
  });
