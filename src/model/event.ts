// An event before and after it is committed.

import { Type, type Static } from "@sinclair/typebox";
import { Issuer } from "./actor.ts";
import { canonicalOf, type Canonical } from "./canonical.ts";
import { ExactJson, Text } from "./kinds.ts";
import { limits } from "./limits.ts";
import type { Digest } from "./merkle.ts";
import {
  AggregateId,
  AggregateType,
  EventType,
  ExpectedVersion,
  type Position,
  type Version,
} from "./stream.ts";

export const EventId = Type.String({
  description: "A UUID. dbx makes one (version 7) when the client sends none.",
  pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
  examples: ["45c3013e-9b95-4ed0-9af9-1a465f81d3cf"],
});
export type EventId = Static<typeof EventId>;

export const Note = Text({
  description: "A remark kept beside the payload.",
  minLength: 0,
  maxLength: limits.note_chars_max,
  name: false,
});

/** What a client asks to append. */
export const Event = Type.Object(
  {
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    event_type: EventType,
    payload: ExactJson("The facts: any JSON value. Numbers are kept exactly as sent."),
    note: Type.Optional(Type.Union([Note, Type.Null()])),
    event_id: Type.Optional(EventId),
    expected_version: Type.Optional(ExpectedVersion),
  },
  { $id: "AppendEventInput", additionalProperties: false },
);
export type Event = Static<typeof Event>;

const Metadata = Type.Object(
  {
    event_id: EventId,
    created_at: Type.String({
      description: "UTC, six digits of a second: 2024-12-01T17:22:43.512345Z.",
    }),
    issued_by: Type.Union([Issuer, Type.Null()]),
    note: Type.Optional(Note),
    erased: Type.Optional(
      Type.Literal(true, { description: "The payload was erased; null stands in its place." }),
    ),
  },
  { $id: "EventMetadata" },
);

const HexDigest = (description: string) => Type.String({ description, pattern: "^[0-9a-f]{64}$" });

/** An event as every surface gives it out. */
export const EventRecord = Type.Object(
  {
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    event_type: EventType,
    payload: ExactJson("The payload as canonical JSON."),
    metadata: Metadata,
    version: Type.Integer({ minimum: 1, description: "Ordinal in the aggregate: 1, 2, 3." }),
    hash: HexDigest("RFC 6962 leaf hash of the event."),
    merkle_root: HexDigest("Root of the aggregate's tree including this event."),
    position: Type.Integer({ minimum: 1, description: "Ordinal in this node's log: 1, 2, 3." }),
  },
  { $id: "EventRecord" },
);
export type EventRecord = Static<typeof EventRecord>;

/** An event once it is decided: everything a storage keeps, but for the position it assigns. */
export interface UnpositionedEvent {
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly version: Version;
  readonly event_id: EventId;
  readonly event_type: string;
  readonly created_at: string;
  readonly issued_by: Issuer | null;
  /** Body: payload, note and salt move, and are erased, together. */
  readonly payload: Canonical;
  readonly note: string | null;
  /** 16 random bytes. */
  readonly salt: Uint8Array;
  readonly content_digest: Digest;
  readonly hash: Digest;
  readonly merkle_root: Digest;
  /** The body is gone: the payload reads `null`, there is no note, and the salt says nothing. */
  readonly erased?: true;
}

export interface CommittedEvent extends UnpositionedEvent {
  readonly position: Position;
}

/** What is left of an event once its body is erased. */
export const withoutBody = (event: CommittedEvent): CommittedEvent => ({
  ...event,
  payload: nothing,
  note: null,
  salt: noSalt,
  erased: true,
});

const nothing = canonicalOf(null);
const noSalt = new Uint8Array(0);

/** The public view of a committed event. The salt is not part of it. */
export const toRecord = (event: CommittedEvent): EventRecord => ({
  aggregate_type: event.aggregate_type,
  aggregate_id: event.aggregate_id,
  event_type: event.event_type,
  payload: event.payload,
  metadata: {
    event_id: event.event_id,
    created_at: event.created_at,
    issued_by: event.issued_by,
    ...(event.note === null ? {} : { note: event.note }),
    ...(event.erased === undefined ? {} : { erased: true as const }),
  },
  version: event.version,
  hash: event.hash.toHex(),
  merkle_root: event.merkle_root.toHex(),
  position: event.position,
});
