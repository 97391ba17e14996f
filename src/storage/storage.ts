// The port: how streams and the log are remembered, in domain words. Every implementation MUST pass
// test/conformance/storage.ts. No SQL, handles, iterators or open transactions cross it; every read
// is bounded.

import type { TokenId } from "../model/actor.ts";
import type { StreamHead } from "../model/aggregate.ts";
import type { AuditEntry, Change, OtherChange } from "../model/audit.ts";
import type { CommittedEvent, EventId } from "../model/event.ts";
import type { Digest, Frontier } from "../model/merkle.ts";
import type { Known, Outcome, Plan, TokenUse } from "../model/plan.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { Position, StreamKey, Version } from "../model/stream.ts";

/** What a commit wants to know before it decides. No key, id or token twice. */
export interface Ask {
  readonly keys: readonly StreamKey[];
  readonly event_ids: readonly EventId[];
  readonly token_ids: readonly TokenId[];
}

/** An outcome once it is durable: appended events have their positions. */
export type CommittedOutcome =
  | { readonly kind: "appended" | "repeated"; readonly events: readonly CommittedEvent[] }
  | Extract<Outcome, { kind: "refused" }>;

export interface Committed {
  /** In the order of the plan's outcomes. */
  readonly outcomes: readonly CommittedOutcome[];
  /** The last position of the log after this commit. */
  readonly position: Position;
}

/** Both ends are part of it. */
export interface PositionRange {
  readonly first: Position;
  readonly last: Position;
}

/** An event as the tree over the whole log sees it. */
export type Leaf = Pick<CommittedEvent, "position" | "hash">;

/** Where the log ends: size and root by way of the frontier; how many streams there are, which. */
export interface LogHead {
  readonly frontier: Frontier;
  readonly streams: number;
  /** Over the keys of all streams, those without events included; see `keysWith`. */
  readonly keys: Digest;
}

/** Text under a key of the store's own. `purpose` is bound in: `tokens.json`, say. */
export interface Vault {
  /** Out: one line of text that shows nothing of what went in but its length. */
  seal(purpose: string, text: string): string;
  /** Text that was not sealed comes back as it is. Throws `data_corrupted` for a changed one. */
  unseal(purpose: string, text: string): string;
}

/**
 * At most one process commits to a database at a time; opening for writing MUST take and hold a
 * lock that the operating system releases when the process dies. A page may end before `limit`
 * where its rows are large (limits.page_bytes_max); only an empty page is the end.
 */
export interface Storage {
  /**
   * Reads what is asked for, calls `plan` exactly once with it, and writes the result in one
   * transaction. MUST NOT resolve before the result is durable. MUST assign gapless positions in
   * outcome order, and see commits in the order of the calls. A plan that changes nothing writes
   * nothing. If `plan` throws, nothing is written. `plan` is synchronous and pure: it may not call
   * back into the storage. Rejects with `unavailable` on an I/O error, with `data_corrupted` on a
   * damaged page; if writing had begun, every later commit is refused.
   */
  commit(ask: Ask, plan: (known: Known) => Plan): Promise<Committed>;

  /**
   * Makes the stream with version 0. False if it exists already, and nothing happens. Like the next
   * four: written to the audit trail in the same transaction, and durable when resolved.
   */
  createStream(key: StreamKey, change: Change): Promise<boolean>;

  /** Removes a stream that has no events; with events, or unknown, nothing happens. */
  removeStream(key: StreamKey, change: Change): Promise<"removed" | "not_found" | "has_events">;

  /**
   * Marks the stream as archived, so that it takes no more events, then moves its bodies and
   * snapshots to long-term storage; every read goes on giving them. Resolves when all is moved. A
   * move that was cut short is finished after the next opening. An archived stream stays as it is,
   * with an entry in the audit trail only if the change has a comment. Undefined for an unknown
   * stream.
   */
  archiveStream(key: StreamKey, change: Change): Promise<StreamHead | undefined>;

  /** The mirror: moves everything back, then takes events again. */
  restoreStream(key: StreamKey, change: Change): Promise<StreamHead | undefined>;

  /**
   * Keeps the current state. Where that version has a snapshot already, only a comment of `change`
   * replaces its own. Undefined for an unknown stream; the stream MUST have events and MUST NOT be
   * archived, or nothing is kept and it resolves with the reason.
   */
  keepSnapshot(
    key: StreamKey,
    change: Change,
  ): Promise<Snapshot | "no_events" | "archived" | undefined>;

