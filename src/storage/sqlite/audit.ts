// The audit trail as a chain of hashes: each entry's hash covers the entry before it, and the last
// hash stands in a row of its own, so that no entry can be changed, removed or added unnoticed.

import type { Database } from "bun:sqlite";
import type { AuditEntry } from "../../model/audit.ts";
import { emptyKeys, sha256, type Digest } from "../../model/merkle.ts";
import { toAuditEntry, toTrail, type AuditRow, type TrailRow } from "./rows.ts";
import { readAuditPage, readTrailRow } from "./sql.ts";

/** Where the trail ends. */
export interface Trail {
  readonly entries: number;
  /** Of the last entry; 32 zero bytes where there is none. */
  readonly hash: Digest;
  /** Entries that tell of a removed stream: stream ids are never given twice. */
  readonly removed: number;
}

/** The trail after one more entry. */
export function trailWith({ entries, hash, removed }: Trail, added: AuditEntry): Trail {
  return {
    entries: entries + 1,
    hash: entryHash(hash, added),
    removed: removed + Number(added.action === "remove"),
  };
}

/** SHA-256 over the hash before and the entry's values, as a JSON array. Part of the format. */
function entryHash(before: Digest, entry: AuditEntry): Digest {
  const { at, issued_by, action, aggregate_type, aggregate_id, comment } = entry;
  const issuer = [issued_by?.group ?? null, issued_by?.user ?? null];
  const values = [entry.entry, at, ...issuer, action, aggregate_type, aggregate_id, comment];
  const { subject, details } = entry;
  // The first entries knew of streams alone, and their hashes stay what they are.
  const tells = aggregate_type === null || subject !== null || details !== "null";
  if (tells) values.push(subject, details);
  return sha256(before.toHex() + JSON.stringify(values));
}

/** What is wrong with the trail, as sentences; at most `limit`. */
export const checkTrail = (database: Database, limit: number): string[] =>
  // In one transaction: between two the trail may have grown.
  database.transaction(() => trailFaults(database).slice(0, limit))();

function trailFaults(database: Database): string[] {
  using rows = database.prepare<AuditRow, [number, number]>(readAuditPage);
  using last = database.prepare<TrailRow, []>(readTrailRow);
  const row = last.get();
  if (row === null) return ["the row of the audit trail is missing"];
  const end = toTrail(row);
  let trail: Trail = { entries: 0, hash: emptyKeys, removed: 0 };
  for (const each of rows.iterate(Number.MIN_SAFE_INTEGER, end.entries + 1)) {
    trail = trailWith(trail, toAuditEntry(each));
    if (each.entry === trail.entries && Buffer.compare(each.hash, trail.hash) === 0) continue;
    // Nothing after it follows either.
    return [`entry ${each.entry} of the audit trail does not follow from those before it`];
  }
  if (isSame(trail, end)) return [];
  return [`the audit trail should end at entry ${end.entries}, but not as it does`];
}

const isSame = (left: Trail, right: Trail): boolean =>
  left.entries === right.entries &&
  left.removed === right.removed &&
  Buffer.compare(left.hash, right.hash) === 0;
