// The whole write decision: what an append does to the heads it touches, or why it is refused.
// Pure: ids, salts and the time come in, nothing is read or written. The storage calls it inside
// its transaction.

import { emptyState, fold, type StreamHead } from "./aggregate.ts";
import type { Issuer, TokenId } from "./actor.ts";
import { canonicalOf, type Canonical } from "./canonical.ts";
import {
  aggregateArchived,
  DbxError,
  permissionDenied,
  tooLarge,
  versionConflict,
} from "./error.ts";
import type { CommittedEvent, EventId, UnpositionedEvent } from "./event.ts";
import { limits } from "./limits.ts";
import {
  emptyFrontier,
  emptyRoot,
  growFrontier,
  growFrontierBy,
  leafHash,
  rootOf,
  sha256,
  type Digest,
  type Frontier,
} from "./merkle.ts";
import { repetition } from "./repetition.ts";
import { patternBudget, type PatternBudget } from "./schema/budget.ts";
import { isSnapshotDue, type Snapshot } from "./snapshot.ts";
import { keyText, meets, type ExpectedVersion, type StreamKey } from "./stream.ts";

/** One event of a transaction, decoded, with what only the edge can make. */
export interface PlannedEvent extends StreamKey {
  readonly event_type: string;
  readonly payload: Canonical;
  readonly note: string | null;
  readonly event_id: EventId;
  /** Whether the client chose the id, so that it may be a repetition. */
  readonly client_id: boolean;
  readonly expected_version: ExpectedVersion;
  /** 16 random bytes. */
  readonly salt: Uint8Array;
  /** Set: erases what is before it, and takes the payload that the planner gives it. */
  readonly erasure?: Erasure;
  /** Who asked for it, where that is not whoever appends it now: a staged event keeps its actor. */
  readonly issued_by?: Issuer | null;
}

export interface Erasure {
  readonly reason: string;
}

/** The payload of the event of an erasure. Both members are in canonical order. */
const erasedPayload = ({ reason }: Erasure, through: number): Canonical =>
  canonicalOf({ reason, through });

/** All or nothing; may span streams. At least one event. */
export interface Transaction {
  readonly events: readonly PlannedEvent[];
  /** Whether it was asked for as a batch, were it of one: then a refusal names the index. */
  readonly batch: boolean;
  readonly issued_by: Issuer | null;
  /** The token that pays for the writes; null where none does. */
  readonly token_id: TokenId | null;
}

/** How far a token has been used, kept with the log so that it is exact. */
export interface TokenUse {
  readonly token_id: TokenId;
  /** Events appended so far. */
  readonly writes: number;
  /** The end of its life as `--keep-alive` moved it; null if that never happened. */
  readonly expires_at: string | null;
  /** Which issue or refresh of the token `expires_at` belongs to. */
  readonly term: string;
}

/** What the storage knows about everything a commit asked for. Missing in a map: never seen. */
export interface Known {
  /** By `keyText`. */
  readonly heads: ReadonlyMap<string, StreamHead>;
  /** By event id. */
  readonly events: ReadonlyMap<EventId, CommittedEvent>;
  readonly token_uses: ReadonlyMap<TokenId, TokenUse>;
  /** The tree over the whole log; its size is the last position. */
  readonly log: Frontier;
}

export type Outcome =
  /** New events, without positions: the storage assigns those in outcome order. */
  | { readonly kind: "appended"; readonly events: readonly UnpositionedEvent[] }
  /** A repetition: the events as they were committed the first time. Nothing is written. */
  | { readonly kind: "repeated"; readonly events: readonly CommittedEvent[] }
  | { readonly kind: "refused"; readonly error: DbxError };

export interface Plan {
  /** One per transaction, in the same order. */
  readonly outcomes: readonly Outcome[];
  /** New values of the heads that changed. */
  readonly heads: readonly StreamHead[];
  readonly snapshots: readonly Snapshot[];
  /** New values of the token uses that changed. */
  readonly token_uses: readonly TokenUse[];
  readonly log: Frontier;
  /** Whether the events came from another node: whoever delivers them onwards may ask. */
  readonly imported?: true;
}

/**
 * What a token may still do, decided now: a revoked or expired token is refused even when it queued
 * before.
 */
export type Allowance =
  | {
      readonly ok: true;
      /**
       * Total writes, since the token was first issued, at which it is spent; null for no limit.
       */
      readonly writes_max: number | null;
      readonly expires_at: string | null;
      readonly term: string;
    }
  | { readonly ok: false; readonly error: DbxError };

export interface PlanContext {
  /** UTC with six digits, at or after every time this node has assigned. */
  readonly now: string;
  readonly allowanceOf: (token_id: TokenId) => Allowance;
  /** Throws `schema_violation` where an event breaks its schema, `too_large` beyond the budget. */
  readonly checkSchema: (event: PlannedEvent, budget: PatternBudget) => void;
  /** Every how many events of such an aggregate a snapshot is due; 0 and null for never. */
  readonly snapshotThresholdOf: (aggregate_type: string) => number | null;
  /** Whether there is anything in such an aggregate that not everybody may read. */
  readonly hidesSomething: (aggregate_type: string) => boolean;
}

