// Refusals in the shape of GraphQL: what is wrong with a request, before or beside its document.

import { httpStatusOf, type WireError } from "../../api/errors.ts";
import { limits } from "../../model/limits.ts";
import { answer, secondsToWait } from "../answer.ts";

/** Answers hold what a token may see: no cache keeps them. */
export const uncached = { "Cache-Control": "no-store" } as const;

/** A refusal before any document was looked at. */
export function refusal(
  error: WireError,
  { request_id, status = httpStatusOf(error) }: { request_id: string; status?: number },
): Response {
  const { code, message, details } = error;
  const text = JSON.stringify({ errors: [{ message, extensions: { code, details } }] });
  return answer(text, {
    status,
    request_id,
    headers: { ...uncached, ...headersOf(error) },
  });
}

/** A message that may quote what was sent, and be as long as it. */
export function inShort(message: string): string {
  const most = limits.graphql_message_chars_max;
  const shown = message.length > most ? `${message.slice(0, most)}…` : message;
  return shown.toWellFormed();
}

/** The headers that HTTP has for an error. */
export function headersOf(error: WireError): Record<string, string> {
  const { code, details } = error;
  if (code === "unauthenticated") return { "WWW-Authenticate": "Bearer" };
  if (code === "overloaded") return { "Retry-After": String(secondsToWait(error)) };
  return typeof details["allow"] === "string" ? { Allow: details["allow"] } : {};
}
