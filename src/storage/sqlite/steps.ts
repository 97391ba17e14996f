// What is done to a stream as a whole, as steps of one transaction. Rare, so that steps are cloned
// as they are on their way to the writing thread, and their statements made anew each time.

import type { Database } from "bun:sqlite";
import type { AuditEntry } from "../../model/audit.ts";
import { assert } from "../../model/error.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Trail } from "./audit.ts";
import type { Fetched } from "./mover.ts";
import type { StoredHead } from "./heads.ts";
import type { Keyring } from "./keyring.ts";
import { sealBody, stateColumns, type StreamRef } from "./sealed.ts";
import { takeSealingStep, type SealingStep } from "./sealing-steps.ts";
import * as sql from "./sql.ts";
import { deleteSealedBodies, insertSealedBody } from "./sql-sealing.ts";
import { deleteErasedSnapshots } from "./sql-sealing-job.ts";
import type { LogTail } from "./writer.ts";

export type Direction = "archive" | "restore";

export type Step =
  | SealingStep
  | {
      readonly kind: "note";
      readonly entry: AuditEntry;
      readonly before: Trail;
      readonly after: Trail;
    }
  | {
      readonly kind: "create";
      readonly stored: StoredHead;
      readonly before: LogTail;
      readonly after: LogTail;
    }
  | { readonly kind: "keep"; readonly stream_id: number; readonly snapshot: Snapshot }
  | {
      readonly kind: "remove";
      readonly stream_id: number;
      readonly before: LogTail;
      readonly after: LogTail;
    }
  /** A move begins; from here until a restore has ended, the stream takes no events. */
  | { readonly kind: "begin"; readonly stream_id: number; readonly direction: Direction }
  | { readonly kind: "end"; readonly stream_id: number; readonly direction: Direction }
  /** A block is in the archive and leaves the main file. */
  | {
      readonly kind: "stow";
      readonly stream_id: number;
      readonly versions: { readonly before: number; readonly after: number };
      readonly positions: readonly number[];
      /** How many bodies and snapshots of them the archive has; what is erased it has not. */
      readonly bodies: number;
      readonly snapshots: number;
    }
  /** A block comes back. */
  | {
      readonly kind: "fetch";
      readonly stream: StreamRef;
      readonly versions: { readonly before: number; readonly after: number };
      readonly bodies: Fetched["bodies"];
      readonly snapshots: readonly Snapshot[];
    };

/** Nothing is planned on it before it is durable, so that others need not fail with it. */
export const standsAlone = ({ kind }: Step): boolean =>
  kind === "stow" || kind === "fetch" || kind === "end" || kind === "seal" || kind === "clear";

type Of<Kind> = Extract<Step, { kind: Kind }>;

/** Inside a transaction. Throws where a row is not as this process left it. */
export function takeStep(database: Database, step: Step, keyring: Keyring): void {
  switch (step.kind) {
    case "note":
      return note(database, step);
    case "create":
      return create(database, step, keyring);
    case "keep":
      database.run(sql.keepSnapshot, snapshotValues(keyring, step));
      return;
    case "remove":
      keyring.dropKey(step.stream_id);
      return remove(database, step);
    case "begin":
      // The mover only reads, and seals under this one. A stream may be older than the encryption.
      if (keyring.seals()) keyring.keyFor(step.stream_id);
      database.run(sql.beginMove, [step.stream_id, step.direction]);
      database.run(sql.flagStream, [1, step.stream_id]);
      return;
    case "end":
      return end(database, step);
    case "stow":
      return stow(database, step);
    case "fetch":
      return fetch(database, step, keyring);
    default:
      return takeSealingStep(database, keyring, step);
  }
}

function snapshotValues(
  keyring: Keyring,
  { stream_id, snapshot }: { readonly stream_id: number; readonly snapshot: Snapshot },
) {
  const { version, merkle_root, created_at, comment } = snapshot;
  const { state, sealed } = stateColumns(keyring, "snapshot", { ...snapshot, stream_id });
  return [stream_id, version, state, sealed, merkle_root, created_at, comment];
}

