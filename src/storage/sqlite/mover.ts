// Moves one block between the main file and archive.db, as far as archive.db is concerned: what
// changes in the main file is done by its one writer. Synchronous: in a server it runs on a thread.

import type { Database } from "bun:sqlite";
import { assert, dataCorrupted } from "../../model/error.ts";
import type { CommittedEvent } from "../../model/event.ts";
import { limits } from "../../model/limits.ts";
import { contentDigest } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import { archivePathOf, createArchive, type Archive } from "./archive.ts";
import {
  bodyOf,
  sealedBlockRow,
  sealedKeptRow,
  toBlockRow,
  toKeptRow,
  type BlockRow,
  type Body,
  type KeptSnapshotRow,
} from "./blocks.ts";
import { compactDatabase } from "./checkpoint.ts";
import { connectReader, connectWriter } from "./connect.ts";
import { createKeyring } from "./keyring.ts";
import { createReader, type Reader } from "./reader.ts";
import { mainFormat } from "./migrations.ts";
import { createOpener } from "./sealed.ts";
import { begin, commit, rollback } from "./sql.ts";
import {
  archiveFormat,
  deleteRelease,
  deleteReleasedBlocks,
  deleteReleasedSnapshots,
  insertArchivedSnapshot,
  insertBlock,
  insertRelease,
  readArchivedSnapshots,
  readBlockRows,
} from "./sql-archive.ts";

/** A stream of which versions 1 to `versions` are in the archive. */
export interface Place extends StreamKey {
  readonly stream_id: number;
  readonly versions: number;
}

/** The next block is in the archive, too, and durable. */
export interface Stowed {
  readonly versions: number;
  /** Of its events. */
  readonly positions: readonly number[];
  /** How many of them have a body: those that are not erased. */
  readonly bodies: number;
  /** How many it has. */
  readonly snapshots: number;
}

/** None for what is erased. */
export interface ReturnedBody extends Body {
  readonly position: number;
  readonly version: number;
}

/** The last block, as it will be in the main file again. */
export interface Fetched {
  readonly versions: number;
  readonly bodies: readonly ReturnedBody[];
  readonly snapshots: readonly Snapshot[];
}

export type Mover = ReturnType<typeof createMover>;

/** Of the main file; archive.db MUST be there beside it, if empty. */
export interface MoverOptions {
  readonly path: string;
  readonly dek: Uint8Array | null;
}

export function createMover({ path, dek }: MoverOptions) {
  const archive_path = archivePathOf(path);
  const archiving = connectWriter(archive_path, {
    ...{ format: archiveFormat, durability: "full", secure_delete: dek !== null },
    autocheckpoint: archivePagesPerCheckpoint,
  }).database;
  const main = connectReader(path, mainFormat)?.database;
  assert(main !== undefined, "a database that is written to has its tables");
  const keyring = createKeyring(main, dek);
  const opener = createOpener(keyring);
  // What was written is read back as everybody will read it.
  const archive = createArchive(archive_path, opener);
  const reader = createReader(main, archive, opener);
  return {
    stow: (place: Place): Stowed => {
      const { events, snapshots } = nextBlock(reader, place);
      for (const event of events) requireSame(event, event);
      // Anew each time: an erasure has another one. The writer has made it when the move began.
      const key = keyring.seals() ? keyring.keyAgain(place.stream_id) : undefined;
      assert(key !== undefined || !keyring.seals(), "a stream that moves has a key");
      transact(archiving, () => {
        const { stream_id, first, last, bodies, digest } = toBlockRow(place, key, events);
        archiving.run(insertBlock, [stream_id, first, last, bodies, digest]);
        for (const snapshot of snapshots) {
          const { version, state, ...rest } = toKeptRow(place, key, snapshot);
          const { merkle_root, created_at, comment, digest: own } = rest;
          const values = [version, state, merkle_root, created_at, comment, own];
          archiving.run(insertArchivedSnapshot, [stream_id, ...values]);
        }
      });
      const versions = events.at(-1)?.version ?? 0;
      requireStowed(archive, place, { events, snapshots });
      const positions = events.map(({ position }) => position);
      const bodies = withBody(events).length;
      return { versions, positions, bodies, snapshots: snapshots.length };
    },

    fetch: (place: Place): Fetched => {
      // Not opened: of what was erased nobody has the key.
      const block = archive.range(place, place.versions);
      if (block?.last !== place.versions) throw notArchived(place, place.versions);
      const after = block.first - 1;
      const limit = place.versions - after;
      const events = reader.streamPage(place, { after, limit, chars_max: Infinity });
      assert(events.length === limit, "a block has each of its versions");
      for (const event of events) requireSame(event, event);
      const first = Math.max(after, opener.erasedOf(place.stream_id));
      const snapshots = [...archive.snapshots(place, first, place.versions)];
      const { aggregate_type, aggregate_id } = place;
      return {
        versions: after,
        bodies: withBody(events).map(({ position, version, salt, note, payload }) => ({
          ...{ position, version, salt, note, payload },
        })),
        snapshots: snapshots.map((kept) => ({ aggregate_type, aggregate_id, ...kept })),
      };
    },

    /** Drops what the archive has beyond `versions`: it is in the main file, durably. */
    release: ({ stream_id, versions }: Place): void =>
      transact(archiving, () => {
        archiving.run(insertRelease, [stream_id, versions]);
        archiving.run(deleteReleasedBlocks, [stream_id, versions]);
        archiving.run(deleteReleasedSnapshots, [stream_id, versions]);
        archiving.run(deleteRelease);
      }),

    /** Seals what the archive has of a stream in clear, in one transaction. */
    seal: (place: Place): void => {
      const key = keyring.keyAgain(place.stream_id);
      assert(key !== undefined, "a stream whose state is sealed has a key");
      sealArchived(archiving, place, key);
    },

    /** Overwrites what was freed, and empties the log: nothing that was in clear is left. */
    compact: (): boolean => compactDatabase(archiving, true),

    close: (): void => {
      reader.close();
      archive.close();
      keyring.close();
      main.close();
      archiving.close();
    },
  };
}

