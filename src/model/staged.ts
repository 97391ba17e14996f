// An event that waits in the queue: what a client asked for, with the id and the actor it got when
// it was staged. Time, version and position come with the commit.

import { Type, type Static } from "@sinclair/typebox";
import { Issuer } from "./actor.ts";
import { EventId, Note } from "./event.ts";
import { ExactJson } from "./kinds.ts";
import { AggregateId, AggregateType, EventType, ExpectedVersion } from "./stream.ts";

const StagedAt = Type.Union([Type.String(), Type.Null()], {
  description: "UTC, six digits of a second; null for an event that EventDBX 1 staged.",
});
const Payload = ExactJson("The payload as canonical JSON.");

export const StagedEvent = Type.Object(
  {
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    event_type: EventType,
    payload: Payload,
    note: Type.Union([Note, Type.Null()]),
    event_id: EventId,
    expected_version: ExpectedVersion,
    issued_by: Type.Union([Issuer, Type.Null()]),
    staged_at: StagedAt,
  },
  { $id: "StagedEvent" },
);
export type StagedEvent = Static<typeof StagedEvent>;

/**
 * One entry of `staged_events.json`. The first six members are those of EventDBX 1.15.3, whose
 * files have no others. A member nobody knows is damage: the next change would lose it.
 */
const StagedEntry = Type.Object(
  {
    aggregate: AggregateType,
    aggregate_id: AggregateId,
    event: EventType,
    payload: Type.Optional(Payload),
    note: Type.Optional(Type.Union([Note, Type.Null()])),
    issued_by: Type.Optional(Type.Union([Issuer, Type.Null()])),
    event_id: Type.Optional(EventId),
    expected_version: Type.Optional(ExpectedVersion),
    staged_at: Type.Optional(StagedAt),
  },
  { additionalProperties: false },
);
export type StagedEntry = Static<typeof StagedEntry>;
export const StagedEntries = Type.Array(StagedEntry);
