// Every read, on a read-only connection. Statements are prepared once; none stays open after its
// call, so that no reader ever keeps the write-ahead log from being reused.

import type { Database } from "bun:sqlite";
import type { StreamHead } from "../../model/aggregate.ts";
import type { AuditEntry } from "../../model/audit.ts";
import { dataCorrupted } from "../../model/error.ts";
import type { CommittedEvent } from "../../model/event.ts";
import { limits } from "../../model/limits.ts";
import type { TokenUse } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { compareKeys, type StreamKey } from "../../model/stream.ts";
import type { Trail } from "./audit.ts";
import type { StoredHead } from "./heads.ts";
import { positionBytes, readPositions, runVersions } from "./positions.ts";
import {
  toAuditEntry,
  toEvent,
  toHead,
  toLogTail,
  toSnapshot,
  toStoredHead,
  toTrail,
  type AuditRow,
  type EventRow,
  type LogRow,
  type SnapshotRow,
  type StreamRow,
  type TrailRow,
} from "./rows.ts";
import * as sql from "./sql.ts";
import type { LogTail } from "./writer.ts";

export type Reader = ReturnType<typeof createReader>;

export function createReader(database: Database) {
  const statements = {
    logPage: database.prepare<EventRow, [number, number]>(sql.readLogPage),
    eventsAt: database.prepare<EventRow, [string]>(sql.readEventsAt),
    run: database.prepare<{ positions: Uint8Array }, [number, number]>(sql.readRun),
    eventById: database.prepare<EventRow, [Uint8Array]>(sql.readEventById),
    head: database.prepare<StreamRow, [string, string]>(sql.readHead),
    headsPage: database.prepare<StreamRow, [string, string, number, number]>(sql.readHeadsPage),
    headsPageOf: database.prepare<StreamRow, [string, string, number, number]>(sql.readHeadsPageOf),
    snapshotPage: database.prepare<SnapshotRow, [string, string, number, number]>(
      sql.readSnapshotPage,
    ),
    snapshotBefore: database.prepare<SnapshotRow, [string, string, number]>(sql.readSnapshotBefore),
    auditPage: database.prepare<AuditRow, [number, number]>(sql.readAuditPage),
    trailRow: database.prepare<TrailRow, []>(sql.readTrailRow),
    tokenUse: database.prepare<TokenUse, [string]>(sql.readTokenUse),
    logRow: database.prepare<LogRow, []>(sql.readLogRow),
    lastStreamId: database.prepare<{ stream_id: number }, []>(sql.lastStreamId),
  };
  return {
    logPage: (after: number, limit: number): CommittedEvent[] =>
      page(statements.logPage.iterate(after, limit), eventSize).map(toEvent),

    streamPage: (key: StreamKey, after: number, limit: number): CommittedEvent[] => {
      const row = statements.head.get(key.aggregate_type, key.aggregate_id);
      if (row === null) return [];
      const { stream_id, head, positions } = toStoredHead(row);
      const runOf = (run: number): Uint8Array =>
        run === Math.floor(head.version / runVersions)
          ? positions
          : (statements.run.get(stream_id, run)?.positions ?? new Uint8Array(0));
      const wanted = positionsOf(runOf, after, Math.min(head.version, after + limit));
      const rows = page(statements.eventsAt.iterate(JSON.stringify(wanted)), eventSize);
      rows.forEach((event, index) => {
        const right = event.position === wanted[index] && event.version === after + index + 1;
        if (!right || event.stream_id !== stream_id) throw misplaced(key, after + index + 1);
      });
      // Fewer rows than wanted: the page grew too large, or an event is missing.
      const next = wanted[rows.length];
      if (next !== undefined && statements.eventsAt.get(JSON.stringify([next])) === null) {
        throw misplaced(key, after + rows.length + 1);
      }
      return rows.map(toEvent);
    },

    eventById: (event_id: Uint8Array): CommittedEvent | undefined => {
      const row = statements.eventById.get(event_id);
      return row === null ? undefined : toEvent(row);
    },

    head: (key: StreamKey): StoredHead | undefined => {
      const row = statements.head.get(key.aggregate_type, key.aggregate_id);
      return row === null ? undefined : toStoredHead(row);
    },

    headsPage: (options: {
      aggregate_type: string | null;
      after: StreamKey | null;
      skip: number;
      limit: number;
    }): StreamHead[] => {
      const { aggregate_type, after, skip, limit } = options;
      const [statement, from] = headsAfter(aggregate_type, after);
      if (from === null) return [];
      const { aggregate_type: type, aggregate_id: id } = from;
      return page(statements[statement].iterate(type, id, limit, skip), stateSize).map(toHead);
    },

    snapshotPage: (key: StreamKey, after: number, limit: number): Snapshot[] => {
      const { aggregate_type, aggregate_id } = key;
      const rows = statements.snapshotPage.iterate(aggregate_type, aggregate_id, after, limit);
      return page(rows, stateSize).map(toSnapshot);
    },

    snapshotBefore: (key: StreamKey, version_max: number): Snapshot | undefined => {
      const { aggregate_type, aggregate_id } = key;
      const row = statements.snapshotBefore.get(aggregate_type, aggregate_id, version_max);
      return row === null ? undefined : toSnapshot(row);
    },

    auditPage: (after: number, limit: number): AuditEntry[] =>
      statements.auditPage.all(after, limit).map(toAuditEntry),

    trail: (): Trail => {
      const row = statements.trailRow.get();
      if (row === null) throw dataCorrupted("the row of the audit trail is missing");
      return toTrail(row);
    },

    tokenUse: (token_id: string): TokenUse | undefined =>
      statements.tokenUse.get(token_id) ?? undefined,

    log: (): LogTail => {
      const row = statements.logRow.get();
      if (row === null) throw dataCorrupted("the row of the log is missing");
      return toLogTail(row);
    },

    lastStreamId: (): number => statements.lastStreamId.get()?.stream_id ?? 0,

    close: (): void => {
      for (const statement of Object.values(statements)) statement.finalize();
    },
  };
}

