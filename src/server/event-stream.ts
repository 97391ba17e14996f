// Server-sent events as bytes (HTML standard, section 9.2), handed out no faster than the client
// takes them. What is sent, and to whom, is decided elsewhere.

import { toWire } from "../api/errors.ts";
import { toJson } from "../api/json.ts";
import type { LiveBatch } from "../api/live.ts";
import { overloaded } from "../model/error.ts";
import { EventRecord } from "../model/event.ts";

/** Records are shared between streams, and so is what they look like here. */
const written = new WeakMap<EventRecord, string>();

/**
 * A record is an event whose id is its position. An id without data moves the position from which a
 * browser resumes and shows it nothing: so a batch ends that has passed over events.
 */
function textOf({ records, position }: LiveBatch): string {
  let text = "";
  for (const record of records) {
    let one = written.get(record);
    if (one === undefined) {
      one = `id: ${record.position}\ndata: ${toJson(EventRecord, record)}\n\n`;
      written.set(record, one);
    }
    text += one;
  }
  if (records.length === 0) text = ":\n";
  return records.at(-1)?.position === position ? text : `${text}id: ${position}\n\n`;
}

const errorText = (thrown: unknown): string =>
  `event: error\ndata: ${JSON.stringify(toWire(thrown))}\n\n`;

/**
 * The batches as a body, ended by an event `error` where they end with one. `next` is asked when
 * what came before it has been taken, and gives null at the end; a client that takes nothing for
 * `stall_ms` is given up. `onEnd` is called once, with what was thrown or null, whoever ends it.
 */
export function eventStream(options: {
  first: LiveBatch | null;
  next: () => Promise<LiveBatch | null>;
  stall_ms: number;
  onEnd: (thrown: unknown) => void;
}): ReadableStream<Uint8Array> {
  const { next, stall_ms, onEnd } = options;
  const encoder = new TextEncoder();
  let first: LiveBatch | null | undefined = options.first;
  let stall: Timer | undefined;
  let ended = false;

  function end(thrown: unknown): void {
    if (ended) return;
    ended = true;
    clearTimeout(stall);
    onEnd(thrown);
  }

  function fail(controller: ReadableStreamDefaultController<Uint8Array>, thrown: unknown): void {
    if (ended) return;
    end(thrown);
    controller.enqueue(encoder.encode(errorText(thrown)));
    controller.close();
  }

  function watch(controller: ReadableStreamDefaultController<Uint8Array>): void {
    clearTimeout(stall);
    stall = setTimeout(() => fail(controller, tooSlow(stall_ms)), stall_ms);
  }

  return new ReadableStream<Uint8Array>(
    {
      start: watch,
      async pull(controller) {
        clearTimeout(stall);
        try {
          const batch = first === undefined ? await next() : first;
          first = undefined;
          if (ended) return;
          if (batch === null) {
            end(null);
            controller.close();
          } else {
            controller.enqueue(encoder.encode(textOf(batch)));
            watch(controller);
          }
        } catch (thrown) {
          fail(controller, thrown);
        }
      },
      cancel: () => end(null),
    },
    // Nothing is fetched in advance: what a slow client holds is one batch.
    { highWaterMark: 0 },
  );
}

const tooSlow = (stall_ms: number) =>
  overloaded(`nothing was taken for ${stall_ms} ms; follow again after the last id`, { stall_ms });
