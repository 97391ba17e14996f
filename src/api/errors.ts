// One row per error code: what each surface says for it, and whether trying again helps. `toWire`
// and `fromWire` are inverses, so a client throws the very error the engine threw.

import { DbxError, errorCodes, type Details, type ErrorCode } from "../model/error.ts";

interface Status {
  readonly http: number;
  /** Canonical gRPC status code. */
  readonly grpc: number;
  readonly exit: number;
  readonly retry: "no" | "later" | "yes" | "after re-reading";
  readonly when: string;
}

export const statusOf = {
  invalid_argument: {
    http: 400,
    grpc: 3,
    exit: 2,
    retry: "no",
    when: "the input does not fit the operation",
  },
  unauthenticated: {
    http: 401,
    grpc: 16,
    exit: 5,
    retry: "no",
    when: "no token, or one that is unknown, expired or revoked; a wrong master key",
  },
  permission_denied: {
    http: 403,
    grpc: 7,
    exit: 5,
    retry: "no",
    when: "the token lacks the grant, or its write limit is spent",
  },
  not_found: { http: 404, grpc: 5, exit: 3, retry: "no", when: "no such aggregate, token or path" },
  already_exists: {
    http: 409,
    grpc: 6,
    exit: 4,
    retry: "no",
    when: "the name is taken, or the event id belongs to other content",
  },
  version_conflict: {
    http: 409,
    grpc: 10,
    exit: 4,
    retry: "after re-reading",
    when: "the expected version is not the actual one",
  },
  aggregate_archived: {
    http: 403,
    grpc: 9,
    exit: 4,
    retry: "no",
    when: "the aggregate is archived",
  },
  failed_precondition: {
    http: 409,
    grpc: 9,
    exit: 4,
    retry: "no",
    when: "the state of dbx does not allow it",
  },
  schema_violation: {
    http: 400,
    grpc: 3,
    exit: 6,
    retry: "no",
    when: "the event breaks its aggregate's schema",
  },
  too_large: {
    http: 413,
    grpc: 8,
    exit: 6,
    retry: "no",
    when: "a payload, body or batch is above its limit",
  },
  overloaded: { http: 429, grpc: 8, exit: 7, retry: "later", when: "a queue is full" },
  unavailable: {
    http: 503,
    grpc: 14,
    exit: 7,
    retry: "yes",
    when: "starting, stopping, locked, or the disk failed",
  },
  data_corrupted: {
    http: 500,
    grpc: 15,
    exit: 8,
    retry: "no",
    when: "stored data does not verify",
  },
  internal: { http: 500, grpc: 13, exit: 1, retry: "no", when: "a defect in dbx" },
} as const satisfies Record<ErrorCode, Status>;

/**
 * HTTP says a few refusals more precisely than the closed list of codes does. They keep their code
 * and name themselves in `details.reason`, which then decides the status.
 */
export const httpReasons = {
  method_not_allowed: { code: "invalid_argument", http: 405 },
  request_timeout: { code: "invalid_argument", http: 408 },
  unsupported_media_type: { code: "invalid_argument", http: 415 },
  /** The expected version stood in `If-Match`. */
  precondition_failed: { code: "version_conflict", http: 412 },
} as const satisfies Record<string, { code: ErrorCode; http: number }>;

/** The HTTP status of an error as a client sees it. */
export function httpStatusOf(error: WireError): number {
  const reason = error.details["reason"];
  const row = isHttpReason(reason) ? httpReasons[reason] : undefined;
  return row?.code === error.code ? row.http : statusOf[error.code].http;
}

const isHttpReason = (reason: unknown): reason is keyof typeof httpReasons =>
  typeof reason === "string" && Object.hasOwn(httpReasons, reason);

/** The one error shape of every surface. */
export interface WireError {
  readonly message: string;
  readonly code: ErrorCode;
  readonly details: Details;
}

/**
 * What may be told of any thrown value: a DbxError as it is, everything else as `internal` without
 * its text.
 */
export function toWire(thrown: unknown): WireError {
  if (thrown instanceof DbxError) {
    return { message: thrown.message, code: thrown.code, details: thrown.details };
  }
  return {
    message: "internal error; the log of the server has the details",
    code: "internal",
    details: {},
  };
}

/** The error an answer stands for, or undefined where it has another shape. */
export function fromWire(answer: unknown): DbxError | undefined {
  if (typeof answer !== "object" || answer === null) return undefined;
  const { message, code, details }: { message?: unknown; code?: unknown; details?: unknown } =
    answer;
  const known = errorCodes.find((candidate) => candidate === code);
  if (known === undefined || typeof message !== "string") return undefined;
  const values = typeof details === "object" && details !== null ? { ...details } : {};
  return new DbxError(known, message, values);
}