/** Where a page of heads begins; null: behind all that are wanted. */
function headsAfter(
  aggregate_type: string | null,
  after: StreamKey | null,
): readonly ["headsPage" | "headsPageOf", StreamKey | null] {
  // No name is empty, so the empty names come before all.
  if (aggregate_type === null)
    return ["headsPage", after ?? { aggregate_type: "", aggregate_id: "" }];
  const first = { aggregate_type, aggregate_id: "" };
  if (after === null || compareKeys(after, first) < 0) return ["headsPageOf", first];
  return ["headsPageOf", after.aggregate_type === aggregate_type ? after : null];
}

/** The positions of the versions after `after`, up to `last`. */
function positionsOf(runOf: (run: number) => Uint8Array, after: number, last: number): number[] {
  const positions: number[] = [];
  for (let version = after; version < last;) {
    const run = Math.floor(version / runVersions);
    const start = run * runVersions;
    const end = Math.min(last, start + runVersions);
    const blob = runOf(run);
    if (blob.length < (end - start) * positionBytes) {
      throw dataCorrupted(`run ${run} of a stream is missing or cut`, { run });
    }
    positions.push(...readPositions(blob, version - start, end - start));
    version = end;
  }
  return positions;
}

const misplaced = (key: StreamKey, version: number) =>
  dataCorrupted(
    `event ${version} of ${key.aggregate_type}/${key.aggregate_id} is not where its stream says`,
    { aggregate_type: key.aggregate_type, aggregate_id: key.aggregate_id, version },
  );

const eventSize = (row: EventRow): number => row.payload?.length ?? 0;
const stateSize = (row: { state: string }): number => row.state.length;

/** The rows, or fewer where they are large; never none if there is one (limits.page_bytes_max). */
function page<Row>(rows: Iterable<Row>, sizeOf: (row: Row) => number): Row[] {
  const taken: Row[] = [];
  let size = 0;
  for (const row of rows) {
    size += sizeOf(row);
    if (taken.length > 0 && size > limits.page_bytes_max) break;
    taken.push(row);
  }
  return taken;
}
