// What is still to be done: rows in clear, keys under the data encryption key before. Looked up in
// pages, on the connection that reads.

import type { Database } from "bun:sqlite";
import { readOne } from "./connect.ts";
import type { SnapshotId } from "./sealing-steps.ts";
import * as sql from "./sql-sealing-job.ts";
import { readArchivedStreams } from "./sql.ts";

export type SealingReader = ReturnType<typeof createSealingReader>;

/** Statements are made anew each time: they are used seldom, and may find a closed job's file. */
export function createSealingReader(database: Database) {
  const column = <Row, Value>(
    statement: string,
    parameters: readonly number[],
    valueOf: (row: Row) => Value,
  ): Value[] => {
    using prepared = database.prepare<Row, number[]>(statement);
    return prepared.all(...parameters).map(valueOf);
  };
  return {
    /** Positions of bodies above one, ascending. */
    bodies: (after: number, limit: number): number[] =>
      column(sql.readPlainBodies, [after, limit], (row: { position: number }) => row.position),
    streams: (after: number, limit: number): number[] =>
      column(sql.readPlainStreams, [after, limit], (row: { stream_id: number }) => row.stream_id),
    snapshots: ({ stream_id, version }: SnapshotId, limit: number): SnapshotId[] =>
      column(sql.readPlainSnapshots, [stream_id, version, limit], (row: SnapshotId) => row),
    keysBefore: (limit: number): number[] =>
      column(sql.readKeysBefore, [limit], (row: { stream_id: number }) => row.stream_id),
    /** Streams that are in the archive, if in part. */
    archived: (): number[] =>
      column(readArchivedStreams, [], (row: { stream_id: number }) => row.stream_id),
    countKeys: (): number => readOne<{ count: number }>(database, sql.countDataKeys)?.count ?? 0,
  };
}