/**
 * Decides each transaction in order: known event id, token allowance, archived, expected version,
 * schema (contract section 4). A refusal leaves no trace; the next transaction sees what the
 * accepted ones did.
 */
export function planAppends(
  known: Known,
  transactions: readonly Transaction[],
  context: PlanContext,
): Plan {
  const draft: Draft = {
    known,
    context,
    heads: new Map(),
    fresh: new Map(),
    token_uses: new Map(),
    snapshots: [],
    leaves: [],
  };
  const outcomes = transactions.map((transaction) => decide(draft, transaction));
  return {
    outcomes,
    heads: [...draft.heads.values()],
    snapshots: draft.snapshots,
    token_uses: [...draft.token_uses.values()],
    log: draft.leaves.length === 0 ? known.log : growFrontierBy(known.log, draft.leaves),
  };
}

/** What the accepted transactions have changed so far. */
interface Draft {
  readonly known: Known;
  readonly context: PlanContext;
  readonly heads: Map<string, StreamHead>;
  /** Events accepted in this plan whose id a client chose, with the positions they will get. */
  readonly fresh: Map<EventId, CommittedEvent>;
  readonly token_uses: Map<TokenId, TokenUse>;
  readonly snapshots: Snapshot[];
  /** Hashes of the events accepted so far: what the tree over the log grows by. */
  readonly leaves: Digest[];
}

function decide(draft: Draft, transaction: Transaction): Outcome {
  try {
    const { fresh, known, context } = draft;
    const firstOf = (id: EventId) => fresh.get(id) ?? known.events.get(id);
    const { hidesSomething } = context;
    const firsts = repetition(transaction, { firstOf, hidesSomething });
    return firsts === null ? accept(draft, transaction) : { kind: "repeated", events: firsts };
  } catch (error) {
    if (error instanceof DbxError) return { kind: "refused", error };
    throw error;
  }
}

function accept(draft: Draft, transaction: Transaction): Outcome {
  const use = charge(draft, transaction);
  // Changes are collected apart, so that a refusal in the middle of a batch leaves the draft
  // untouched.
  const changes: Changes = { heads: new Map(), snapshots: [], budget: patternBudget() };
  const events = transaction.events.map((event, index) => {
    try {
      const { issued_by = transaction.issued_by } = event;
      return append(draft, changes, event, issued_by);
    } catch (error) {
      if (error instanceof DbxError && transaction.batch) {
        throw new DbxError(error.code, error.message, { index, ...error.details });
      }
      throw error;
    }
  });
  for (const [key, head] of changes.heads) draft.heads.set(key, head);
  for (const snapshot of changes.snapshots) draft.snapshots.push(snapshot);
  if (use !== null) draft.token_uses.set(use.token_id, use);
  events.forEach((event, index) => {
    draft.leaves.push(event.hash);
    if (transaction.events[index]?.client_id !== true) return;
    const position = draft.known.log.size + draft.leaves.length;
    draft.fresh.set(event.event_id, { ...event, position });
  });
  return { kind: "appended", events };
}

/** The token's use after this transaction; null where no token pays. */
function charge(draft: Draft, { token_id, events }: Transaction): TokenUse | null {
  if (token_id === null) return null;
  const use = draft.token_uses.get(token_id) ?? draft.known.token_uses.get(token_id);
  const allowance = draft.context.allowanceOf(token_id);
  if (!allowance.ok) throw allowance.error;
  const writes = (use?.writes ?? 0) + events.length;
  if (allowance.writes_max !== null && writes > allowance.writes_max) {
    throw permissionDenied("token write limit reached", {
      remaining_writes: Math.max(0, allowance.writes_max - (use?.writes ?? 0)),
      asked: events.length,
    });
  }
  return { token_id, writes, expires_at: allowance.expires_at, term: allowance.term };
}

/** What one transaction changes, as long as it is not accepted. */
interface Changes {
  readonly heads: Map<string, StreamHead>;
  readonly snapshots: Snapshot[];
  readonly budget: PatternBudget;
}

