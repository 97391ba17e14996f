// Server-sent events as the HTML standard has a browser take them apart; comments and events
// without data come through as events with an empty text, because tests wait for them.

import { decodeUtf8 } from "../../src/model/canonical.ts";

export interface ServerSentEvent {
  /** `message` where nothing else is said. */
  readonly event: string;
  /** Its data; empty for what a browser would not tell anybody. */
  readonly text: string;
  /** The last event id so far. */
  readonly id: string;
}

/** Ends quietly when the signal is aborted, and when the answer ends. */
export async function* eventsIn(
  response: Response,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<ServerSentEvent> {
  if (response.body === null) throw new Error("an answer without a body");
  let rest = Buffer.alloc(0);
  let id = "";
  try {
    for await (const chunk of response.body) {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf("\n\n"); end !== -1; end = rest.indexOf("\n\n")) {
        const found = parse(decodeUtf8(rest.subarray(0, end)), id);
        rest = rest.subarray(end + 2);
        ({ id } = found);
        yield found;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function parse(block: string, last: string): ServerSentEvent {
  let event = "message";
  let id = last;
  const lines: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") event = value;
    if (name === "id") id = value;
    if (name === "data") lines.push(value);
  }
  return { event, text: lines.join("\n"), id };
}
