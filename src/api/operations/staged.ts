// The queue of staged events: checked when they are put in, appended together by one commit.

import { Type } from "@sinclair/typebox";
import { Event, EventId, EventRecord } from "../../model/event.ts";
import { StagedEvent } from "../../model/staged.ts";
import { nothing, operation, strict } from "./operation.ts";

export const stagedOperations = {
  stageEvent: operation({
    summary: "Put an event into the queue for a later commit.",
    kind: "command",
    grant: "append",
    reach: "aggregate",
    input: Event,
    output: StagedEvent,
  }),
  listStaged: operation({
    summary: "List the staged events in the order in which they will be appended.",
    kind: "query",
    grant: "read",
    reach: "listed",
    input: nothing,
    output: Type.Array(StagedEvent),
  }),
  commitStaged: operation({
    summary: "Append all staged events, all or nothing, and empty the queue.",
    kind: "command",
    grant: "append",
    reach: "listed",
    input: nothing,
    output: Type.Array(EventRecord),
  }),
  discardStaged: operation({
    summary: "Take one staged event, or all of them, out of the queue without appending.",
    kind: "command",
    grant: "append",
    reach: "listed",
    input: Type.Object(
      { event_id: Type.Optional(EventId), all: Type.Optional(Type.Literal(true)) },
      strict,
    ),
    output: Type.Array(StagedEvent),
  }),
};