// This runs for every event, so objects are written out: a spread costs more than a hash.
function append(
  { known, context, heads }: Draft,
  changes: Changes,
  event: PlannedEvent,
  issued_by: Issuer | null,
): UnpositionedEvent {
  const key = keyText(event);
  const head = changes.heads.get(key) ?? heads.get(key) ?? known.heads.get(key) ?? newHead(event);
  const { aggregate_type, aggregate_id } = head;
  const { erasure } = event;
  if (head.archived && erasure === undefined) {
    throw aggregateArchived({ aggregate_type, aggregate_id });
  }
  if (!meets(event.expected_version, head.version)) {
    const { expected_version } = event;
    throw versionConflict({ aggregate_type, aggregate_id }, expected_version, head.version);
  }
  if (erasure === undefined) context.checkSchema(event, changes.budget);
  const { event_id, event_type, note, salt } = event;
  const payload = erasure === undefined ? event.payload : erasedPayload(erasure, head.version);
  const created_at = head.updated_at > context.now ? head.updated_at : context.now;
  const version = head.version + 1;
  const content_digest = contentDigest({ salt, note, payload });
  const hash = eventHash({
    aggregate_type,
    aggregate_id,
    version,
    event_id,
    event_type,
    created_at,
    issued_by,
    content_digest,
    previous_root: head.root,
  });
  const frontier = growFrontier(head.frontier, hash);
  const root = rootOf(frontier);
  const state = fold(head.state, { event_type, payload });
  if (state.length > limits.state_chars_max) throw stateTooLarge(head, state.length);
  changes.heads.set(key, {
    aggregate_type,
    aggregate_id,
    version,
    frontier,
    root,
    state,
    archived: head.archived,
    erased: erasure === undefined ? head.erased : head.version,
    updated_at: created_at,
  });
  if (
    erasure === undefined &&
    isSnapshotDue(version, context.snapshotThresholdOf(aggregate_type))
  ) {
    const comment = `auto snapshot v${version}`;
    const of = { aggregate_type, aggregate_id, version };
    changes.snapshots.push({ ...of, state, merkle_root: root, created_at, comment });
  }
  return {
    aggregate_type,
    aggregate_id,
    version,
    event_id,
    event_type,
    created_at,
    issued_by,
    payload,
    note,
    salt,
    content_digest,
    hash,
    merkle_root: root,
  };
}

export const stateTooLarge = ({ aggregate_type, aggregate_id }: StreamKey, characters: number) =>
  tooLarge(
    `the state of ${aggregate_type}/${aggregate_id} would have ${characters} characters, ` +
      `the limit is ${limits.state_chars_max}`,
    { aggregate_type, aggregate_id, characters, limit: limits.state_chars_max },
  );

/** The head of a stream that has no event yet. */
export const newHead = (key: StreamKey): StreamHead => ({
  aggregate_type: key.aggregate_type,
  aggregate_id: key.aggregate_id,
  version: 0,
  frontier: emptyFrontier,
  root: emptyRoot,
  state: emptyState,
  archived: false,
  erased: 0,
  updated_at: "",
});

/** SHA-256(salt ‖ canonical({note, payload})): binds the body without showing it. */
export function contentDigest(body: {
  salt: Uint8Array;
  note: string | null;
  payload: Canonical;
}): Digest {
  const { salt, note, payload } = body;
  const head =
    note === null ? '{"note":null,"payload":' : `{"note":${JSON.stringify(note)},"payload":`;
  // UTF-8 never takes more than three bytes for a UTF-16 unit.
  const most = salt.length + (head.length + payload.length) * 3 + 1;
  const input = most <= contentInput.length ? contentInput : Buffer.allocUnsafe(most);
  input.set(salt);
  let length = salt.length;
  length += input.write(head, length);
  length += input.write(payload, length);
  input[length++] = closeBrace;
  return sha256(input.subarray(0, length));
}

/** Hashing is synchronous, so one input serves all bodies of usual size. */
const contentInput = Buffer.allocUnsafe(16 * 1024);
const closeBrace = 0x7d;

export interface Leaf extends StreamKey {
  readonly version: number;
  readonly event_id: string;
  readonly event_type: string;
  readonly created_at: string;
  readonly issued_by: Issuer | null;
  readonly content_digest: Digest;
  /** Root of the aggregate's tree before this event. */
  readonly previous_root: Digest;
}

/**
 * SHA-256(0x00 ‖ leaf_data). The nine members stand here in canonical order, and JSON.stringify
 * writes strings as RFC 8785 asks. This format can never change.
 */
export function eventHash(leaf: Leaf): Digest {
  const { issued_by } = leaf;
  const issuer =
    issued_by === null
      ? "null"
      : `{"group":${JSON.stringify(issued_by.group)},"user":${JSON.stringify(issued_by.user)}}`;
  return leafHash(
    `{"aggregate_id":${JSON.stringify(leaf.aggregate_id)}` +
      `,"aggregate_type":${JSON.stringify(leaf.aggregate_type)}` +
      `,"content_digest":"${leaf.content_digest.toHex()}"` +
      `,"created_at":"${leaf.created_at}","event_id":"${leaf.event_id}"` +
      `,"event_type":${JSON.stringify(leaf.event_type)},"issued_by":${issuer}` +
      `,"previous_root":"${leaf.previous_root.toHex()}","version":${leaf.version}}`,
  );
}
