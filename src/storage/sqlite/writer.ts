// Writes what a plan decided: one transaction, in the order of the log. It decides nothing; every
// value is final when it comes here.

import type { Database } from "bun:sqlite";
import type { StreamHead } from "../../model/aggregate.ts";
import { assert, type DbxError } from "../../model/error.ts";
import type { CommittedEvent } from "../../model/event.ts";
import type { Digest, Frontier } from "../../model/merkle.ts";
import type { TokenUse } from "../../model/plan.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { readOne } from "./connect.ts";
import { refusalOf } from "./failure.ts";
import type { Run } from "./positions.ts";
import { fromUuid } from "./rows.ts";
import {
  begin,
  commit,
  insertBody,
  insertEvent,
  insertRun,
  insertSnapshot,
  insertStream,
  readSynchronous,
  rollback,
  updateLog,
  updateStream,
  writeSynchronous,
  writeTokenUse,
} from "./sql.ts";
import { standsAlone, takeStep, type Step } from "./steps.ts";

export interface LogTail {
  readonly frontier: Frontier;
  readonly streams: number;
  readonly keys: Digest;
}

/** A head as its row has it; the root follows from the frontier. */
export interface HeadRow {
  readonly stream_id: number;
  readonly head: Omit<StreamHead, "root">;
  readonly positions: Uint8Array;
}

/** One commit, ready to be written. */
export interface Batch {
  readonly events: readonly { readonly stream_id: number; readonly event: CommittedEvent }[];
  readonly created: readonly HeadRow[];
  readonly changed: readonly HeadRow[];
  readonly runs: readonly Run[];
  readonly snapshots: readonly { readonly stream_id: number; readonly snapshot: Snapshot }[];
  readonly token_uses: readonly TokenUse[];
  readonly before: LogTail;
  readonly after: LogTail;
}

export interface Writer {
  /** Durable when it returns; when it throws, nothing of the batch is in the database. */
  write(batch: Batch): void;
  /** The same for steps. Out: why they were rolled back, if nothing else has to fail for it. */
  alter(steps: readonly Step[]): DbxError | null;
  close(): void;
}

export function createWriter(database: Database): Writer {
  const statements = {
    insertEvent: database.prepare(insertEvent),
    insertBody: database.prepare(insertBody),
    insertStream: database.prepare(insertStream),
    updateStream: database.prepare(updateStream),
    insertRun: database.prepare(insertRun),
    insertSnapshot: database.prepare(insertSnapshot),
    writeTokenUse: database.prepare(writeTokenUse),
    updateLog: database.prepare(updateLog),
    begin: database.prepare(begin),
    commit: database.prepare(commit),
  };

  // Arguments stand one by one: spreading arrays took 0.3 of the 2 us that a row takes.
  const insertRows = (batch: Batch): void => {
    for (const { stream_id, head, positions } of batch.created) {
      const { aggregate_type, aggregate_id, version, updated_at, frontier, state } = head;
      const archived = Number(head.archived);
      statements.insertStream.run(
        stream_id,
        aggregate_type,
        aggregate_id,
        version,
        archived,
        head.erased,
        updated_at,
        frontier.nodes,
        positions,
        state,
      );
    }
    for (const { stream_id, event } of batch.events) {
      const { position, issued_by } = event;
      statements.insertEvent.run(
        position,
        stream_id,
        event.version,
        fromUuid(event.event_id),
        event.event_type,
        event.created_at,
        issued_by?.group ?? null,
        issued_by?.user ?? null,
        event.content_digest,
        event.hash,
        event.merkle_root,
      );
      statements.insertBody.run(position, event.salt, event.note, event.payload);
    }
    for (const { stream_id, head, positions } of batch.changed) {
      const { aggregate_type, aggregate_id, version, updated_at, frontier, state } = head;
      const archived = Number(head.archived);
      const { nodes } = frontier;
      const { changes } = statements.updateStream.run(
        version,
        archived,
        head.erased,
        updated_at,
        nodes,
        positions,
        state,
        stream_id,
      );
      assert(changes === 1, `the stream of ${aggregate_type}/${aggregate_id} is there`);
    }
    for (const { stream_id, run, positions } of batch.runs) {
      statements.insertRun.run(stream_id, run, positions);
    }
    for (const { stream_id, snapshot } of batch.snapshots) {
      const { version, state, merkle_root, created_at, comment } = snapshot;
      statements.insertSnapshot.run(stream_id, version, state, merkle_root, created_at, comment);
    }
    for (const { token_id, writes, expires_at, term } of batch.token_uses) {
      statements.writeTokenUse.run(token_id, writes, expires_at, term);
    }
  };

  const transact = (work: () => void): void => {
    statements.begin.run();
    try {
      work();
      statements.commit.run();
    } catch (error) {
      // Some errors have rolled back already.
      if (database.inTransaction) database.run(rollback);
      throw error;
    }
  };

  return {
    write: (batch) =>
      transact(() => {
        insertRows(batch);
        const { before, after } = batch;
        const { changes } = statements.updateLog.run(
          ...[after.frontier.size, after.frontier.nodes, after.streams, after.keys],
          ...[before.frontier.size, before.streams],
        );
        assert(changes === 1, "the log ends where this process left it");
      }),
    alter: (steps) => {
      // Whatever `durability` says: the other file is changed on the strength of this one.
      const usual = readOne<{ synchronous: number }>(database, readSynchronous)?.synchronous ?? 2;
      database.run(writeSynchronous(2));
      let refused: DbxError | null = null;
      try {
        transact(() => {
          for (const step of steps) takeStep(database, step);
        });
      } catch (error) {
        refused = steps.every(standsAlone) ? refusalOf(error) : null;
        if (refused === null) throw error;
      }
      database.run(writeSynchronous(usual));
      return refused;
    },
    close: () => {
      for (const statement of Object.values(statements)) statement.finalize();
    },
  };
}
