// What OpenAPI says of answers besides their content: headers, and one response for each status of
// an error, with the codes that have it.

import { errorCodes } from "../../model/error.ts";
import { httpReasons, statusOf } from "../errors.ts";
import type { Operation } from "../operations/operation.ts";
import { recordExamples } from "./examples.ts";
import type { JsonSchema } from "./schemas.ts";

const text = { type: "string" } as const;

/** Headers of answers. */
export const headers = {
  "X-Request-Id": {
    description: "The client's own id of the request, or one of dbx.",
    schema: text,
  },
  ETag: {
    description: "Version and digest of what is shown; for `If-Match` and `If-None-Match`.",
    schema: text,
    example: '"2-mPGGzQN3l1nO9LHIwYVeHQ"',
  },
  "Cache-Control": { description: "Who may keep the answer.", schema: text },
  "X-Next-Cursor": {
    description: "Where the next page begins; missing on the last one.",
    schema: text,
  },
  "Retry-After": { description: "Seconds to wait before another try.", schema: text },
  "WWW-Authenticate": { description: "Always `Bearer`.", schema: text },
} as const;
type Header = keyof typeof headers;

/** References to headers by their names. */
export const headersOf = (...names: readonly Header[]): Record<string, JsonSchema> =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));

export const ErrorSchema: JsonSchema = {
  type: "object",
  description: "The one shape of all errors.",
  required: ["message", "code", "details"],
  properties: {
    message: { type: "string", description: "What happened, for people. Never match on it." },
    code: { type: "string", description: "What happened, for programs.", enum: errorCodes },
    details: { type: "object", description: "The values in the message, by name." },
  },
  additionalProperties: false,
  examples: [recordExamples["Error"]],
};

interface Row {
  readonly status: number;
  /** The code, when it comes, and whether trying again helps. */
  readonly words: string;
}

const rows: readonly Row[] = [
  ...Object.entries(statusOf).map(([code, { http, when, retry }]) => ({
    status: http,
    words: `\`${code}\`: ${when}. Retry: ${retry}.`,
  })),
  ...Object.entries(httpReasons).map(([reason, { code, http }]) => ({
    status: http,
    words: `\`${code}\` with \`details.reason\` \`${reason}\`.`,
  })),
];

/** A response for each status that an error may have. */
export const errorResponses: Readonly<Record<string, JsonSchema>> = Object.fromEntries(
  rows.map(({ status }) => [
    nameOf(status),
    {
      description: rows
        .filter((row) => row.status === status)
        .map(({ words }) => words)
        .join("\n\n"),
      headers: {
        ...headersOf("X-Request-Id"),
        ...(status === statusOf.unauthenticated.http ? headersOf("WWW-Authenticate") : {}),
        ...(status === statusOf.overloaded.http ? headersOf("Retry-After") : {}),
      },
      content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
    },
  ]),
);

function nameOf(status: number): string {
  return `Error${status}`;
}

/** References to the errors that an operation may answer with. */
export function errorsOf(
  { grant, kind, output }: Operation,
  { body, conditional, follows }: { body: boolean; conditional: boolean; follows: boolean },
): Record<string, JsonSchema> {
  const list = output["type"] === "array" || "next_cursor" in (output["properties"] ?? {});
  const { invalid_argument, unavailable, internal, version_conflict, too_large } = statusOf;
  const { unauthenticated, permission_denied, not_found, overloaded } = statusOf;
  const { request_timeout, unsupported_media_type, precondition_failed } = httpReasons;
  const possible = [
    ...[invalid_argument, internal, unavailable],
    ...(grant === null ? [] : [unauthenticated, permission_denied, not_found, overloaded]),
    ...(kind === "command" || follows ? [version_conflict] : []),
    ...(body ? [request_timeout, unsupported_media_type] : []),
    // A page may be too large as well.
    ...(body || list ? [too_large] : []),
    ...(conditional ? [precondition_failed] : []),
  ];
  const statuses = possible.map(({ http }) => http).sort((left, right) => left - right);
  return Object.fromEntries(
    statuses.map((status) => [status, { $ref: `#/components/responses/${nameOf(status)}` }]),
  );
}
