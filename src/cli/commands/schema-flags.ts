// What the commands of schemas have in common: how names are given, and how a change is told.

import { Type } from "@sinclair/typebox";
import type { Input } from "../../api/operations.ts";
import type { Schema } from "../../model/schema/schema.ts";
import { decodeColumns, writeColumns } from "../../model/schema/settings.ts";
import { afterDoing } from "../output.ts";
import type { Shell } from "../shell.ts";
import { asking } from "./key-flags.ts";

/** Names are judged by the gate; here they only have to be there. */
export const nameFlag = Type.String({
  hint: "name",
  aliases: ["name"],
  description: "The aggregate type that the schema is for.",
});

export const fieldFlag = Type.String({ hint: "name", description: "The member of the payload." });

export const thresholdFlag = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  hint: "n",
  description: "Keep a snapshot every so many events; 0 for never.",
});

/** A list that may be given in one word or in several; `member` is what the operation calls it. */
export const nameList = (description: string, member = "events") =>
  Type.Array(Type.String(), { hint: "a,b", member, description });

/** The names in all words of a list. */
export const namesIn = (words: readonly string[]): string[] =>
  words.flatMap((word) => word.split(",")).map((name) => name.trim());

/** The schema's own threshold as it is told; without one the configured one holds. */
export const thresholdOf = ({ snapshot_threshold }: Schema) => ({
  snapshot_threshold: snapshot_threshold ?? "none",
});

/** Who asks, and as whom. */
export interface Asked {
  readonly shell: Shell;
  readonly token: string | undefined;
}

export const changeSchema = (by: Asked, change: Input<"changeSchema">): Promise<Schema> =>
  asking({ ...by, access: "write" }, ({ ask }) => ask("changeSchema", change));

/**
 * A server's answer has the members of column settings in another order than the file; people see
 * the same whoever answered.
 */
export const inOrder = (schema: Schema): Schema => ({
  ...schema,
  column_types: writeColumns(decodeColumns(schema.column_types, "")),
});

/** What a command has changed: one line, or the whole schema in JSON. */
export function tellSchema({ output }: Shell, schema: Schema, line: string): Promise<void> {
  const { aggregate } = schema;
  return afterDoing(
    { words: `the schema of ${aggregate} is changed`, details: { aggregate } },
    output.json ? output.jsonValue(inOrder(schema)) : output.data(line),
  );
}
