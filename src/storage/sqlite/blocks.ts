// What a row of archive.db holds: the bodies of some successive versions as canonical JSON text,
// compressed, and snapshots, their states compressed. Every row has a digest over all of it, so
// that a changed byte is told before anything is decompressed. In an encrypted store the compressed
// bytes are sealed, behind a byte that no compressed ones begin with.

import type { State } from "../../model/aggregate.ts";
import { splitElements, splitMembers, type Canonical } from "../../model/canonical.ts";
import { dataCorrupted } from "../../model/error.ts";
import { sha256, type Digest } from "../../model/merkle.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { showKey } from "../../model/stream.ts";
import { seal, type Identity } from "../seal.ts";
import { notOpened } from "./failure.ts";
import type { Opener, StreamRef } from "./sealed.ts";

/** What moves of an event. */
export interface Body {
  readonly salt: Uint8Array;
  readonly note: string | null;
  readonly payload: Canonical;
}

export interface BlockRow {
  readonly stream_id: number;
  readonly first: number;
  readonly last: number;
  readonly bodies: Uint8Array;
  readonly digest: Digest;
}

export interface KeptSnapshotRow {
  readonly stream_id: number;
  readonly version: number;
  readonly state: Uint8Array;
  readonly merkle_root: Digest;
  readonly created_at: string;
  readonly comment: string | null;
  readonly digest: Digest;
}

/** The bodies of one block as they stand in its text, one element each. */
export interface Block {
  readonly first: number;
  readonly last: number;
  readonly elements: readonly Canonical[];
  /** Characters of all of them. */
  readonly chars: number;
}

/** `key` of the stream; undefined where it has none. */
export function toBlockRow(
  stream: StreamRef,
  key: Uint8Array | undefined,
  events: readonly (Body & { readonly version: number })[],
): BlockRow {
  const text = events.map(({ salt, note, payload, version }) => {
    const numbers = `"salt":"${salt.toHex()}","version":${version}`;
    return `{"note":${JSON.stringify(note)},"payload":${payload},${numbers}}`;
  });
  const { stream_id } = stream;
  const range = { stream_id, first: events[0]?.version ?? 0, last: events.at(-1)?.version ?? 0 };
  const compressed = Bun.zstdCompressSync(`[${text.join()}]`);
  const bodies = sealedBytes(key, blockIdentity(stream, range), compressed);
  return { ...range, bodies, digest: blockDigest({ ...range, bodies }) };
}

/** Throws `data_corrupted` where the row is not as it was written. */
export function toBlock(row: BlockRow, stream: StreamRef, opener: Opener): Block {
  const { first, last } = row;
  requireWhole(row);
  const bytes = openedBytes(row.bodies, stream, blockIdentity(stream, row), opener);
  if (bytes === null) {
    const what = `versions ${first} to ${last} of ${showKey(stream)} in archive.db`;
    throw notOpened(`the block of ${what}`, { ...stream, version: first });
  }
  const text = decompressed(bytes);
  return { first, last, elements: splitElements(text), chars: text.length };
}

/**
 * One body of a block; undefined where the block does not have the version. Its texts are copies: a
 * slice would keep the text of the whole block in memory.
 */
export function bodyOf(block: Block, version: number): Body | undefined {
  const element = block.elements[version - block.first];
  if (element === undefined) return undefined;
  const members = new Map(splitMembers(element));
  const [note, payload, salt] = [members.get("note"), members.get("payload"), members.get("salt")];
  if (note === undefined || payload === undefined || salt === undefined) return undefined;
  const copy = Buffer.from(payload).toString() as Canonical;
  return { salt: Uint8Array.fromHex(salt.slice(1, -1)), note: noteOf(note), payload: copy };
}

/** Of an archived or sealed body. */
export const noteOf = (json: string): string | null => JSON.parse(json);

/** `key` of the stream; undefined where it has none. */
export function toKeptRow(
  stream: StreamRef,
  key: Uint8Array | undefined,
  snapshot: Snapshot,
): KeptSnapshotRow {
  const { version, merkle_root, created_at, comment } = snapshot;
  const { stream_id } = stream;
  const compressed = Bun.zstdCompressSync(snapshot.state);
  const state = sealedBytes(key, snapshotIdentity(stream, version), compressed);
  const row = { stream_id, version, state, merkle_root, created_at, comment };
  return { ...row, digest: snapshotDigest(row) };
}

