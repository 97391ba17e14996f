// What the tables of the schema tests say in one line each: a schema of some columns, an event
// against it, and how it was refused.

import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError, type Details, type ErrorCode } from "../../src/model/error.ts";
import { patternBudget } from "../../src/model/schema/budget.ts";
import { checkEvent } from "../../src/model/schema/check.ts";
import { compileSchema } from "../../src/model/schema/compile.ts";
import { readSchema, splitSchemas } from "../../src/model/schema/document.ts";
import type { Schema } from "../../src/model/schema/schema.ts";

export const schemaOf = (over: Partial<Schema> = {}): Schema => ({
  aggregate: "patient",
  snapshot_threshold: null,
  locked: false,
  field_locks: [],
  hidden: false,
  hidden_fields: [],
  column_types: {},
  events: { added: { fields: [] } },
  created_at: "2026-01-02T03:04:05.678901Z",
  updated_at: "2026-01-02T03:04:05.678901Z",
  ...over,
});

/** Every schema of the document. */
export const readSchemas = (text: string): ReadonlyMap<string, Schema> =>
  new Map(splitSchemas(text).map(([name, written]) => [name, readSchema(name, written)]));

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Details;
}

/** How it was refused; null if it was not. Anything but an expected failure is thrown on. */
export function refusalOf(act: () => unknown): Refusal | null {
  try {
    act();
    return null;
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    const { code, message, details } = error;
    return { code, message, details };
  }
}

/** Checks the JSON text of a payload against a schema of these columns. */
export const checkColumns = (column_types: Schema["column_types"], payload: string) =>
  refusalOf(() =>
    checkEvent(
      "default",
      compileSchema(schemaOf({ column_types })),
      { aggregate_type: "patient", event_type: "added", payload: canonicalize(payload) },
      patternBudget(),
    ),
  );

/** What a schema of these columns is refused with. */
export const defineColumns = (column_types: Schema["column_types"]) =>
  refusalOf(() => compileSchema(schemaOf({ column_types })));
