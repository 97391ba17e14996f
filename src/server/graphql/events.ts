// A subscription as server-sent events. It is pulled: the next event is made when the client has
// taken the one before, so a slow client holds one batch and nobody waits for it.

import { GraphQLError, type ExecutionResult } from "graphql";
import type { Log } from "../../log.ts";
import { unavailable } from "../../model/error.ts";
import type { Exchange } from "./exchange.ts";
import { beatText, eventHeaders, eventText, lastEvent, resultText } from "./result.ts";

interface Options {
  readonly exchange: Exchange;
  readonly log: Log;
  /** How long the client may take nothing. */
  readonly stall_ms: number;
}

export function answerEvents(
  results: AsyncIterable<ExecutionResult>,
  { exchange, log, stall_ms }: Options,
): Response {
  const { request_id, ended } = exchange;
  const iterator = results[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let stalled: ReturnType<typeof setTimeout> | undefined;
  let gone = false;

  const next = async (): Promise<{ text: string; done: boolean }> => {
    try {
      const { value, done } = await iterator.next();
      if (done === true) return { text: lastEvent, done: true };
      return { text: eventText(resultText(value, { request_id, log })), done: false };
    } catch (thrown) {
      const error = new GraphQLError("", {
        originalError: thrown instanceof Error ? thrown : new Error(String(thrown)),
      });
      const text = resultText({ errors: [error] }, { request_id, log });
      return { text: eventText(text) + lastEvent, done: true };
    }
  };
  const end = () => {
    gone = true;
    clearTimeout(stalled);
    // The wait for the next event ends by this; asked to return, it would only queue behind it.
    ended.abort();
  };
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      exchange.beat = () => {
        if (!gone) controller.enqueue(encoder.encode(beatText));
      };
      ended.signal.addEventListener("abort", () => clearTimeout(stalled), { once: true });
    },
    async pull(controller) {
      clearTimeout(stalled);
      const { text, done } = await next();
      if (gone) return;
      controller.enqueue(encoder.encode(text));
      if (done) {
        controller.close();
        return end();
      }
      if ((controller.desiredSize ?? 1) > 0) return;
      stalled = setTimeout(() => {
        end();
        controller.error(unavailable(`the client took nothing for ${stall_ms} ms`));
      }, stall_ms);
    },
    cancel: end,
  });
  return new Response(stream, { headers: { ...eventHeaders, "X-Request-Id": request_id } });
}
