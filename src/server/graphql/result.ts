// Results as HTTP has them: exact texts joined in, errors in the one shape, and the status that
// GraphQL over HTTP (section 6) gives them.

import { GraphQLError, type ExecutionResult } from "graphql";
import { httpStatusOf, toWire, type WireError } from "../../api/errors.ts";
import type { Log } from "../../log.ts";
import { answer } from "../answer.ts";
import { writeJson } from "./exact.ts";
import type { Exchange } from "./exchange.ts";
import { headersOf, inShort, uncached } from "./refusal.ts";

type Told = Pick<Exchange, "accept" | "request_id">;

const resultType = "application/graphql-response+json";
const eventType = "text/event-stream";

/**
 * Whoever asks for the media type of GraphQL learns from the status that nothing was executed; to
 * whoever asks for JSON a result is a result. What HTTP itself forbids keeps its status.
 */
export function answerResult(result: ExecutionResult, told: Told & { log: Log }): Response {
  const { request_id, accept } = told;
  const wires = (result.errors ?? []).map((error) => wireOf(error));
  const reasoned = wires.find(({ details }) => "reason" in details);
  const asked = accept.includes(resultType);
  const refused = result.data === undefined;
  const status =
    refused && reasoned !== undefined ? httpStatusOf(reasoned) : refused && asked ? 400 : 200;
  const text = resultText(result, told);
  const headers = { ...uncached, ...(reasoned === undefined ? {} : headersOf(reasoned)) };
  // Clients of subscriptions take nothing else, whatever they sent.
  if (!acceptsJson(accept) && accept.includes(eventType)) {
    return answer(eventText(text) + lastEvent, {
      status,
      request_id,
      headers: { ...headers, "Content-Type": eventType },
    });
  }
  return answer(text, {
    status,
    request_id,
    headers: asked ? { ...headers, "Content-Type": `${resultType}; charset=utf-8` } : headers,
  });
}

const acceptsJson = (accept: string): boolean =>
  /\*\/\*|application\/\*|application\/json/.test(accept) || accept.includes(resultType);

export const acceptsEvents = (accept: string): boolean =>
  accept === "" || /\*\/\*|text\/\*/.test(accept) || accept.includes(eventType);

/** Server-sent events as clients of GraphQL read them (GraphQL over SSE, distinct connections). */
export const eventText = (text: string): string => `event: next\ndata: ${text}\n\n`;
export const lastEvent = "event: complete\ndata:\n\n";
export const beatText = ":\n\n";
export const eventHeaders = {
  ...uncached,
  "Content-Type": eventType,
  "X-Accel-Buffering": "no",
} as const;

/** A result as JSON, its data as it was written, its errors in the one shape. */
export function resultText(
  { data, errors = [] }: ExecutionResult,
  { request_id, log }: { request_id: string; log: Log },
): string {
  if (errors.length === 0) return `{"data":${writeJson(data)}}`;
  const shown = errors.map((error) => {
    const { message, code, details } = wireOf(error);
    report(error, { request_id, log });
    const { locations, path } = error;
    return { message, locations, path, extensions: { code, details } };
  });
  const text = `"errors":${JSON.stringify(shown)}`;
  return data === undefined ? `{${text}}` : `{${text},"data":${writeJson(data)}}`;
}

/** What stands behind an error of the executor; a fault of the document is its own cause. */
function causeOf(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError !== undefined
    ? causeOf(error.originalError)
    : error;
}

function wireOf(error: GraphQLError): WireError {
  const cause = causeOf(error);
  if (!(cause instanceof GraphQLError)) return toWire(cause);
  return { message: inShort(error.message), code: "invalid_argument", details: {} };
}

function report(error: GraphQLError, { request_id, log }: { request_id: string; log: Log }): void {
  const { code, ...wire } = wireOf(error);
  const fields = { request_id, operation: "graphql", code };
  if (code === "internal") {
    const cause = causeOf(error);
    const stack = cause instanceof Error ? cause.stack : String(cause);
    log.error("request failed", { ...fields, stack });
  } else if (httpStatusOf({ code, ...wire }) >= 500) {
    log.warn("request failed", { ...fields, message: wire.message });
  }
}
