// Between events and messages of the replication contract, as nodes hand them to each other.

import { fromJson } from "../api/json.ts";
import { canonicalize, decodeUtf8, type Canonical } from "../model/canonical.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import type { EventRecord } from "../model/event.ts";
import { ForeignEvent } from "../model/imported.ts";
import type { Message } from "./codec.ts";
import type { RawInput } from "./requests.ts";

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

/** The metadata as JSON, its members in the order in which EventDBX writes them. */
export function metadataText({ metadata }: EventRecord): string {
  const { event_id, created_at, issued_by, note, erased } = metadata;
  const issuer = issued_by === null ? null : { group: issued_by.group, user: issued_by.user };
  return JSON.stringify({ event_id, created_at, issued_by: issuer, note, erased });
}

/**
 * An event as it came, for the gate to judge. `index` is its place in the batch. Throws
 * `invalid_argument` for what is no JSON.
 */
export function foreignInput(message: Message, index: number): RawInput {
  const { aggregate_type = "", aggregate_id = "", event_type = "", version = 0 } = message;
  const { merkle_root = "", hash = "" } = message;
  return {
    ...{ aggregate_type, aggregate_id, event_type, version, merkle_root, hash },
    payload: jsonOf(message, { name: "payload", index }),
    metadata: fromJson(
      ForeignEvent.properties.metadata,
      jsonOf(message, { name: "metadata", index }),
    ),
    ...hexOf(message, "salt"),
    ...hexOf(message, "content_digest"),
  };
}

function jsonOf(
  message: Message,
  { name, index }: { name: "payload" | "metadata"; index: number },
): Canonical {
  const bytes = message[name];
  try {
    return canonicalize(decodeUtf8(bytes instanceof Uint8Array ? bytes : new Uint8Array()));
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    const details = { index, path: `/events/${index}/${name}`, ...cause.details };
    throw invalidArgument(`invalid ${name}: ${cause.message}`, details, { cause });
  }
}

/** Nothing where it was not sent: what is empty on the wire is missing. */
function hexOf(message: Message, name: "salt" | "content_digest"): Record<string, string> {
  const bytes = message[name];
  return bytes instanceof Uint8Array && bytes.length > 0 ? { [name]: bytes.toHex() } : {};
}
