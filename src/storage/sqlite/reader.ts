// Every read, on a read-only connection. Statements are prepared once; none stays open after its
// call, so that no reader ever keeps the write-ahead log from being reused.

import type { Database } from "bun:sqlite";
import type { StreamHead } from "../../model/aggregate.ts";
import type { AuditEntry } from "../../model/audit.ts";
import { dataCorrupted } from "../../model/error.ts";
import type { CommittedEvent } from "../../model/event.ts";
import type { TokenUse } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { compareKeys, showKey, type StreamKey } from "../../model/stream.ts";
import type { Leaf, PositionRange } from "../storage.ts";
import type { Archive } from "./archive.ts";
import type { Trail } from "./audit.ts";
import { notOpened } from "./failure.ts";
import type { StoredHead } from "./heads.ts";
import { positionBytes, readPositions, runVersions } from "./positions.ts";
import {
  toAuditEntry,
  toEvent,
  toHead,
  toLeaf,
  toLogTail,
  toSnapshot,
  toStoredHead,
  toTrail,
  type AuditRow,
  type EventRow,
  type LeafRow,
  type LogRow,
  type MoveRow,
  type SnapshotRow,
  type StreamRow,
  type TrailRow,
} from "./rows.ts";
import type { Opener } from "./sealed.ts";
import * as sql from "./sql.ts";
import { page, settledRead, wholeEvents, type StreamPlace } from "./whole.ts";
import type { LogTail } from "./writer.ts";

export type Reader = ReturnType<typeof createReader>;

/**
 * `archive` gives the bodies and snapshots that the main file says are there, `opener` opens what
 * is sealed.
 */
