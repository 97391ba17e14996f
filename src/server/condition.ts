// HTTP's own way to say which version is expected (RFC 9110, section 13.1.1): `If-Match` on an
// append stands for `expected_version`, and the `ETag` of an aggregate is its version.

import type { WireError } from "../api/errors.ts";
import { invalidArgument } from "../model/error.ts";
import type { ExpectedVersion } from "../model/stream.ts";

export const etagOf = (version: number): string => `"${version}"`;

/** In: the input of an append and its header `If-Match`. Out: the input with what is expected. */
export function withCondition(input: unknown, header: string): unknown {
  // What is no object is refused by the gate, in its own words.
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  if ("expected_version" in input) {
    throw invalidArgument("expected_version and the header If-Match say the same: give one", {
      path: "/expected_version",
    });
  }
  return { ...input, expected_version: expectedBy(header) };
}

/** Throws where a condition would say nothing: whoever sets one MUST learn that it does not hold. */
export function requireNoCondition(headers: Headers): void {
  if (!headers.has("if-match")) return;
  throw invalidArgument(
    "the header If-Match stands for the expected_version of one event: this path takes none",
    { header: "If-Match" },
  );
}

function expectedBy(header: string): ExpectedVersion {
  if (header.trim() === "*") return "stream_exists";
  const version = /^"?(0|[1-9]\d{0,15})"?$/.exec(header.trim())?.[1];
  if (version === undefined || !Number.isSafeInteger(Number(version))) {
    throw invalidArgument('the header If-Match must be one version such as "7", or *', {
      header: "If-Match",
    });
  }
  return Number(version);
}

/** A conflict with what `If-Match` said has a status of its own in HTTP, which the reason names. */
export const asPrecondition = (error: WireError): WireError =>
  error.code === "version_conflict"
    ? { ...error, details: { ...error.details, reason: "precondition_failed" } }
    : error;
