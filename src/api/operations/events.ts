// Appending, and reading events back.

import { Type } from "@sinclair/typebox";
import { Aggregate } from "../../model/aggregate.ts";
import { Event, EventRecord } from "../../model/event.ts";
import { ForeignEvent } from "../../model/imported.ts";
import { limits } from "../../model/limits.ts";
import { Page } from "../../model/page.ts";
import { AggregateId, AggregateType, EventType, StreamKey } from "../../model/stream.ts";
import { IncludeHidden, key, operation, strict } from "./operation.ts";

export const After = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "Give the events after this position; 0 when missing.",
});

/** Which events of the log are meant; all that are named must hold. */
export const LogSelection = {
  aggregate_type: Type.Optional(AggregateType),
  /** Without a type it would name several aggregates: refused by the engine. */
  aggregate_id: Type.Optional(AggregateId),
  event_type: Type.Optional(EventType),
};

export const eventOperations = {
  appendEvent: operation({
    summary: "Append one event.",
    kind: "command",
    grant: "append",
    reach: "aggregate",
    input: Event,
    output: EventRecord,
  }),
  appendEvents: operation({
    summary: "Append several events over one or many aggregates, all or nothing.",
    kind: "command",
    grant: "append",
    reach: "events",
    input: Type.Object(
      { events: Type.Array(Event, { minItems: 1, maxItems: limits.transaction_events_max }) },
      { $id: "AppendEventsInput", ...strict },
    ),
    output: Type.Array(EventRecord),
  }),
  importEvents: operation({
    summary: "Take over events of another node, all or nothing; known ones are passed over.",
    kind: "command",
    grant: "append",
    reach: "events",
    input: Type.Object(
      {
        events: Type.Array(ForeignEvent, { minItems: 1, maxItems: limits.import_events_max }),
        allow_future: Type.Optional(
          Type.Boolean({ description: "Take events more than a day ahead of this node's clock." }),
        ),
      },
      { $id: "ImportEventsInput", ...strict },
    ),
    output: Type.Object({
      imported: Type.Integer({ description: "Events that were new here." }),
      known: Type.Integer({ description: "Events that were here already." }),
      position: Type.Integer({
        description: "Where this node's log has the last of them, or ends.",
      }),
    }),
  }),
  createAggregate: operation({
    summary: "Make an aggregate without events.",
    kind: "command",
    grant: "append",
    reach: "aggregate",
    input: StreamKey,
    output: Aggregate,
  }),
  listEvents: operation({
    summary: "The events of an aggregate, oldest first.",
    kind: "query",
    grant: "read",
    reach: "aggregate",
    input: Type.Object(
      { ...key, ...Page.properties, include_hidden: Type.Optional(IncludeHidden) },
      strict,
    ),
    output: Type.Array(EventRecord),
  }),
  readLog: operation({
    summary: "The whole log in order, from after a position.",
    kind: "query",
    grant: "read",
    reach: "listed",
    input: Type.Object(
      {
        after: Type.Optional(After),
        take: Page.properties.take,
        ...LogSelection,
        include_hidden: Type.Optional(IncludeHidden),
      },
      strict,
    ),
    output: Type.Array(EventRecord),
  }),
};