function sealArchived(archiving: Database, place: Place, key: Uint8Array): void {
  const { stream_id } = place;
  using blockRows = archiving.prepare<BlockRow, [number]>(readBlockRows);
  using snapshotRows = archiving.prepare<KeptSnapshotRow, [number, number, number]>(
    readArchivedSnapshots,
  );
  const blocks = blockRows.all(stream_id).map((row) => sealedBlockRow(row, place, key));
  const snapshots = snapshotRows
    .all(stream_id, 0, Number.MAX_SAFE_INTEGER)
    .map((row) => sealedKeptRow(row, place, key));
  transact(archiving, () => {
    archiving.run(insertRelease, [stream_id, 0]);
    archiving.run(deleteReleasedBlocks, [stream_id, 0]);
    archiving.run(deleteReleasedSnapshots, [stream_id, 0]);
    archiving.run(deleteRelease);
    for (const { first, last, bodies, digest } of blocks) {
      archiving.run(insertBlock, [stream_id, first, last, bodies, digest]);
    }
    for (const { version, state, merkle_root, created_at, comment, digest } of snapshots) {
      const rest = [state, merkle_root, created_at, comment, digest];
      archiving.run(insertArchivedSnapshot, [stream_id, version, ...rest]);
    }
  });
}

/** The log of archive.db is copied at this size: whoever reads it is seldom, and no commit waits. */
const archivePagesPerCheckpoint = 1_000;

/** What follows the versions that are in the archive already: a bounded number, of bounded size. */
function nextBlock(
  reader: Reader,
  place: Place,
): { readonly events: readonly CommittedEvent[]; readonly snapshots: readonly Snapshot[] } {
  const after = place.versions;
  const range = { after, limit: limits.archive_block_events };
  const chars_max = limits.archive_block_chars_max;
  const candidates = reader.streamPage(place, { ...range, chars_max });
  assert(candidates.length > 0, "a stream that moves has versions left");
  // One at a time: a page of them would have an end of its own, before that of the events.
  const snapshotAfter = (version: number): Snapshot | undefined =>
    reader.snapshotPage(place, { after: version, limit: 1 })[0];
  let next = snapshotAfter(after);
  const events: CommittedEvent[] = [];
  const snapshots: Snapshot[] = [];
  let chars = 0;
  for (const event of candidates) {
    const snapshot = next?.version === event.version ? next : undefined;
    chars += event.payload.length + (snapshot?.state.length ?? 0);
    if (events.length > 0 && chars > limits.archive_block_chars_max) break;
    events.push(event);
    if (snapshot === undefined) continue;
    snapshots.push(snapshot);
    next = snapshotAfter(snapshot.version);
  }
  return { events, snapshots };
}

function requireStowed(
  archive: Archive,
  place: Place,
  { events, snapshots }: ReturnType<typeof nextBlock>,
): void {
  for (const event of events) {
    const block = archive.block(place, event.version);
    const body = block === undefined ? undefined : bodyOf(block, event.version);
    if (body === undefined) throw notArchived(place, event.version);
    requireSame(event, body);
  }
  const last = events.at(-1)?.version ?? 0;
  const kept = [...archive.snapshots(place, place.versions, last)];
  const same = kept.every((each, index) => each.state === snapshots[index]?.state);
  if (kept.length !== snapshots.length || !same) throw notArchived(place, last);
}

const withBody = (events: readonly CommittedEvent[]): CommittedEvent[] =>
  events.filter(({ erased }) => erased !== true);

/** What does not match its digest is not moved: verify tells it, and a person decides. */
function requireSame(event: CommittedEvent, body: Body): void {
  if (event.erased === true) return;
  if (Buffer.compare(contentDigest(body), event.content_digest) === 0) return;
  const { version, position } = event;
  const what = `the body of ${showKey(event)} version ${version}`;
  throw dataCorrupted(`${what} does not match its content digest`, { version, position });
}

const notArchived = (key: StreamKey, version: number) =>
  dataCorrupted(`archive.db does not hold version ${version} of ${showKey(key)} as it should`, {
    ...{ aggregate_type: key.aggregate_type, aggregate_id: key.aggregate_id, version },
  });

function transact(database: Database, work: () => void): void {
  database.run(begin);
  try {
    work();
    database.run(commit);
  } catch (error) {
    if (database.inTransaction) database.run(rollback);
    throw error;
  }
}
