// What the writer does to seal what was written before there was a key, to wrap keys anew, and to
// clear away what is erased. Each step is a transaction; every one may come twice.

import type { Database } from "bun:sqlite";
import type { State } from "../../model/aggregate.ts";
import type { Canonical } from "../../model/canonical.ts";
import { assert } from "../../model/error.ts";
import type { StreamKey } from "../../model/stream.ts";
import type { Keyring } from "./keyring.ts";
import { sealBody, sealState } from "./sealed.ts";
import { insertSealedBody } from "./sql-sealing.ts";
import * as sql from "./sql-sealing-job.ts";

export type SealingStep =
  /** Rows that were in clear when somebody looked; those that are gone are passed over. */
  | {
      readonly kind: "seal";
      readonly positions: readonly number[];
      readonly streams: readonly number[];
      readonly snapshots: readonly SnapshotId[];
    }
  /** Nothing is in clear any more. */
  | { readonly kind: "sealed" }
  /** Snapshots of a stream that are erased. */
  | { readonly kind: "clear"; readonly stream_id: number }
  /** Another data encryption key, 32 bytes. */
  | { readonly kind: "rotate"; readonly dek: Uint8Array }
  /** Data keys that are under the key before. */
  | { readonly kind: "rewrap"; readonly stream_ids: readonly number[] }
  | { readonly kind: "rotated" };

export interface SnapshotId {
  readonly stream_id: number;
  readonly version: number;
}

interface PlainRow extends StreamKey {
  readonly stream_id: number;
  readonly version: number;
}

export function takeSealingStep(database: Database, keyring: Keyring, step: SealingStep): void {
  switch (step.kind) {
    case "seal":
      for (const position of step.positions) sealPlainBody(database, keyring, position);
      for (const stream_id of step.streams) sealPlainState(database, keyring, stream_id);
      for (const snapshot of step.snapshots) sealPlainSnapshot(database, keyring, snapshot);
      return;
    case "sealed": {
      const { changes } = database.run(sql.endSealing);
      assert(changes === 1, "nothing is in clear when sealing ends");
      return;
    }
    case "clear":
      database.run(sql.deleteErasedSnapshots, [step.stream_id]);
      return;
    case "rotate":
      keyring.beginRotation(step.dek);
      return;
    case "rewrap":
      for (const stream_id of step.stream_ids) keyring.rewrap(stream_id);
      return;
    case "rotated":
      keyring.endRotation();
  }
}

function sealPlainBody(database: Database, keyring: Keyring, position: number): void {
  interface BodyRow extends PlainRow {
    readonly salt: Uint8Array;
    readonly note: string | null;
    readonly payload: string;
  }
  using statement = database.prepare<BodyRow, [number]>(sql.readPlainBody);
  const row = statement.get(position);
  if (row === null) return;
  const body = { ...row, payload: row.payload as Canonical };
  database.run(insertSealedBody, [position, sealBody(keyring.keyFor(row.stream_id), body)]);
  database.run(sql.deletePlainBody, [position]);
}

function sealPlainState(database: Database, keyring: Keyring, stream_id: number): void {
  using statement = database.prepare<PlainRow & { readonly state: State }, [number]>(
    sql.readPlainState,
  );
  const row = statement.get(stream_id);
  if (row === null) return;
  const sealed = sealState(keyring.keyFor(stream_id), "state", row);
  database.run(sql.sealState, [sealed, stream_id]);
}

function sealPlainSnapshot(database: Database, keyring: Keyring, of: SnapshotId): void {
  const { stream_id, version } = of;
  using statement = database.prepare<PlainRow & { readonly state: State }, [number, number]>(
    sql.readPlainSnapshot,
  );
  const row = statement.get(stream_id, version);
  if (row === null) return;
  const sealed = sealState(keyring.keyFor(stream_id), "snapshot", row);
  database.run(sql.sealSnapshot, [sealed, stream_id, version]);
}