function create(database: Database, { stored, before, after }: Of<"create">, keyring: Keyring) {
  const { stream_id, head, positions } = stored;
  const { aggregate_type, aggregate_id, version, erased, updated_at, frontier } = head;
  const { state, sealed } = stateColumns(keyring, "state", { ...head, stream_id });
  const flags = [version, Number(head.archived), erased, updated_at];
  const key = [stream_id, aggregate_type, aggregate_id];
  database.run(sql.insertStream, [...key, ...flags, frontier.nodes, positions, state, sealed]);
  moveLog(database, before, after);
}

/** Inside a transaction. */
export function note(database: Database, { entry, before, after }: Of<"note">): void {
  const { at, issued_by, action, aggregate_type, aggregate_id, comment, subject } = entry;
  const issuer = [issued_by?.group ?? null, issued_by?.user ?? null];
  const details = entry.details === "null" ? null : entry.details;
  const key = [aggregate_type ?? "", aggregate_id ?? ""];
  const what = [action, ...key, comment, subject, details];
  database.run(sql.insertAudit, [entry.entry, at, ...issuer, ...what, after.hash]);
  const end = [after.entries, after.removed, after.hash, before.entries];
  const { changes } = database.run(sql.updateTrail, end);
  assert(changes === 1, "the audit trail ends where this process left it");
}

function remove(database: Database, { stream_id, before, after }: Of<"remove">): void {
  database.run(sql.forgetMove, [stream_id]);
  const { changes } = database.run(sql.deleteStream, [stream_id]);
  assert(changes === 1, "a stream that is removed is there, without events");
  moveLog(database, before, after);
}

function moveLog(database: Database, before: LogTail, after: LogTail): void {
  const ends = [after.frontier.size, after.frontier.nodes, after.streams, after.keys];
  const log = database.run(sql.updateLog, [...ends, before.frontier.size, before.streams]);
  assert(log.changes === 1, "the log ends where this process left it");
}

function end(database: Database, { stream_id, direction }: Of<"end">): void {
  const statement = direction === "archive" ? sql.endArchiving : sql.endRestoring;
  const { changes } = database.run(statement, [stream_id]);
  assert(changes === 1, "a move that ends has begun, and nothing is left of it");
  if (direction === "restore") database.run(sql.flagStream, [0, stream_id]);
}

function stow(
  database: Database,
  { stream_id, versions: { before, after }, positions, bodies, snapshots }: Of<"stow">,
): void {
  const counted = database.run(sql.countMoved, [after, stream_id, before, "archive"]);
  assert(counted.changes === 1, "the move is where this process left it");
  const list = JSON.stringify(positions);
  const plain = database.run(sql.deleteBodies, [list]).changes;
  const sealed = database.run(deleteSealedBodies, [list]).changes;
  // Of what is erased there may be bytes that nobody can read.
  assert(plain + sealed >= bodies, "every body that moves was here");
  assert(plain + sealed <= positions.length, "an event has one body");
  database.run(deleteErasedSnapshots, [stream_id]);
  const deleted = database.run(sql.deleteSnapshots, [stream_id, before, after]);
  assert(deleted.changes === snapshots, "every snapshot that moves was here, and no other");
}

function fetch(
  database: Database,
  { stream, versions: { before, after }, bodies, snapshots }: Of<"fetch">,
  keyring: Keyring,
): void {
  const { stream_id, aggregate_type, aggregate_id } = stream;
  const counted = database.run(sql.countMoved, [after, stream_id, before, "restore"]);
  assert(counted.changes === 1, "the move is where this process left it");
  const seals = keyring.seals();
  using statement = database.prepare(seals ? insertSealedBody : sql.returnBody);
  for (const body of bodies) {
    const { position, salt, note, payload } = body;
    const event = { aggregate_type, aggregate_id, ...body };
    if (seals) statement.run(position, sealBody(keyring.keyFor(stream_id), event));
    else statement.run(position, salt, note, payload);
  }
  for (const snapshot of snapshots) {
    database.run(sql.returnSnapshot, snapshotValues(keyring, { stream_id, snapshot }));
  }
}
