// HTTP's conditions (RFC 9110, section 13). The `ETag` of an aggregate begins with its version, so
// that `If-Match` on an append can stand for `expected_version`, as `If-None-Match: *` does for no
// event yet; `If-None-Match` on a read asks whether anything has changed.

import type { WireError } from "../api/errors.ts";
import { invalidArgument } from "../model/error.ts";
import type { ExpectedVersion } from "../model/stream.ts";

/**
 * In: an aggregate's version and the text that shows it. Out: a strong validator (section 8.8.3).
 * The version alone would not be one: archiving and schemas that hide change the text without it.
 */
export const etagOf = (version: number, text: string): string => `"${version}-${digestOf(text)}"`;

/** In: a text that has no version. Out: its strong validator. */
export const tagOf = (text: string | Uint8Array<ArrayBuffer>): string => `"${digestOf(text)}"`;

/**
 * 132 bits of SHA-256: whoever writes states must not be able to make two that a cache takes for
 * one.
 */
const digestOf = (text: string | Uint8Array<ArrayBuffer>): string =>
  Bun.SHA256.hash(text, "base64url").slice(0, 22);

/**
 * Whether the client has what `etag` stands for. In: the header `If-None-Match`: `*`, or a list of
 * tags, of which a weak one counts like a strong one (section 13.1.2).
 */
export function isKnown(header: string | null, etag: string): boolean {
  if (header === null) return false;
  const tags: readonly string[] = header.match(opaque) ?? [];
  return header.trim() === "*" || tags.includes(etag);
}

/** An entity tag without the sign of weakness. */
const opaque = /"[\x21\x23-\x7e\x80-\xff]*"/g;

/** In: the input of an append and its headers. Out: the input with what they expect. */
export function withCondition(input: unknown, headers: Headers): unknown {
  const match = headers.get("if-match");
  const noneMatch = headers.get("if-none-match");
  if (match === null && noneMatch === null) return input;
  // What is no object is refused by the gate, in its own words.
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  const header = match === null ? "If-None-Match" : "If-Match";
  if ("expected_version" in input || (match !== null && noneMatch !== null)) {
    throw invalidArgument(
      "expected_version, If-Match and If-None-Match say what is expected: give one of them",
      "expected_version" in input ? { path: "/expected_version" } : { header },
    );
  }
  return { ...input, expected_version: match === null ? noneBy(noneMatch) : expectedBy(match) };
}

/** Throws where a condition would say nothing: whoever sets one MUST learn that it does not hold. */
export function requireNoCondition(headers: Headers): void {
  for (const header of ["If-Match", "If-None-Match"]) {
    if (!headers.has(header)) continue;
    throw invalidArgument(
      `the header ${header} stands for the expected_version of one event: this path takes none`,
      { header },
    );
  }
}

/** The usual way to say "only where there is nothing yet" (section 13.1.2). */
function noneBy(header: string | null): ExpectedVersion {
  if (header?.trim() === "*") return "no_stream";
  throw invalidArgument("the header If-None-Match of an append must be *: no event yet", {
    header: "If-None-Match",
  });
}

function expectedBy(header: string): ExpectedVersion {
  if (header.trim() === "*") return "stream_exists";
  const version = ours.exec(header.trim())?.groups?.["version"];
  // Nothing is appended, as the section asks for. A tag that dbx never gave is a mistake of the
  // client's, and no conflict: a 412 would have him read again and come back with the same.
  if (version === undefined || !Number.isSafeInteger(Number(version))) {
    throw invalidArgument(
      'the header If-Match must be the ETag of the aggregate, its version such as "7", or *',
      { header: "If-Match" },
    );
  }
  return Number(version);
}

/**
 * A version, bare or as a tag, or a whole tag of ours. What follows the version is not compared:
 * events alone decide whether one more may follow them.
 */
const ours = /^(?:(?<version>0|[1-9]\d{0,15})|"(?<version>0|[1-9]\d{0,15})(?:-[\w-]{22})?")$/;

/** Whether a refusal may be that of a condition. */
export const isConditional = (headers: Headers): boolean =>
  headers.has("if-match") || headers.has("if-none-match");

/** A conflict with what a condition said has a status of its own in HTTP, which the reason names. */
export const asPrecondition = (error: WireError): WireError =>
  error.code === "version_conflict"
    ? { ...error, details: { ...error.details, reason: "precondition_failed" } }
    : error;
