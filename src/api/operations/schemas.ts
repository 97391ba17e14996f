// Declaring what events of an aggregate type look like.

import { Type } from "@sinclair/typebox";
import { ExactJson } from "../../model/kinds.ts";
import { limits } from "../../model/limits.ts";
import { NewSchema, Schema, SchemaChange } from "../../model/schema/schema.ts";
import { AggregateType, EventType } from "../../model/stream.ts";
import { nothing, operation, strict } from "./operation.ts";

const aggregate = { aggregate: AggregateType };

export const schemaOperations = {
  createSchema: operation({
    summary: "Declare the schema of an aggregate type.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: NewSchema,
    output: Schema,
  }),
  listSchemas: operation({
    summary: "List all schemas by name.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Array(Schema),
  }),
  getSchema: operation({
    summary: "The schema of an aggregate type.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(aggregate, strict),
    output: Schema,
  }),
  changeSchema: operation({
    summary: "Change a schema; what is not named stays. All or nothing.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object({ ...aggregate, ...SchemaChange.properties }, strict),
    output: Schema,
  }),
  removeSchemaEvent: operation({
    summary: "Remove an event from a schema.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object({ ...aggregate, event: EventType }, strict),
    output: Schema,
  }),
  applySchemas: operation({
    summary: "Put schemas in the place of those of their names, and remove others; all or nothing.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        schemas: Type.Array(Schema, { maxItems: limits.schema_entries_max }),
        remove: Type.Array(AggregateType, { maxItems: limits.schema_entries_max }),
      },
      { $id: "ApplySchemasInput", ...strict },
    ),
    output: Type.Object({ schemas: Type.Integer({ description: "How many there are now." }) }),
  }),
  validateEvent: operation({
    summary: "Check an event against the schema of its aggregate type without appending it.",
    kind: "query",
    grant: "read",
    reach: "store",
    input: Type.Object(
      { ...aggregate, event: EventType, payload: ExactJson("The payload to check.") },
      strict,
    ),
    output: Type.Object({
      ...aggregate,
      event: EventType,
      validation: Type.Literal("ok"),
    }),
  }),
};
