// Rows to domain values. What SQLite gives back is checked here for shape (lengths, presence),
// because a damaged file can hold anything; whether the values are true is verify's business.

import type { State, StreamHead } from "../../model/aggregate.ts";
import type { Issuer } from "../../model/actor.ts";
import type { AuditEntry } from "../../model/audit.ts";
import { canonicalOf, type Canonical } from "../../model/canonical.ts";
import { dataCorrupted } from "../../model/error.ts";
import type { CommittedEvent } from "../../model/event.ts";
import { digestBytes, rootOf } from "../../model/merkle.ts";
import { keyText, type StreamKey } from "../../model/stream.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Leaf } from "../storage.ts";
import type { Trail } from "./audit.ts";
import type { Body } from "./blocks.ts";
import type { StoredHead } from "./heads.ts";
import { restBytes } from "./positions.ts";
import type { Direction } from "./steps.ts";
import type { LogTail } from "./writer.ts";

export interface EventRow {
  readonly position: number;
  readonly aggregate_type: string | null;
  readonly aggregate_id: string | null;
  readonly version: number;
  readonly event_id: Uint8Array;
  readonly event_type: string;
  readonly created_at: string;
  readonly issued_group: string | null;
  readonly issued_user: string | null;
  readonly payload: string | null;
  readonly note: string | null;
  readonly salt: Uint8Array | null;
  /** All three, where they are sealed. */
  readonly sealed: Uint8Array | null;
  /** Of the stream: what is not after it has no body. */
  readonly erased: number | null;
  readonly content_digest: Uint8Array;
  readonly hash: Uint8Array;
  readonly merkle_root: Uint8Array;
  readonly stream_id: number;
}

export type LeafRow = Pick<EventRow, "position" | "hash">;

export interface StreamRow {
  readonly stream_id: number;
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly version: number;
  readonly archived: number;
  readonly erased: number;
  readonly updated_at: string;
  readonly frontier: Uint8Array;
  readonly positions: Uint8Array;
  /** Empty where it is sealed. */
  readonly state: string;
  readonly sealed: Uint8Array | null;
}

export interface SnapshotRow {
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly stream_id: number;
  readonly version: number;
  /** Empty where it is sealed. */
  readonly state: string;
  readonly sealed: Uint8Array | null;
  readonly merkle_root: Uint8Array;
  readonly created_at: string;
  readonly comment: string | null;
}

export interface LogRow {
  readonly size: number;
  readonly frontier: Uint8Array;
  readonly streams: number;
  readonly keys: Uint8Array;
}

export interface AuditRow {
  readonly entry: number;
  readonly at: string;
  readonly issued_group: string | null;
  readonly issued_user: string | null;
  readonly action: AuditEntry["action"];
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly comment: string | null;
  readonly subject: string | null;
  readonly details: string | null;
  readonly hash: Uint8Array;
}

export interface TrailRow {
  readonly entries: number;
  readonly removed: number;
  readonly hash: Uint8Array;
}

/** What is archived of a stream, or on its way. */
export interface MoveRow extends StreamKey {
  readonly stream_id: number;
  /** Of the stream. */
  readonly version: number;
  /** Bodies and snapshots of the versions up to here are in the archive. */
  readonly versions: number;
  /** Null: nothing is on its way. */
  readonly pending: Direction | null;
}

export const saltBytes = 16;
const idBytes = 16;

// A flipped bit in a record's header changes a value's type or makes it NULL, whatever the table
// declares; so the types above are a hope until these have looked.
const areBytes = (values: readonly unknown[], length: number): boolean =>
  values.every((value) => value instanceof Uint8Array && value.length === length);
const areTexts = (values: readonly unknown[]): boolean =>
  values.every((value) => typeof value === "string");
const areTextsOrNull = (values: readonly unknown[]): boolean =>
  values.every((value) => value === null || typeof value === "string");
const areCounts = (values: readonly unknown[]): boolean =>
  values.every((value) => Number.isSafeInteger(value) && Number(value) >= 0);

/** Whether its body is gone for good, wherever it lay. */
export const isErased = ({ version, erased }: Pick<EventRow, "version" | "erased">): boolean =>
  version <= (erased ?? 0);

/** What was sealed MUST be open by now. */
export function toEvent(row: EventRow): CommittedEvent {
  const where = { position: row.position };
  const { aggregate_type, aggregate_id, issued_group, issued_user } = row;
  if (aggregate_type === null || aggregate_id === null) {
    throw dataCorrupted(`event ${row.position} belongs to no stream`, where);
  }
  const body = isErased(row) ? null : bodyOf(row, where);
  const shapely =
    areBytes([row.event_id], idBytes) &&
    areBytes([row.content_digest, row.hash, row.merkle_root], digestBytes) &&
    areTexts([aggregate_type, aggregate_id, row.event_type, row.created_at]) &&
    areTextsOrNull([issued_group, issued_user]) &&
    areCounts([row.position, row.version]);
  if (!shapely) throw malformed(row);
  return {
    aggregate_type,
    aggregate_id,
    version: row.version,
    event_id: toUuid(row.event_id),
    event_type: row.event_type,
    created_at: row.created_at,
    issued_by: issuerOf(row),
    ...(body ?? { payload: canonicalOf(null), note: null, salt: new Uint8Array(0) }),
    content_digest: row.content_digest,
    hash: row.hash,
    merkle_root: row.merkle_root,
    position: row.position,
    ...(body === null ? { erased: true } : {}),
  };
}

