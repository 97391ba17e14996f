// Subscribe: the log as a stream. A position comes first, so that whoever is cut off before the
// first event knows where to go on.

import { follow } from "../../api/live.ts";
import { unavailable } from "../../model/error.ts";
import type { EventRecord } from "../../model/event.ts";
import type { Position } from "../../model/stream.ts";
import type { Codec } from "../../wire/codec.ts";
import { plainInput } from "../../wire/requests.ts";
import { eventMessage } from "../../wire/responses.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { Asked, ServerStream } from "./calls.ts";
import { send } from "./outlet.ts";

export function subscribe(
  { live, stopping }: SurfaceOptions,
  { request, response }: { request: Codec; response: Codec },
): (call: ServerStream, asked: Asked) => Promise<void> {
  const inputOf = plainInput(request);
  // Followers share records, so each is written once however many there are.
  const written = new WeakMap<EventRecord, Buffer>();
  const write = (record: EventRecord): Buffer => {
    const known = written.get(record);
    if (known !== undefined) return known;
    const message = response.encode({ event: eventMessage(record) });
    written.set(record, message);
    return message;
  };
  const heartbeat = (position: Position): Buffer => response.encode({ heartbeat: { position } });

  return async (call, { actorOf, gone }) => {
    const input = inputOf(request.decode(call.request));
    const signal = AbortSignal.any([gone, stopping]);
    let isFirst = true;
    for await (const { records, position } of follow(live, { input, actorOf, signal })) {
      const messages = records.map(write);
      const [first] = records;
      if (first === undefined) messages.push(heartbeat(position));
      else if (isFirst) messages.unshift(heartbeat(first.position - 1));
      isFirst = false;
      await send(call, messages, gone);
    }
    if (stopping.aborted && !gone.aborted) throw unavailable("dbx is stopping");
  };
}