  /** Adds an entry to the audit trail: before the change itself is made, so that none is missing. */
  record(change: OtherChange): Promise<void>;

  /**
   * Called when a plan has erased a stream (a head whose `erased` has grown: its data key went in
   * that transaction): deletes the bodies and snapshots that nobody can read any more, and empties
   * the write-ahead log, so that no copy of the key is left in a file. Rejects with `unavailable`
   * where another process keeps the log from being emptied.
   */
  forgetErased(key: StreamKey): Promise<void>;

  /** Events with a version above `after`, ascending, at most `limit`. Unknown stream: none. */
  readStream(key: StreamKey, options: { after: Version; limit: number }): Promise<CommittedEvent[]>;

  /** Of the positions from `first` to `last`, those that came from another node, ascending. */
  readImports(range: PositionRange): Promise<PositionRange[]>;

  /** Events with a position above `after`, ascending, at most `limit`. */
  readLog(options: { after: Position; limit: number }): Promise<CommittedEvent[]>;

  /**
   * What the tree over the log is made of: the hashes alone, in the same order and within the same
   * bounds, wherever the bodies are.
   */
  readLeaves(options: { after: Position; limit: number }): Promise<Leaf[]>;

  /** The head, or undefined for a stream that was never written nor created. */
  readHead(key: StreamKey): Promise<StreamHead | undefined>;

  /**
   * Heads in key order (type, then id, UTF-8 bytes): those above `after`, of one type or of all,
   * `skip` passed over, at most `limit`.
   */
  readHeads(options: {
    aggregate_type: string | null;
    after: StreamKey | null;
    skip: number;
    limit: number;
  }): Promise<StreamHead[]>;

  readLogHead(): Promise<LogHead>;

  /** Snapshots of a stream with a version above `after`, ascending, at most `limit`. */
  readSnapshots(key: StreamKey, options: { after: Version; limit: number }): Promise<Snapshot[]>;

  /** The latest snapshot with a version up to `version_max`. */
  readSnapshot(key: StreamKey, options: { version_max: Version }): Promise<Snapshot | undefined>;

  /** The events that have these ids, in any order; unknown ids give nothing. */
  readEvents(event_ids: readonly EventId[]): Promise<CommittedEvent[]>;

  /** Entries of the audit trail after an ordinal, ascending, at most `limit`. */
  readAudit(options: { after: number; limit: number }): Promise<AuditEntry[]>;

  /** The same backwards: entries before an ordinal, descending, at most `limit`. */
  readAuditBack(options: { before: number; limit: number }): Promise<AuditEntry[]>;

  /**
   * Whether bodies, states and snapshots are sealed: none, all, or none of those written before a
   * key was given (`partly`); erasing needs `all`.
   */
  readonly sealing: () => "none" | "partly" | "all";

  /**
   * Seals what was written before there was a key, block by block while others commit. Resolves
   * when all is sealed, at once where nothing is left; cut short, it goes on when called again.
   * `progress` is told up to which position it came, and where the log ends.
   */
  sealOlder(progress: (position: Position, of: Position) => void): Promise<void>;

  /** Seals small documents beside the database; null where nothing is sealed. */
  readonly vault: Vault | null;

  /**
   * Wraps every data key with another data encryption key (32 bytes). From when it resolves
   * `begun`, the store opens with either key, and once it has resolved with the new one alone. One
   * to another key that was cut short is ended first, because that key may be lost: `begun` is then
   * told that one before. `failed_precondition` without encryption.
   */
  rotateKey(dek: Uint8Array, begun: (dek: Uint8Array) => Promise<void>): Promise<{ keys: number }>;

  readTokenUses(token_ids: readonly TokenId[]): Promise<TokenUse[]>;

  /**
   * Faults of the database itself, which no event can show: damaged pages, rows that belong to
   * nothing, events without body, bodies without event. Empty when sound; at most `limit`. May take
   * long; reads only.
   */
  check(options: { limit: number }): Promise<string[]>;

  /** Figures for `dbx status`, by name. */
  figures(): Promise<Record<string, number | string>>;

  /** Finishes what is running, leaves the files as small as they get, releases the lock. */
  close(): Promise<void>;
}