function bodyOf(row: EventRow, where: { position: number }): Body {
  const { payload, note, salt } = row;
  if (payload === null || salt === null) {
    throw dataCorrupted(`event ${row.position} has no body`, where);
  }
  if (!areBytes([salt], saltBytes) || !areTexts([payload]) || !areTextsOrNull([note])) {
    throw malformed(row);
  }
  // Stored text is canonical: it was decoded at the gate, and verify would notice a change.
  return { payload: payload as Canonical, note, salt };
}

const malformed = ({ position }: { position: number }) =>
  dataCorrupted(`event ${position} is malformed`, { position });

export function toLeaf({ position, hash }: LeafRow): Leaf {
  if (areBytes([hash], digestBytes) && areCounts([position])) return { position, hash };
  throw malformed({ position });
}

export function toHead(row: StreamRow): StreamHead {
  const { aggregate_type, aggregate_id, version, frontier, positions } = row;
  const shapely =
    areTexts([aggregate_type, aggregate_id, row.state, row.updated_at]) &&
    areCounts([row.stream_id, version, row.archived, row.erased]) &&
    areBytes([frontier], bitsOf(version) * digestBytes) &&
    areBytes([positions], restBytes(version));
  if (!shapely) {
    throw dataCorrupted(`the head of ${aggregate_type}/${aggregate_id} is malformed`, {
      aggregate_type,
      aggregate_id,
    });
  }
  const tree = { size: version, nodes: frontier };
  return {
    aggregate_type,
    aggregate_id,
    version,
    frontier: tree,
    root: rootOf(tree),
    state: row.state as State,
    archived: row.archived !== 0,
    erased: row.erased,
    updated_at: row.updated_at,
  };
}

export const toStoredHead = (row: StreamRow): StoredHead => ({
  key: keyText(row),
  stream_id: row.stream_id,
  head: toHead(row),
  positions: row.positions,
});

export function toSnapshot(row: SnapshotRow): Snapshot {
  const { aggregate_type, aggregate_id, version } = row;
  const shapely =
    areTexts([row.state, row.created_at]) &&
    areTextsOrNull([row.comment]) &&
    areCounts([version]) &&
    areBytes([row.merkle_root], digestBytes);
  if (!shapely) {
    const what = `the snapshot of ${aggregate_type}/${aggregate_id} at version ${version}`;
    throw dataCorrupted(`${what} is malformed`, { aggregate_type, aggregate_id, version });
  }
  const { state, created_at, comment, merkle_root } = row;
  const of = { aggregate_type, aggregate_id, version };
  return { ...of, state: state as State, merkle_root, created_at, comment };
}

export function toLogTail(row: LogRow): LogTail {
  const shapely =
    areCounts([row.size, row.streams]) && areBytes([row.frontier], bitsOf(row.size) * digestBytes);
  if (!shapely) {
    throw dataCorrupted("the tree of the log is malformed", { size: row.size });
  }
  if (!areBytes([row.keys], digestBytes)) {
    throw dataCorrupted("the log's digest over the keys of streams is malformed", {});
  }
  const { size, streams, keys } = row;
  return { frontier: { size, nodes: row.frontier }, streams, keys };
}

export function toAuditEntry(row: AuditRow): AuditEntry {
  const { entry, at, action, aggregate_type, aggregate_id, comment } = row;
  const shapely =
    areTexts([at, action, aggregate_type, aggregate_id]) &&
    areTextsOrNull([row.issued_group, row.issued_user, comment, row.subject, row.details]) &&
    areBytes([row.hash], digestBytes);
  if (!shapely) throw dataCorrupted(`entry ${entry} of the audit trail is malformed`, { entry });
  const issued_by = issuerOf(row);
  const { subject } = row;
  // No stream's name is empty.
  const key = aggregate_type === "" ? nameless : { aggregate_type, aggregate_id };
  const details = (row.details ?? "null") as Canonical;
  return { entry, at, issued_by, action, ...key, subject, details, comment };
}

const nameless = { aggregate_type: null, aggregate_id: null };

export function toTrail({ entries, removed, hash }: TrailRow): Trail {
  const shapely = areCounts([entries, removed]) && areBytes([hash], digestBytes);
  if (!shapely) throw dataCorrupted("the end of the audit trail is malformed", { entries });
  return { entries, removed, hash };
}

const issuerOf = (row: Pick<EventRow, "issued_group" | "issued_user">): Issuer | null =>
  row.issued_group === null || row.issued_user === null
    ? null
    : { group: row.issued_group, user: row.issued_user };

/** A frontier has one node for each set bit of its size; sizes exceed 32 bits, so no bit tricks. */
function bitsOf(size: number): number {
  let bits = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2;
  return bits;
}

export function fromUuid(id: string): Uint8Array {
  return Uint8Array.fromHex(id.replaceAll("-", ""));
}

function toUuid(bytes: Uint8Array): string {
  const hex = bytes.toHex();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
