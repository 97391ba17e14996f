// Expected failures. One class, one closed list of codes, no transport numbers: those are in api/errors.ts.
// What can never happen is an `assert`, not a DbxError.

import { showKey, type ExpectedVersion, type StreamKey, type Version } from "./stream.ts";

export const errorCodes = [
  "invalid_argument",
  "unauthenticated",
  "permission_denied",
  "not_found",
  "already_exists",
  "version_conflict",
  "aggregate_archived",
  "failed_precondition",
  "schema_violation",
  "too_large",
  "overloaded",
  "unavailable",
  "data_corrupted",
  "internal",
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export type Details = { readonly [name: string]: unknown };

/** An expected failure: what went wrong (`message`), its kind (`code`) and the values (`details`, JSON). */
export class DbxError extends Error {
  override readonly name = "DbxError";
  readonly code: ErrorCode;
  readonly details: Details;

  constructor(code: ErrorCode, message: string, details: Details = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

export const invalidArgument = (message: string, details?: Details, options?: ErrorOptions) =>
  new DbxError("invalid_argument", message, details, options);

export const unauthenticated = (message = "unauthorized", details?: Details) =>
  new DbxError("unauthenticated", message, details);

export const permissionDenied = (message: string, details?: Details) =>
  new DbxError("permission_denied", message, details);

export const notFound = (message: string, details?: Details) =>
  new DbxError("not_found", message, details);

export const aggregateNotFound = (key: StreamKey) => notFound("aggregate not found", { ...key });

export const alreadyExists = (message: string, details?: Details) =>
  new DbxError("already_exists", message, details);

export const versionConflict = (key: StreamKey, expected: ExpectedVersion, actual: Version) =>
  new DbxError(
    "version_conflict",
    `${showKey(key)} is at version ${actual}, expected ${expected}`,
    { ...key, expected, actual },
  );

export const aggregateArchived = (key: StreamKey) =>
  new DbxError("aggregate_archived", "aggregate is archived and cannot accept new events", {
    ...key,
  });

export const failedPrecondition = (message: string, details?: Details, options?: ErrorOptions) =>
  new DbxError("failed_precondition", message, details, options);

export const tooLarge = (message: string, details?: Details) =>
  new DbxError("too_large", message, details);

export const overloaded = (message: string, details?: Details) =>
  new DbxError("overloaded", message, details);

export const unavailable = (message: string, details?: Details, options?: ErrorOptions) =>
  new DbxError("unavailable", message, details, options);

export const dataCorrupted = (message: string, details?: Details, options?: ErrorOptions) =>
  new DbxError("data_corrupted", message, details, options);

/** A state that cannot be, unless dbx is wrong: the operation stops and the stack is logged. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
