// A subscription as server-sent events. It is pulled: the next batch is made when the client has
// taken the one before, so a slow client holds one batch and nobody waits for it. A batch is handed
// out whole, because what may be shown is decided when it is made.

import { GraphQLError, type ExecutionResult } from "graphql";
import type { Log } from "../../log.ts";
import { overloaded } from "../../model/error.ts";
import type { Exchange } from "./exchange.ts";
import { beatText, eventHeaders, eventText, lastEvent, resultText } from "./result.ts";

interface Options {
  readonly exchange: Exchange;
  readonly log: Log;
  /** How long the client may take nothing. */
  readonly stall_ms: number;
}

/** Aborts `ended` of the exchange whoever ends it: the client, the results, or its own patience. */
export function answerEvents(
  results: AsyncIterable<ExecutionResult>,
  { exchange, log, stall_ms }: Options,
): Response {
  const { request_id, ended } = exchange;
  const iterator = results[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let stall: ReturnType<typeof setTimeout> | undefined;

  const write = (result: ExecutionResult): string =>
    eventText(resultText(result, { request_id, log }));
  const writeError = (thrown: unknown): string => {
    const originalError = thrown instanceof Error ? thrown : new Error(String(thrown));
    return write({ errors: [new GraphQLError("", { originalError })] });
  };
  const end = (): void => {
    clearTimeout(stall);
    // A wait for the next event ends by this; asked to return, the iterator would finish it first.
    ended.abort();
  };

  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        exchange.beat = () => {
          const taken = (controller.desiredSize ?? 0) >= 0;
          if (taken && !ended.signal.aborted) controller.enqueue(encoder.encode(beatText));
        };
      },
      async pull(controller) {
        clearTimeout(stall);
        const last = (text: string): void => {
          if (ended.signal.aborted) return;
          end();
          controller.enqueue(encoder.encode(text + lastEvent));
          controller.close();
        };
        try {
          let text = "";
          do {
            const { value, done } = await iterator.next();
            if (done === true) return last(text);
            if (ended.signal.aborted) return;
            text += write(value);
          } while (exchange.waiting > 0);
          controller.enqueue(encoder.encode(text));
          stall = setTimeout(() => last(writeError(tooSlow(stall_ms))), stall_ms);
        } catch (thrown) {
          last(writeError(thrown));
        }
      },
      cancel: end,
    },
    // Nothing is made in advance.
    { highWaterMark: 0 },
  );
  return new Response(stream, { headers: { ...eventHeaders, "X-Request-Id": request_id } });
}

const tooSlow = (stall_ms: number) =>
  overloaded(`nothing was taken for ${stall_ms} ms; follow again after the last position`, {
    stall_ms,
  });
