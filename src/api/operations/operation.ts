// What a row of the operation table is, and the fragments that several rows share.

import { Type, type TObject, type TSchema } from "@sinclair/typebox";
import type { Grant } from "../../model/actor.ts";
import { Text } from "../../model/kinds.ts";
import { limits } from "../../model/limits.ts";
import { AggregateId, AggregateType } from "../../model/stream.ts";

/**
 * What a token's scope has to cover: the aggregate that the input names (`aggregate`), that of each
 * of its `events`, or the whole store. `listed`: the engine leaves out what is not covered. `none`
 * for what shows nothing of the store.
 */
export type Reach = "aggregate" | "events" | "listed" | "store" | "none";

export interface Operation {
  readonly summary: string;
  /** A command changes something, a query does not. */
  readonly kind: "command" | "query";
  /** What the actor must hold; null for those open to everybody. */
  readonly grant: Grant | null;
  readonly reach: Reach;
  readonly input: TObject;
  readonly output: TSchema;
}

export const operation = <Input extends TObject, Output extends TSchema>(row: {
  summary: string;
  kind: "command" | "query";
  grant: Grant | null;
  reach: Reach;
  input: Input;
  output: Output;
}) => row satisfies Operation;

export const strict = { additionalProperties: false } as const;
export const nothing = Type.Object({}, strict);
export const key = { aggregate_type: AggregateType, aggregate_id: AggregateId };

export const Root = Type.String({ pattern: "^[0-9a-f]{64}$" });

/** Why something is done, for whoever reads the audit trail. */
export const Comment = Text({
  description: "Why; kept in the audit trail.",
  minLength: 0,
  maxLength: limits.comment_chars_max,
  name: false,
});

/** Lists go on behind the page that gave this. */
export const Cursor = Type.String({
  // Without what URLs would have to encode, so that one always fits into a request.
  pattern: "^[A-Za-z0-9_-]*$",
  maxLength: 4096,
  description: "Continue after the page that gave this cursor.",
  fault: "cursor is not one that dbx gave out",
});
export const NextCursor = Type.Union([Type.String(), Type.Null()]);

export const Instant = Type.String({
  maxLength: 64,
  description: "An instant (RFC 3339, with zone): the last event at or before it counts.",
  examples: ["2024-12-01T17:22:43.512345Z"],
});

/** Hidden aggregates and fields are shown to nobody who does not ask; asking needs `admin`. */
export const IncludeHidden = Type.Boolean({
  description: "Show what schemas hide, too; needs the grant admin.",
});
