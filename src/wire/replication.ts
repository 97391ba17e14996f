// From events to messages of the replication contract, as another node applies them.

import type { EventRecord } from "../model/event.ts";

/** What proves payload and note; null where the event was erased. */
export interface Proof {
  readonly salt: Uint8Array;
  readonly content_digest: Uint8Array;
}

/** An event as `EventRecord` of the contract. */
export const replicatedMessage = (record: EventRecord, proof: Proof | null): object => ({
  aggregate_type: record.aggregate_type,
  aggregate_id: record.aggregate_id,
  event_type: record.event_type,
  version: record.version,
  merkle_root: record.merkle_root,
  payload: Buffer.from(record.payload),
  metadata: Buffer.from(metadataText(record)),
  hash: record.hash,
  salt: proof?.salt ?? null,
  content_digest: proof?.content_digest ?? null,
});

/** Members in the order in which EventDBX writes them. */
function metadataText({ metadata }: EventRecord): string {
  const { event_id, created_at, issued_by, note, erased } = metadata;
  const issuer = issued_by === null ? null : { group: issued_by.group, user: issued_by.user };
  return JSON.stringify({ event_id, created_at, issued_by: issuer, note, erased });
}
