// Reading aggregates, now and as they were, and what may be done to one as a whole.

import { Type, type Static } from "@sinclair/typebox";
import { Aggregate } from "../../model/aggregate.ts";
import { EventRecord } from "../../model/event.ts";
import { ExactJson, Text } from "../../model/kinds.ts";
import { limits } from "../../model/limits.ts";
import { Page } from "../../model/page.ts";
import { AggregateType } from "../../model/stream.ts";
import {
  Comment,
  Cursor,
  IncludeHidden,
  Instant,
  key,
  NextCursor,
  operation,
  Root,
  strict,
} from "./operation.ts";

/** A state as it is kept at a version. */
export const SnapshotRecord = Type.Object(
  {
    ...key,
    version: Type.Integer({ minimum: 1, description: "Events folded into the state." }),
    state: ExactJson("The state at that version."),
    merkle_root: Root,
    created_at: Type.String(),
    comment: Type.Union([Type.String(), Type.Null()]),
  },
  { $id: "Snapshot" },
);
export type SnapshotRecord = Static<typeof SnapshotRecord>;

const Selection = {
  type: Type.Optional(AggregateType),
  archived: Type.Optional(
    Type.Boolean({
      description: "Only archived ones, or only those that are not; all if missing.",
    }),
  ),
  filter: Type.Optional(
    Text({
      minLength: 1,
      maxLength: limits.filter_chars_max,
      urlLength: limits.filter_url_chars_max,
      name: false,
      description:
        'A condition on the state, such as `status = "active" AND meta.source = "api"`: paths ' +
        '(`tags[0]`, `"odd key".x`), `=`, `!=`, `<`, `<=`, `>`, `>=`, `IN (…)`, `CONTAINS`, ' +
        "`EXISTS path`, `AND`, `OR`, `NOT`, parentheses, strings, numbers, true, false, null.",
    }),
  ),
  at: Type.Optional(Instant),
};

const Reason = Type.Object(
  { ...key, comment: Type.Optional(Type.Union([Comment, Type.Null()])) },
  strict,
);

const AggregatesPage = Type.Object(
  { aggregates: Type.Array(Aggregate), next_cursor: NextCursor },
  { $id: "AggregatesPage" },
);

export const aggregateOperations = {
  listAggregates: operation({
    summary: "List aggregates by type, then id.",
    kind: "query",
    grant: "read",
    reach: "listed",
    input: Type.Object(
      {
        ...Page.properties,
        cursor: Type.Optional(Cursor),
        ...Selection,
        include_hidden: Type.Optional(IncludeHidden),
      },
      strict,
    ),
    output: AggregatesPage,
  }),
  getAggregate: operation({
    summary: "The state of an aggregate: now, at a version or at an instant.",
    kind: "query",
    grant: "read",
    reach: "aggregate",
    input: Type.Object(
      {
        ...key,
        version: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: Number.MAX_SAFE_INTEGER,
            description: "The state after this many events.",
          }),
        ),
        at: Type.Optional(Instant),
        include_hidden: Type.Optional(IncludeHidden),
      },
      strict,
    ),
    output: Aggregate,
  }),
  exportAggregates: operation({
    summary: "Aggregates for an export, page by page; an admin gets hidden ones and fields too.",
    kind: "query",
    grant: "read",
    reach: "listed",
    input: Type.Object(
      {
        take: Page.properties.take,
        cursor: Type.Optional(Cursor),
        type: Selection.type,
        at: Selection.at,
      },
      strict,
    ),
    output: AggregatesPage,
  }),
  verifyAggregate: operation({
    summary: "Recompute an aggregate from its events and compare.",
    kind: "query",
    grant: "read",
    reach: "aggregate",
    input: Type.Object({ ...key, include_hidden: Type.Optional(IncludeHidden) }, strict),
    output: Type.Object(
      {
        ...key,
        version: Type.Integer(),
        merkle_root: Root,
        erased: Type.Integer({
          minimum: 0,
          description: "The bodies of versions up to this one were erased; 0 for none.",
        }),
      },
      { $id: "VerifyResult" },
    ),
  }),
  createSnapshot: operation({
    summary: "Keep the current state of an aggregate as a snapshot.",
    kind: "command",
    grant: "append",
    reach: "aggregate",
    input: Reason,
    output: SnapshotRecord,
  }),
  archiveAggregate: operation({
    summary: "Take no more events for an aggregate and move what it holds to long-term storage.",
    kind: "command",
    grant: "admin",
    reach: "aggregate",
    input: Reason,
    output: Aggregate,
  }),
  restoreAggregate: operation({
    summary: "Move an archived aggregate back and take events for it again.",
    kind: "command",
    grant: "admin",
    reach: "aggregate",
    input: Reason,
    output: Aggregate,
  }),
  eraseAggregate: operation({
    summary: "Make what an aggregate's events say unreadable for good; that they happened stays.",
    kind: "command",
    grant: "admin",
    reach: "aggregate",
    input: Type.Object(
      {
        ...key,
        reason: Text({
          description: "Why; kept for ever, in the event `$erased` and in the audit trail.",
          minLength: 1,
          maxLength: limits.erase_reason_chars_max,
          name: false,
        }),
      },
      strict,
    ),
    output: EventRecord,
  }),
  removeAggregate: operation({
    summary: "Remove an aggregate that has no events.",
    kind: "command",
    grant: "admin",
    reach: "aggregate",
    input: Reason,
    output: Type.Object(key),
  }),
};