export function createReader(database: Database, archive: Archive, opener: Opener) {
  const statements = prepare(database);
  const opened = createHeadOpener(statements, opener);
  return {
    ...createEventReader({ statements, archive, opener }),
    ...createSnapshotReader({ statements, archive, opener }),
    head: (key: StreamKey): StoredHead | undefined => {
      const row = statements.head.get(key.aggregate_type, key.aggregate_id);
      return row === null ? undefined : toStoredHead(opened(row));
    },

    leaves: (after: number, limit: number): Leaf[] =>
      statements.leaves.all(after, limit).map(toLeaf),

    imports: ({ first, last }: PositionRange): PositionRange[] =>
      statements.imports.all(first, last).map((range) => ({
        first: Math.max(first, range.first),
        last: Math.min(last, range.last),
      })),

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
      const rows = statements[statement].iterate(type, id, limit, skip);
      return page(rows, { sizeOf: stateSize }).map((row) => toHead(opened(row)));
    },

    /** How far the stream is on its way to or from the archive; undefined: all of it is here. */
    move: (stream_id: number): MoveRow | undefined => statements.move.get(stream_id) ?? undefined,

    pendingMoves: (): number[] => statements.pendingMoves.all().map(({ stream_id }) => stream_id),

    auditPage: (after: number, limit: number): AuditEntry[] =>
      statements.auditPage.all(after, limit).map(toAuditEntry),

    auditPageBack: (before: number, limit: number): AuditEntry[] =>
      statements.auditPageBack.all(before, limit).map(toAuditEntry),

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

function prepare(database: Database) {
  return {
    leaves: database.prepare<LeafRow, [number, number]>(sql.readLeaves),
    imports: database.prepare<PositionRange, [number, number]>(sql.readImports),
    logPage: database.prepare<EventRow, [number, number]>(sql.readLogPage),
    eventsAt: database.prepare<EventRow, [string]>(sql.readEventsAt),
    run: database.prepare<{ positions: Uint8Array }, [number, number]>(sql.readRun),
    eventById: database.prepare<EventRow, [Uint8Array]>(sql.readEventById),
    findEvent: database.prepare<{ position: number }, [Uint8Array]>(sql.findEventById),
    head: database.prepare<StreamRow, [string, string]>(sql.readHead),
    headsPage: database.prepare<StreamRow, [string, string, number, number]>(sql.readHeadsPage),
    headsPageOf: database.prepare<StreamRow, [string, string, number, number]>(sql.readHeadsPageOf),
    snapshotPage: database.prepare<SnapshotRow, [string, string, number, number]>(
      sql.readSnapshotPage,
    ),
    snapshotBefore: database.prepare<SnapshotRow, [string, string, number]>(sql.readSnapshotBefore),
    auditPage: database.prepare<AuditRow, [number, number]>(sql.readAuditPage),
    auditPageBack: database.prepare<AuditRow, [number, number]>(sql.readAuditPageBack),
    trailRow: database.prepare<TrailRow, []>(sql.readTrailRow),
    place: database.prepare<StreamPlace, [string, string]>(sql.readPlace),
    archived: database.prepare<{ versions: number }, [number]>(sql.readArchived),
    move: database.prepare<MoveRow, [number]>(sql.readMove),
    pendingMoves: database.prepare<{ stream_id: number }, []>(sql.readPendingMoves),
    tokenUse: database.prepare<TokenUse, [string]>(sql.readTokenUse),
    logRow: database.prepare<LogRow, []>(sql.readLogRow),
    lastStreamId: database.prepare<{ stream_id: number }, []>(sql.lastStreamId),
  };
}

type Statements = ReturnType<typeof prepare>;

interface Parts {
  readonly statements: Statements;
  readonly archive: Archive;
  readonly opener: Opener;
}

/** Gives the row with its state in clear. */
function createHeadOpener(statements: Statements, opener: Opener) {
  return (row: StreamRow): StreamRow => {
    const state = opener.state("state", row);
    if (state !== null) return { ...row, state };
    // The stream may have grown into another key between the looks at the row and at the key.
    const again = statements.head.get(row.aggregate_type, row.aggregate_id);
    const stateNow = again === null ? null : opener.state("state", again);
    if (again === null || stateNow === null) throw notOpened(`the state of ${showKey(row)}`, row);
    return { ...again, state: stateNow };
  };
}

function createEventReader({ statements, archive, opener }: Parts) {
  const open = (row: EventRow): CommittedEvent => toEvent(opener.event(row));
  const events = (rows: () => Iterable<EventRow>, chars_max?: number): EventRow[] =>
    wholeEvents({ rows, chars_max, archive, archivedOf: statements.archived });
  return {
    logPage: (after: number, limit: number): CommittedEvent[] =>
      events(() => statements.logPage.iterate(after, limit)).map(open),

    streamPage: (
      key: StreamKey,
      { after, limit, chars_max }: { after: number; limit: number; chars_max?: number },
    ): CommittedEvent[] => {
      const row = statements.head.get(key.aggregate_type, key.aggregate_id);
      if (row === null) return [];
      // Its state may stay sealed.
      const { stream_id, head, positions } = toStoredHead(row);
      const runOf = (run: number): Uint8Array =>
        run === Math.floor(head.version / runVersions)
          ? positions
          : (statements.run.get(stream_id, run)?.positions ?? new Uint8Array(0));
      const wanted = positionsOf(runOf, after, Math.min(head.version, after + limit));
      const rows = events(() => statements.eventsAt.iterate(JSON.stringify(wanted)), chars_max);
      rows.forEach((event, index) => {
        const right = event.position === wanted[index] && event.version === after + index + 1;
        if (!right || event.stream_id !== stream_id) throw misplaced(key, after + index + 1);
      });
      // Fewer rows than wanted: the page grew too large, or an event is missing.
      const next = wanted[rows.length];
      if (next !== undefined && statements.eventsAt.get(JSON.stringify([next])) === null) {
        throw misplaced(key, after + rows.length + 1);
      }
      return rows.map(open);
    },

    eventById: (event_id: Uint8Array): CommittedEvent | undefined => {
      if (statements.findEvent.get(event_id) === null) return undefined;
      const [row] = events(() => statements.eventById.iterate(event_id));
      return row === undefined ? undefined : open(row);
    },
  };
}

function createSnapshotReader({ statements, archive, opener }: Parts) {
  const settled = <T>(key: StreamKey, read: (place: StreamPlace) => T): T => {
    const { aggregate_type, aggregate_id } = key;
    const placeOf = () =>
      statements.place.get(aggregate_type, aggregate_id) ?? {
        stream_id: 0,
        versions: 0,
        erased: 0,
      };
    return settledRead({ key, placeOf, read });
  };
  /** Undefined for one that was erased a moment ago. */
  const open = (row: SnapshotRow): Snapshot | undefined => {
    const state = opener.state("snapshot", row);
    if (state !== null) return toSnapshot({ ...row, state });
    if (row.version <= opener.erasedOf(row.stream_id)) return undefined;
    throw notOpened(`the snapshot of ${showKey(row)} at version ${row.version}`, row);
  };
  return {
    snapshotPage: (
      key: StreamKey,
      { after, limit, chars_max }: { after: number; limit: number; chars_max?: number },
    ): Snapshot[] =>
      settled(key, ({ stream_id, versions, erased }) => {
        const { aggregate_type, aggregate_id } = key;
        // What is in the archive lies before what is not.
        const all = function* (): Iterable<Snapshot> {
          const first = Math.max(after, erased);
          if (versions > first) {
            const stream = { stream_id, aggregate_type, aggregate_id };
            for (const kept of archive.snapshots(stream, first, versions)) {
              yield { aggregate_type, aggregate_id, ...kept };
            }
          }
          const from = Math.max(after, versions);
          const rows = statements.snapshotPage.iterate(aggregate_type, aggregate_id, from, limit);
          for (const row of rows) {
            const snapshot = open(row);
            if (snapshot !== undefined) yield snapshot;
          }
        };
        return page(all(), { limit, chars_max, sizeOf: snapshotSize });
      }),

    snapshotBefore: (key: StreamKey, version_max: number): Snapshot | undefined =>
      settled(key, ({ stream_id, versions, erased }) => {
        const { aggregate_type, aggregate_id } = key;
        const row = statements.snapshotBefore.get(aggregate_type, aggregate_id, version_max);
        if (row !== null) return open(row);
        if (versions <= erased) return undefined;
        const stream = { stream_id, aggregate_type, aggregate_id };
        const kept = archive.snapshotBefore(stream, erased, Math.min(version_max, versions));
        if (kept === undefined) return undefined;
        return { aggregate_type, aggregate_id, ...kept };
      }),
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

const stateSize = (row: StreamRow): number => row.sealed?.length ?? row.state.length;
const snapshotSize = ({ state }: Snapshot): number => state.length;
