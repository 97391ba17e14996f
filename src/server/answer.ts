// What goes back over HTTP: JSON answers and the one error shape, with the headers that every
// answer has.

import { httpStatusOf, type WireError } from "../api/errors.ts";
import { limits } from "../model/limits.ts";

interface AnswerOptions {
  readonly status: number;
  readonly request_id: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** In: JSON text, or null for an answer without a body. */
export function answer(text: string | null, options: AnswerOptions): Response {
  const { status, request_id, headers } = options;
  if (text === null) {
    return new Response(null, { status, headers: { "X-Request-Id": request_id, ...headers } });
  }
  const common = {
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
    "X-Request-Id": request_id,
  };
  return new Response(text, {
    status,
    headers: headers === undefined ? common : { ...common, ...headers },
  });
}

/**
 * A body that is the same for everybody, handed out no faster than the client takes it: the server
 * would keep a copy for each who takes nothing, and nobody has to show a token for a page.
 */
export function piecesOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const piece = bytes.subarray(at, at + limits.answer_piece_bytes);
        at += piece.length;
        if (piece.length > 0) controller.enqueue(piece);
        if (at === bytes.length) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** In: what may be told of a failure. Out: the one error shape with its status. */
export function answerError(
  error: WireError,
  options: { request_id: string; headers?: Readonly<Record<string, string>> },
): Response {
  const headers: Record<string, string> = { ...options.headers };
  if (error.code === "unauthenticated") headers["WWW-Authenticate"] = "Bearer";
  if (error.code === "overloaded") headers["Retry-After"] = String(secondsToWait(error));
  return answer(JSON.stringify(error), {
    status: httpStatusOf(error),
    request_id: options.request_id,
    headers,
  });
}

/** Whole seconds, as RFC 9110 has them. */
export function secondsToWait({ details }: WireError): number {
  const { retry_after_ms } = details;
  return typeof retry_after_ms === "number" ? Math.max(1, Math.ceil(retry_after_ms / 1_000)) : 1;
}

const printable = /^[\x21-\x7e]+$/;

/** In: the header `X-Request-Id`. Out: what the request is called in its answer and in the log. */
export type NameRequest = (header: string | null) => string;

/**
 * The client's own id where it is short and printable, so that its logs and ours can be joined;
 * otherwise a number of this server's. `prefix` tells one run of the server from the next.
 */
export function createRequestNames(prefix: string): NameRequest {
  let count = 0;
  return (header) =>
    header !== null && header.length <= limits.request_id_chars_max && printable.test(header)
      ? header
      : `${prefix}-${(++count).toString(36)}`;
}
