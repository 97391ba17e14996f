// Reading archive.db: bodies and snapshots that are not in the main file. Opened when first needed,
// because most stores have no archive; the last blocks stay in memory.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { dataCorrupted } from "../../model/error.ts";
import { toBlock, toKept, type Block, type BlockRow, type KeptSnapshotRow } from "./blocks.ts";
import { connectReader } from "./connect.ts";
import type { Opener, StreamRef } from "./sealed.ts";
import {
  archiveFormat,
  readArchivedSnapshotBefore,
  readArchivedSnapshots,
  readBlock,
  readBlockRange,
  readDataVersion,
} from "./sql-archive.ts";

/** Where the archive of a main file is. */
export const archivePathOf = (path: string): string => join(dirname(path), "archive.db");

/** Characters of decompressed blocks in memory; the last one stays, whatever its size. */
const blockCharsMax = 16 * 1024 * 1024;

/** What a block takes beside its text. */
const blockCharsBase = 512;

type KeptSnapshot = ReturnType<typeof toKept>;

export interface VersionRange {
  readonly first: number;
  readonly last: number;
}

/** What the archive has of a stream; whether it counts, the main file says. */
export interface Archive {
  /** Throws `data_corrupted` where there is none. */
  open(): void;
  /** From where to where the block goes that has this version, or would have it; stays closed. */
  range(stream: StreamRef, version: number): VersionRange | undefined;
  /** The block that has this version, or would have it. */
  block(stream: StreamRef, version: number): Block | undefined;
  /** Versions above `after`, up to `last`, ascending. Read one by one as they are asked for. */
  snapshots(stream: StreamRef, after: number, last: number): Iterable<KeptSnapshot>;
  /** The latest snapshot with a version above `after`, up to `last`. */
  snapshotBefore(stream: StreamRef, after: number, last: number): KeptSnapshot | undefined;
  close(): void;
}

/** `opener` opens what is sealed. */
export function createArchive(path: string, opener: Opener): Archive {
  let opened: ReturnType<typeof openArchive> | undefined;
  const open = () => (opened ??= openArchive(path));
  const blocks = createBlocks();

  const block = (stream: StreamRef, version: number): Block | undefined => {
    const { stream_id } = stream;
    const { statements } = open();
    const now = statements.dataVersion.get()?.data_version;
    const known = blocks.find(stream_id, version, now);
    if (known !== undefined) return known;
    const row = statements.block.get(stream_id, version);
    if (row === null) return undefined;
    const read = toBlock(row, stream, opener);
    blocks.keep(stream_id, read);
    return read;
  };
  return {
    open: () => void open(),
    range: ({ stream_id }, version) => open().statements.range.get(stream_id, version) ?? undefined,
    block,
    *snapshots(stream, after, last) {
      for (const row of open().statements.snapshots.iterate(stream.stream_id, after, last)) {
        yield toKept(row, stream, opener);
      }
    },
    snapshotBefore: (stream, after, last) => {
      const row = open().statements.snapshotBefore.get(stream.stream_id, after, last);
      return row === null ? undefined : toKept(row, stream, opener);
    },
    close: () => opened?.close(),
  };
}

function openArchive(path: string) {
  const connection = existsSync(path) ? connectReader(path, archiveFormat) : undefined;
  if (connection === undefined) throw archiveMissing(path);
  const { database } = connection;
  const statements = {
    block: database.prepare<BlockRow, [number, number]>(readBlock),
    range: database.prepare<VersionRange, [number, number]>(readBlockRange),
    snapshots: database.prepare<KeptSnapshotRow, [number, number, number]>(readArchivedSnapshots),
    snapshotBefore: database.prepare<KeptSnapshotRow, [number, number, number]>(
      readArchivedSnapshotBefore,
    ),
    dataVersion: database.prepare<{ data_version: number }, []>(readDataVersion),
  };
  const close = (): void => {
    for (const statement of Object.values(statements)) statement.finalize();
    database.close();
  };
  return { statements, close };
}

export const archiveMissing = (path: string) =>
  dataCorrupted(
    `${path} is missing or empty, but bodies of archived aggregates are in it; ` +
      "restore it from a backup",
    { path },
  );

/** The block of each stream that was used last, because streams are read in order. */
function createBlocks() {
  const blocks = new Map<number, Block>();
  let chars = 0;
  let file: number | undefined;
  return {
    /** `now` is the state of the file: what was read in another is not what is there. */
    find: (stream_id: number, version: number, now: number | undefined): Block | undefined => {
      if (now !== file) {
        blocks.clear();
        chars = 0;
        file = now;
      }
      const block = blocks.get(stream_id);
      const holds = block !== undefined && block.first <= version && version <= block.last;
      return holds ? block : undefined;
    },
    keep: (stream_id: number, block: Block): void => {
      chars += sizeOf(block) - sizeOf(blocks.get(stream_id));
      // Behind the others, so that it is the last to go.
      blocks.delete(stream_id);
      blocks.set(stream_id, block);
      for (const [oldest, { chars: freed }] of blocks) {
        if (chars <= blockCharsMax || blocks.size === 1) break;
        chars -= freed + blockCharsBase;
        blocks.delete(oldest);
      }
    },
  };
}

const sizeOf = (block: Block | undefined): number =>
  block === undefined ? 0 : block.chars + blockCharsBase;
