// Whether the archive has what the main file says, and nothing else. The two are read one after the
// other while streams move, so what looks wrong is looked at again.

import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { archiveMissing } from "./archive.ts";
import { connectReader } from "./connect.ts";
import { integrityCheck, readArchived, readArchivedStreams } from "./sql.ts";
import {
  archiveFormat,
  readArchivedSnapshotVersions,
  readBlocks,
  readStreamsKept,
} from "./sql-archive.ts";

/** How often a stream that seems wrong is looked at: it may be on its way. */
const attemptsMax = 5;

interface Archived {
  readonly versions: number;
  readonly pending: string | null;
}

/** What a damaged file says of itself. */
export function integrityFaults(database: Database, sql: string): string[] {
  using statement = database.prepare<{ integrity_check: string }, []>(sql);
  const told = statement.all().map(({ integrity_check }) => integrity_check);
  return told.filter((fault) => fault !== "ok");
}

/** The faults as sentences, at most `limit`. */
export function checkArchive(
  main: Database,
  { path, limit }: { path: string; limit: number },
): string[] {
  const connection = existsSync(path) ? connectReader(path, archiveFormat) : undefined;
  const archived = streamIds(main, readArchivedStreams);
  if (connection === undefined) return archived.length === 0 ? [] : [archiveMissing(path).message];
  const archive = connection.database;
  try {
    const faults = integrityFaults(archive, integrityCheck(limit)).map((fault) => {
      return `archive.db: ${fault}`;
    });
    // Damaged pages would be told again by whatever stream is on them.
    if (faults.length > 0) return faults.slice(0, limit);
    using versions = main.prepare<Archived, [number]>(readArchived);
    using blocks = archive.prepare<Range, [number]>(readBlocks);
    using snapshots = archive.prepare<Range, [number]>(readArchivedSnapshotVersions);
    for (const stream_id of new Set([...archived, ...streamIds(archive, readStreamsKept)])) {
      if (faults.length >= limit) break;
      const marker = () => versions.get(stream_id) ?? { versions: 0, pending: null };
      const fault = settledFault(marker, (row) =>
        faultOf(row, blocks.all(stream_id), snapshots.get(stream_id)),
      );
      if (fault !== null) faults.push(`stream ${stream_id} in archive.db: ${fault}`);
    }
    return faults;
  } finally {
    archive.close();
  }
}

function streamIds(database: Database, sql: string): number[] {
  using statement = database.prepare<{ stream_id: number }, []>(sql);
  return statement.all().map(({ stream_id }) => stream_id);
}

interface Range {
  readonly first: number | null;
  readonly last: number | null;
}

/** A fault that is there although the stream has not moved meanwhile. */
function settledFault(
  marker: () => Archived,
  faultOfNow: (row: Archived) => string | null,
): string | null {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const before = marker();
    const fault = faultOfNow(before);
    if (fault === null) return null;
    const after = marker();
    if (before.versions === after.versions && before.pending === after.pending) return fault;
  }
  // It moves faster than it can be looked at; the next check finds it at rest.
  return null;
}

function faultOf(
  { versions, pending }: Archived,
  blocks: readonly Range[],
  snapshots: Range | null,
): string | null {
  let last = 0;
  for (const block of blocks) {
    // What is on its way may be in both files.
    if (last === versions && pending !== null) break;
    if (block.first !== last + 1) return `version ${last + 1} is missing`;
    last = block.last ?? 0;
  }
  if (last !== versions) return `there are ${last} versions, but should be ${versions}`;
  if (snapshots === null || snapshots.first === null || snapshots.last === null) return null;
  const tooLate = snapshots.last > versions && pending === null;
  return tooLate || snapshots.first < 1 ? "there is a snapshot of another version" : null;
}
