// The operation table: everything that can be asked of dbx, once. Surfaces, clients, permissions,
// OpenAPI and the README derive from it.

import { Type, type Static, type TObject, type TSchema } from "@sinclair/typebox";
import { Group, User, type Grant } from "../model/actor.ts";
import { Aggregate } from "../model/aggregate.ts";
import { Event, EventRecord } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import { Page } from "../model/page.ts";
import { AggregateId, AggregateType, StreamKey } from "../model/stream.ts";

export interface Operation {
  readonly summary: string;
  /** A command changes something, a query does not. */
  readonly kind: "command" | "query";
  /** What the actor must hold; null for those open to everybody. */
  readonly grant: Grant | null;
  readonly input: TObject;
  readonly output: TSchema;
}

const operation = <Input extends TObject, Output extends TSchema>(row: {
  summary: string;
  kind: "command" | "query";
  grant: Grant | null;
  input: Input;
  output: Output;
}) => row satisfies Operation;

const strict = { additionalProperties: false } as const;
const nothing = Type.Object({}, strict);
const key = { aggregate_type: AggregateType, aggregate_id: AggregateId };

const Root = Type.String({ pattern: "^[0-9a-f]{64}$" });

const Expiration = Type.Integer({
  minimum: 1,
  // A hundred years: later dates would not fit into a timestamp with a four-digit year for long.
  maximum: 3_155_760_000,
  description: "Seconds from now until the token expires.",
});
const WriteLimit = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "Events the token may append.",
});

/** A token as it is shown: never its value. */
export const Token = Type.Object(
  {
    id: Type.String({ description: "Names the token without giving it away." }),
    prefix: Type.String({ description: "The first characters of the value, to recognise it by." }),
    group: Group,
    user: User,
    status: Type.Union([Type.Literal("active"), Type.Literal("expired"), Type.Literal("revoked")]),
    issued_at: Type.String(),
    expires_at: Type.Union([Type.String(), Type.Null()]),
    limit: Type.Union([WriteLimit, Type.Null()]),
    remaining_writes: Type.Union([WriteLimit, Type.Null()]),
    keep_alive: Type.Boolean(),
  },
  { $id: "Token" },
);
export type Token = Static<typeof Token>;

/** A token the moment it is issued: the only time its value is shown. */
export const IssuedToken = Type.Composite([Type.Object({ token: Type.String() }), Token], {
  $id: "IssuedToken",
});
export type IssuedToken = Static<typeof IssuedToken>;

const TokenRef = Type.String({
  description: "The token's value or its id.",
  minLength: 1,
  maxLength: 256,
});

export const operations = {
  health: operation({
    summary: "Whether dbx answers. Needs no token.",
    kind: "query",
    grant: null,
    input: nothing,
    output: Type.Object({ status: Type.Literal("ok") }),
  }),
  appendEvent: operation({
    summary: "Append one event.",
    kind: "command",
    grant: "append",
    input: Event,
    output: EventRecord,
  }),
  appendEvents: operation({
    summary: "Append several events over one or many aggregates, all or nothing.",
    kind: "command",
    grant: "append",
    input: Type.Object(
      { events: Type.Array(Event, { minItems: 1, maxItems: limits.transaction_events_max }) },
      { $id: "AppendEventsInput", ...strict },
    ),
    output: Type.Array(EventRecord),
  }),
  createAggregate: operation({
    summary: "Make an aggregate without events.",
    kind: "command",
    grant: "append",
    input: StreamKey,
    output: Aggregate,
  }),
  listAggregates: operation({
    summary: "List aggregates by type, then id.",
    kind: "query",
    grant: "read",
    input: Type.Object(
      {
        ...Page.properties,
        cursor: Type.Optional(
          Type.String({
            maxLength: 4096,
            description: "Continue after the page that gave this cursor.",
          }),
        ),
      },
      strict,
    ),
    output: Type.Object({
      aggregates: Type.Array(Aggregate),
      next_cursor: Type.Union([Type.String(), Type.Null()]),
    }),
  }),
  getAggregate: operation({
    summary: "The current state of an aggregate.",
    kind: "query",
    grant: "read",
    input: StreamKey,
    output: Aggregate,
  }),
  listEvents: operation({
    summary: "The events of an aggregate, oldest first.",
    kind: "query",
    grant: "read",
    input: Type.Object({ ...key, ...Page.properties }, strict),
    output: Type.Array(EventRecord),
  }),
  readLog: operation({
    summary: "The whole log in order, from after a position.",
    kind: "query",
    grant: "read",
    input: Type.Object(
      {
        after: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: Number.MAX_SAFE_INTEGER,
            description: "Give the events after this position; 0 when missing.",
          }),
        ),
        take: Page.properties.take,
      },
      strict,
    ),
    output: Type.Array(EventRecord),
  }),
  verifyAggregate: operation({
    summary: "Recompute an aggregate from its events and compare.",
    kind: "query",
    grant: "read",
    input: StreamKey,
    output: Type.Object({ ...key, version: Type.Integer(), merkle_root: Root }),
  }),
  verifyLog: operation({
    summary: "Recompute every aggregate and the tree over the whole log, and compare.",
    kind: "query",
    grant: "admin",
    input: nothing,
    output: Type.Object({
      aggregates: Type.Integer({ description: "How many were recomputed." }),
      position: Type.Integer({ description: "Events recomputed; the last position." }),
      log_root: Root,
    }),
  }),
  issueToken: operation({
    summary: "Issue a token.",
    kind: "command",
    grant: "admin",
    input: Type.Object(
      {
        group: Group,
        user: User,
        expiration_secs: Type.Optional(Type.Union([Expiration, Type.Null()])),
        limit: Type.Optional(Type.Union([WriteLimit, Type.Null()])),
        keep_alive: Type.Optional(
          Type.Boolean({ description: "Each use extends the expiry by its original span." }),
        ),
      },
      strict,
    ),
    output: IssuedToken,
  }),
  listTokens: operation({
    summary: "List all tokens, without their values.",
    kind: "query",
    grant: "admin",
    input: nothing,
    output: Type.Array(Token),
  }),
  revokeToken: operation({
    summary: "Revoke a token at once.",
    kind: "command",
    grant: "admin",
    input: Type.Object({ token: TokenRef }, strict),
    output: Type.Null(),
  }),
  refreshToken: operation({
    summary: "Extend a token's life or write allowance.",
    kind: "command",
    grant: "admin",
    input: Type.Object(
      {
        token: TokenRef,
        expiration_secs: Type.Optional(Expiration),
        limit: Type.Optional(WriteLimit),
      },
      strict,
    ),
    output: Token,
  }),
  serverStatus: operation({
    summary: "What the running server is and does.",
    kind: "query",
    grant: "admin",
    input: nothing,
    output: Type.Object({
      version: Type.String(),
      restrict: Type.String(),
      durability: Type.String(),
      encrypted: Type.Boolean(),
      position: Type.Integer(),
      aggregates: Type.Integer(),
      figures: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String()])),
    }),
  }),
  reloadConfig: operation({
    summary: "Read the configuration file again and follow what can change while running.",
    kind: "command",
    grant: "admin",
    input: nothing,
    output: Type.Object({
      applied: Type.Array(Type.String({ description: "Keys that hold from now on." })),
      restart: Type.Array(Type.String({ description: "Keys that hold after a restart." })),
    }),
  }),
};

export type Operations = typeof operations;
export type OperationName = keyof Operations;
export type Input<Name extends OperationName> = Static<Operations[Name]["input"]>;
export type Output<Name extends OperationName> = Static<Operations[Name]["output"]>;
