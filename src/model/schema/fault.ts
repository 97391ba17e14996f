// How faults of a schema's definition, and breaches of a schema, are told.

import { DbxError, invalidArgument, type Details } from "../error.ts";
import { limits } from "../limits.ts";

export const schemaFault = (message: string, details: Details, options?: ErrorOptions) =>
  invalidArgument(`invalid schema: ${message}`, details, options);

export const schemaViolation = (message: string, details: Details) =>
  new DbxError("schema_violation", `schema violation: ${message}`, details);

/** A client may name a member with megabytes; nobody wants them back. */
export const shown = (name: string): string =>
  name.length <= limits.name_chars_max ? name : `${name.slice(0, limits.name_chars_max)}…`;
