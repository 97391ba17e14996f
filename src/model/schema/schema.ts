// What a schema is: the same shape in `schemas.json`, on every surface and in memory.

import { Type, type Static } from "@sinclair/typebox";
import { Named } from "../kinds.ts";
import { limits } from "../limits.ts";
import { AggregateType, EventType } from "../stream.ts";

const FieldName = Type.String({ description: "A member at the top level of a payload." });
const Threshold = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "Keep a snapshot every so many events; 0 for never, null as configured.",
});
/** A type and its rules; settings.ts reads it, because a schema of schemas would explain less. */
const ColumnSettings = Type.Unknown({
  description: "A column type such as `integer`, or an object with `type` and rules.",
});

export const SchemaEvent = Type.Object({
  fields: Type.Array(FieldName, { description: "Members it must have; empty for any." }),
  notes: Type.Optional(Type.String({ description: "A remark for readers of the schema." })),
});
export type SchemaEvent = Static<typeof SchemaEvent>;

export const Schema = Type.Object(
  {
    aggregate: AggregateType,
    snapshot_threshold: Type.Union([Threshold, Type.Null()]),
    locked: Type.Boolean({ description: "Whether events are refused for now." }),
    field_locks: Type.Array(FieldName, { description: "Members no event may set for now." }),
    hidden: Type.Boolean({ description: "Whether such aggregates are shown to nobody." }),
    hidden_fields: Type.Array(FieldName, { description: "Members that are shown to nobody." }),
    column_types: Named(ColumnSettings),
    events: Named(SchemaEvent),
    created_at: Type.String(),
    updated_at: Type.String(),
  },
  { $id: "Schema" },
);
export type Schema = Static<typeof Schema>;

const Events = Type.Array(EventType, {
  minItems: 1,
  maxItems: limits.schema_entries_max,
  description: "The events of such an aggregate.",
});

export const NewSchema = Type.Object(
  {
    aggregate: AggregateType,
    events: Events,
    snapshot_threshold: Type.Optional(Type.Union([Threshold, Type.Null()])),
  },
  { additionalProperties: false },
);
export type NewSchema = Static<typeof NewSchema>;

const Switch = (description: string) => Type.Boolean({ description });

/** Everything that can be changed at once; what is missing stays. */
export const SchemaChange = Type.Object({
  snapshot_threshold: Type.Optional(Type.Union([Threshold, Type.Null()])),
  locked: Type.Optional(Switch("Refuse every event of such an aggregate.")),
  hidden: Type.Optional(Switch("Show such aggregates to nobody.")),
  field_lock: Type.Optional(
    Type.Object(
      { field: FieldName, lock: Switch("Refuse events that set the field.") },
      { additionalProperties: false },
    ),
  ),
  hidden_field: Type.Optional(
    Type.Object(
      { field: FieldName, hidden: Switch("Show the field to nobody.") },
      { additionalProperties: false },
    ),
  ),
  add_events: Type.Optional(Events),
  add_fields: Type.Optional(Named(Type.Array(FieldName))),
  remove_fields: Type.Optional(Named(Type.Array(FieldName))),
  /** Null takes the remark away. */
  event_notes: Type.Optional(Named(Type.Union([Type.String(), Type.Null()]))),
  /** By path, `address.city` inside an object or json column; null takes the column away. */
  columns: Type.Optional(Named(ColumnSettings)),
});
export type SchemaChange = Static<typeof SchemaChange>;