/** Throws `data_corrupted` where the row is not as it was written. */
export function toKept(
  row: KeptSnapshotRow,
  stream: StreamRef,
  opener: Opener,
): Omit<Snapshot, "aggregate_type" | "aggregate_id"> {
  const { version, merkle_root, created_at, comment } = row;
  requireWholeKept(row);
  const bytes = openedBytes(row.state, stream, snapshotIdentity(stream, version), opener);
  if (bytes === null) {
    const what = `${showKey(stream)} at version ${version} in archive.db`;
    throw notOpened(`the snapshot of ${what}`, { ...stream, version });
  }
  const state = decompressed(bytes) as State;
  return { version, state, merkle_root, created_at, comment };
}

function requireWhole(row: BlockRow): void {
  if (isWhole(row, [row.bodies], () => blockDigest(row))) return;
  const { first, last } = row;
  const what = `the block of versions ${first} to ${last} of stream ${row.stream_id} `;
  throw dataCorrupted(`${what}in archive.db is damaged`, { first, last });
}

function requireWholeKept(row: KeptSnapshotRow): void {
  const { version, merkle_root } = row;
  if (isWhole(row, [row.state, merkle_root], () => snapshotDigest(row))) return;
  const what = `the snapshot of stream ${row.stream_id} at version ${version} `;
  throw dataCorrupted(`${what}in archive.db is damaged`, { version });
}

/** A damaged record header can give a value of any type, whatever the table declares. */
const isWhole = (
  { digest }: { digest: unknown },
  blobs: readonly unknown[],
  digestOf: () => Digest,
): boolean =>
  [digest, ...blobs].every((blob) => blob instanceof Uint8Array) &&
  digest instanceof Uint8Array &&
  Buffer.compare(digest, digestOf()) === 0;

/**
 * The row as it would be, had there been a key from the beginning. Throws `data_corrupted` where it
 * is not as it was written.
 */
export function sealedBlockRow(row: BlockRow, stream: StreamRef, key: Uint8Array): BlockRow {
  requireWhole(row);
  if (row.bodies[0] === sealedMark) return row;
  const bodies = sealedBytes(key, blockIdentity(stream, row), row.bodies);
  return { ...row, bodies, digest: blockDigest({ ...row, bodies }) };
}

/** The same for a snapshot. */
export function sealedKeptRow(
  row: KeptSnapshotRow,
  stream: StreamRef,
  key: Uint8Array,
): KeptSnapshotRow {
  requireWholeKept(row);
  if (row.state[0] === sealedMark) return row;
  const state = sealedBytes(key, snapshotIdentity(stream, row.version), row.state);
  return { ...row, state, digest: snapshotDigest({ ...row, state }) };
}

/** No zstd frame begins with it: theirs is 0x28. Part of the format. */
const sealedMark = 1;

const blockIdentity = (
  { aggregate_type, aggregate_id }: StreamRef,
  { first, last }: { readonly first: number; readonly last: number },
): Identity => ["block", aggregate_type, aggregate_id, first, last];

/** Another purpose than in the main file: what is sealed there is not compressed. */
const snapshotIdentity = (
  { aggregate_type, aggregate_id }: StreamRef,
  version: number,
): Identity => ["archived_snapshot", aggregate_type, aggregate_id, version];

const sealedBytes = (key: Uint8Array | undefined, identity: Identity, bytes: Uint8Array) =>
  key === undefined
    ? bytes
    : Buffer.concat([Uint8Array.of(sealedMark), seal(key, identity, bytes)]);

const openedBytes = (
  bytes: Uint8Array,
  { stream_id }: StreamRef,
  identity: Identity,
  opener: Opener,
): Uint8Array | null =>
  bytes[0] === sealedMark ? opener.bytes(stream_id, identity, bytes.subarray(1)) : bytes;

const decompressed = (bytes: Uint8Array): Canonical =>
  new TextDecoder().decode(Bun.zstdDecompressSync(bytes)) as Canonical;

/** SHA-256 over the names of the row, as a JSON array, and its bytes. Part of the format. */
const blockDigest = ({ stream_id, first, last, bodies }: Omit<BlockRow, "digest">): Digest =>
  digestOver([stream_id, first, last], bodies);

const snapshotDigest = (row: Omit<KeptSnapshotRow, "digest">): Digest => {
  const { stream_id, version, merkle_root, created_at, comment, state } = row;
  return digestOver([stream_id, version, merkle_root.toHex(), created_at, comment], state);
};

const digestOver = (names: readonly unknown[], bytes: Uint8Array): Digest =>
  sha256(Buffer.concat([Buffer.from(JSON.stringify(names)), bytes]));
