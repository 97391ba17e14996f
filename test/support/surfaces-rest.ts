// REST as our own client speaks it, and its stream as a browser reads one.

import { decode } from "../../src/api/decode.ts";
import { fromWire } from "../../src/api/errors.ts";
import { fromJson, levelsAround } from "../../src/api/json.ts";
import { createClient, type ClientOptions } from "../../src/client/http.ts";
import type { Actor } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { EventRecord } from "../../src/model/event.ts";
import { eventsIn } from "./surfaces-sse.ts";
import { withStatus, type Connection, type Connected, type Surface } from "./surfaces.ts";

/** The client ignores it: who acts is known by the token. */
const nobody: Actor = { group: "x", user: "x", grants: [], scope: null, token_id: null };

export const restSurface: Surface = {
  name: "rest",
  lacks: {},
  withoutToken: "unauthorized",
  connect,
};

function connect({ port }: Connection): Connected {
  const closing: (() => void)[] = [];
  return {
    as(token) {
      const address = { host: "127.0.0.1", port, idle_ms_max: 30_000 };
      const options = token === null ? address : { ...address, token };
      // Only a client that was written wrongly has no token.
      const { dbx, close } = createClient(options as ClientOptions);
      closing.push(close);
      return {
        appendEvent: (input) => dbx.appendEvent(nobody, input),
        appendEvents: (input) => dbx.appendEvents(nobody, input),
        listAggregates: (input) => dbx.listAggregates(nobody, input),
        getAggregate: (input) => dbx.getAggregate(nobody, input),
        listEvents: (input) => dbx.listEvents(nobody, input),
        readLog: (input) => dbx.readLog(nobody, input),
        verifyAggregate: (input) => dbx.verifyAggregate(nobody, input),
        async *follow(input, signal) {
          const query = new URLSearchParams();
          for (const [name, value] of Object.entries(input)) query.set(name, String(value));
          const response = await fetch(`http://127.0.0.1:${port}/v1/events/stream?${query}`, {
            headers: token === null ? {} : { Authorization: `Bearer ${token}` },
            signal,
          });
          if (!response.ok) throw withStatus(response.status, errorIn(await response.text()));
          for await (const { event, text } of eventsIn(response, { signal })) {
            if (event === "error") throw errorIn(text);
            if (text !== "") yield recordIn(text);
          }
        },
      };
    },
    close: async () => closing.forEach((close) => close()),
  };
}

function recordIn(text: string): EventRecord {
  const canonical = canonicalize(text, { envelope: levelsAround(EventRecord) });
  const record = decode(EventRecord, fromJson(EventRecord, canonical));
  // As it was sent, byte for byte, and not only after we made it canonical.
  if (!text.includes(`"payload":${record.payload}`)) throw new Error(`not canonical: ${text}`);
  return record;
}

const errorIn = (text: string): Error =>
  fromWire(JSON.parse(text)) ?? new Error(`no error of ours: ${text}`);
