// The engine without a network: what every surface must answer like.

import { call } from "../../src/api/call.ts";
import { follow } from "../../src/api/live.ts";
import type { Input, Output } from "../../src/api/operations.ts";
import { canonicalize, type Canonical } from "../../src/model/canonical.ts";
import { unauthenticated } from "../../src/model/error.ts";
import type { Event } from "../../src/model/event.ts";
import type { Ask, Connection, Connected, SharedOperation, Surface } from "./surfaces.ts";

export const engineSurface: Surface = {
  name: "engine",
  lacks: { "no token": "in process somebody always acts" },
  withoutToken: "unauthorized",
  connect,
};

function connect({ store }: Connection): Connected {
  return {
    as(token) {
      const actorOf = () => {
        if (token === null) throw unauthenticated();
        return store.authenticate(token);
      };
      const on =
        <Name extends SharedOperation>(operation: Name) =>
        async (input: Input<Name>): Promise<Output<Name>> => {
          const actor = actorOf();
          return call(store.dbx, { operation, input, actor });
        };
      const appendEvent = on("appendEvent");
      const appendEvents = on("appendEvents");
      const ask: Ask = {
        // Callers write payloads as they like; in process they are canonical already.
        appendEvent: async (event) => appendEvent(canonicalEvent(event)),
        appendEvents: async ({ events }) => appendEvents({ events: events.map(canonicalEvent) }),
        listAggregates: on("listAggregates"),
        getAggregate: on("getAggregate"),
        listEvents: on("listEvents"),
        readLog: on("readLog"),
        verifyAggregate: on("verifyAggregate"),
      };
      return {
        ...ask,
        async *follow(input, signal) {
          for await (const { records } of follow(store.live, { input, actorOf, signal })) {
            yield* records;
          }
        },
      };
    },
    close: async () => {},
  };
}

const canonicalEvent = (event: Event): Event => ({ ...event, payload: canonicalPayload(event) });
const canonicalPayload = ({ payload }: { payload?: string }): Canonical =>
  payload === undefined ? (undefined as unknown as Canonical) : canonicalize(payload);
