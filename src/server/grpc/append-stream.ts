// AppendStream: messages become a load (api/load.ts), its progress becomes answers. No promise is
// made for an event: at tens of thousands a second they would cost more than the events.

import { createLoad, type LoadedEvent, type Progress } from "../../api/load.ts";
import type { Actor } from "../../model/actor.ts";
import { tooLarge, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Codec, Message } from "../../wire/codec.ts";
import { eventInput } from "../../wire/requests.ts";
import type { Rates } from "../rate.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { Asked, Duplex } from "./calls.ts";
import type { Fault } from "./intake.ts";

export function appendStream(
  { dbx, rates, stopping }: SurfaceOptions,
  { request, response }: { request: Codec; response: Codec },
): (call: Duplex, asked: Asked) => Promise<void> {
  return async (call, { actorOf, gone, incoming }) => {
    const answers = createAnswers(call, response);
    /** Of each message that is held: how many events there were with it. */
    const heldTo: number[] = [];
    let messages = 0;
    let count = 0;
    let broken: Fault | null = null;
    const load = createLoad({
      dbx,
      actorOf,
      acknowledge: (progress) => {
        while ((heldTo[0] ?? Infinity) <= progress.acknowledged) {
          heldTo.shift();
          incoming.release();
        }
        answers.tell(progress);
      },
      onRoom: () => void call.resume(),
    });
    const stop = (): void => load.finish(unavailable("dbx is stopping"));
    stopping.addEventListener("abort", stop);
    gone.addEventListener("abort", load.abandon);
    // What came before it is taken first, whatever else it waits for.
    const breakOff = (): void => {
      if (broken !== null && messages >= broken.after) load.finish(broken.thrown);
    };
    incoming.onFault((fault) => {
      broken = fault;
      breakOff();
    });
    call.on("data", (bytes: Buffer) => {
      const { events, fault } = readEvents(request, bytes);
      messages++;
      count += events.length;
      heldTo.push(count);
      const refusal = countEvents(rates, actorOf, events.length);
      if (refusal !== null) return load.finish(refusal);
      if (!load.add(events)) call.pause();
      if (fault !== undefined) load.finish(fault);
      breakOff();
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

/** Null where so many more may come; otherwise why not. */
function countEvents(rates: Rates, actorOf: () => Actor, events: number): unknown {
  try {
    rates.token(actorOf(), events);
    return null;
  } catch (refusal) {
    return refusal;
  }
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
