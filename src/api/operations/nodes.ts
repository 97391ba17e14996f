// What nodes ask each other: how far each aggregate is, whether two histories are one, and events
// with what proves them. All of it shows what schemas hide, so it takes the grant admin.

import { Type } from "@sinclair/typebox";
import { ForeignEvent } from "../../model/imported.ts";
import { limits } from "../../model/limits.ts";
import { AggregateId, AggregateType, StreamKey } from "../../model/stream.ts";
import { key, operation, Root, strict } from "./operation.ts";

const Version = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Rows = Type.Integer({
  minimum: 1,
  maximum: limits.position_rows_max,
  description: "Rows of the page.",
});

/** How far an aggregate is. */
const AggregatePosition = Type.Object(
  {
    ...key,
    version: Type.Integer({ minimum: 0, description: "Number of events." }),
    merkle_root: Root,
    archived: Type.Boolean(),
    erased: Type.Integer({ minimum: 0, description: "Up to which version payloads are gone." }),
  },
  { $id: "AggregatePosition" },
);

export const nodeOperations = {
  listPositions: operation({
    summary: "How far each aggregate is, by type, then id; only an empty page is the end.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        after: Type.Optional(Type.Union([StreamKey, Type.Null()])),
        type: Type.Optional(AggregateType),
        aggregate_id: Type.Optional(AggregateId),
        take: Rows,
      },
      { $id: "ListPositionsInput", ...strict },
    ),
    output: Type.Array(AggregatePosition),
  }),
  rootsAt: operation({
    summary: "The roots that aggregates had at versions; null where one has not come so far.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        of: Type.Array(Type.Object({ ...key, version: Version }, strict), {
          minItems: 1,
          maxItems: limits.position_rows_max,
        }),
      },
      { $id: "RootsAtInput", ...strict },
    ),
    output: Type.Array(Type.Union([Root, Type.Null()])),
  }),
  readForeign: operation({
    summary:
      "Events of an aggregate with what proves them; fewer than asked for where they are large.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      { ...key, after: Version, take: Rows },
      { $id: "ReadForeignInput", ...strict },
    ),
    output: Type.Array(ForeignEvent),
  }),
};
