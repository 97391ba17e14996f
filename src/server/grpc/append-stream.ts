// AppendStream: messages become a load (api/load.ts), its progress becomes answers. No promise is
// made for an event: at tens of thousands a second they would cost more than the events.

import { createLoad, type LoadedEvent, type Progress } from "../../api/load.ts";
import { tooLarge, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Codec, Message } from "../../wire/codec.ts";
import { eventInput } from "../../wire/requests.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { Asked, Duplex } from "./calls.ts";

export function appendStream(
  { dbx, stopping }: SurfaceOptions,
  { request, response }: { request: Codec; response: Codec },
): (call: Duplex, asked: Asked) => Promise<void> {
  return async (call, { actorOf, gone }) => {
    const answers = createAnswers(call, response);
    const load = createLoad({
      dbx,
      actorOf,
      acknowledge: answers.tell,
      onRoom: () => void call.resume(),
    });
    const stop = (): void => load.finish(unavailable("dbx is stopping"));
    stopping.addEventListener("abort", stop);
    gone.addEventListener("abort", load.abandon);
    call.on("data", (bytes: Buffer) => {
      const { events, fault } = readEvents(request, bytes);
      if (!load.add(events)) call.pause();
      if (fault !== undefined) load.finish(fault);
    });
    call.on("end", () => load.finish());
    try {
      await load.done;
    } finally {
      answers.flush();
      stopping.removeEventListener("abort", stop);
    }
  };
}

/** The events of a message up to the first that is none, and what is wrong with that. */
function readEvents(
  request: Codec,
  bytes: Buffer,
): { readonly events: LoadedEvent[]; readonly fault?: unknown } {
  const events: LoadedEvent[] = [];
  try {
    const most = limits.transaction_events_max;
    const messages = request.decodeList(bytes, most + 1);
    if (messages.length > most) {
      throw tooLarge(`a message must have at most ${most} events`, { path: "/events" });
    }
    for (const message of messages) {
      events.push({ input: eventInput(message, ""), chars: charsOf(message) });
    }
  } catch (fault) {
    return { events, fault };
  }
  return { events };
}

/** About what an event takes while it waits. */
const charsOf = ({ payload_json }: Message): number =>
  (typeof payload_json === "string" ? payload_json.length : 0) + eventOverhead;

const eventOverhead = 512;

/**
 * Answers as fast as the client takes them. Each counts from the beginning, so of those that wait
 * the last one says it all, and a client that reads nothing until its end costs nothing.
 */
function createAnswers(call: Duplex, response: Codec) {
  let latest: Progress | null = null;
  let isWaiting = false;
  const write = (progress: Progress): void => {
    isWaiting = true;
    call.write(response.encode(progress), () => {
      isWaiting = false;
      flush();
    });
  };
  const flush = (): void => {
    if (latest === null) return;
    const progress = latest;
    latest = null;
    write(progress);
  };
  return {
    tell: (progress: Progress): void => {
      latest = progress;
      if (!isWaiting) flush();
    },
    /** What waits goes out now: nothing can follow the end of the call. */
    flush,
  };
}
