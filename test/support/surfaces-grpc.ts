// gRPC as a client of grpc-js speaks it, from nothing but proto/dbx.proto and an address.

import { join } from "node:path";
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  type Client,
  type ClientReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { fromWire } from "../../src/api/errors.ts";
import { root } from "../../scripts/root.ts";
import type { Aggregate } from "../../src/model/aggregate.ts";
import type { Event, EventRecord } from "../../src/model/event.ts";
import {
  json,
  withStatus,
  type Caller,
  type Connected,
  type Connection,
  type Surface,
} from "./surfaces.ts";

export const grpcSurface: Surface = {
  name: "grpc",
  lacks: {
    "negative numbers": "the fields of the messages are unsigned",
    "absent members": "an empty string and a missing one are the same message",
  },
  withoutToken: "missing authorization metadata",
  connect,
};

/** Enums as their names, 64 bits as strings, nothing made up where a field is missing. */
const definition = loadSync(join(root, "proto/dbx.proto"), {
  ...{ keepCase: true, longs: String, enums: String, oneofs: true, defaults: false },
});
// The loader's types know no more of what it loads than this.
const { dbx } = loadPackageDefinition(definition) as any;

type Message = Record<string, any>;
type Unary = (
  message: Message,
  metadata: Metadata,
  done: (error: ServiceError | null, answer: Message) => void,
) => void;

function connect({ port }: Connection): Connected {
  const address = `127.0.0.1:${port}`;
  const options = { "grpc.max_receive_message_length": 2 ** 26 };
  const client: Client & Record<string, Unary> & { Subscribe: Subscribe } =
    new dbx.api.EventService(address, credentials.createInsecure(), options);
  return {
    as(token): Caller {
      const metadata = new Metadata();
      if (token !== null) metadata.set("authorization", `Bearer ${token}`);
      const ask = (name: string, message: Message): Promise<Message> =>
        new Promise((done, fail) => {
          client[name]?.(message, metadata, (error, answer) =>
            error === null ? done(answer) : fail(errorIn(error)),
          );
        });
      return {
        appendEvent: async (event) =>
          recordIn((await ask("AppendEvent", eventMessage(event)))["event"]),
        appendEvents: async ({ events }) =>
          recordsIn(await ask("AppendEvents", { events: events.map(eventMessage) })),
        listAggregates: async (input) => {
          const { aggregates = [], next_cursor = null } = await ask("ListAggregates", input);
          return { aggregates: aggregates.map(aggregateIn), next_cursor };
        },
        getAggregate: async (input) => aggregateIn((await ask("GetAggregate", input))["aggregate"]),
        listEvents: async (input) => recordsIn(await ask("ListEvents", input)),
        readLog: async (input) => recordsIn(await ask("ReadLog", input)),
        verifyAggregate: async (input) => {
          const { merkle_root, version, erased } = await ask("VerifyAggregate", input);
          // Of which aggregate is known from the question alone.
          const { aggregate_type, aggregate_id } = input;
          const numbers = { version: numberIn(version), erased: numberIn(erased ?? 0) };
          return { aggregate_type, aggregate_id, merkle_root, ...numbers };
        },
        async *follow(input, signal) {
          const call = client.Subscribe(input, metadata);
          const stop = () => call.cancel();
          signal.addEventListener("abort", stop);
          try {
            for await (const { event } of call) if (event !== undefined) yield recordIn(event);
          } catch (error) {
            if (!signal.aborted) throw errorIn(error as ServiceError);
          } finally {
            signal.removeEventListener("abort", stop);
            call.cancel();
          }
        },
      };
    },
    close: async () => client.close(),
  };
}

type Subscribe = (message: Message, metadata: Metadata) => ClientReadableStream<Message>;

const words = {
  any: "EXPECTED_STATE_ANY",
  no_stream: "EXPECTED_STATE_NO_STREAM",
  stream_exists: "EXPECTED_STATE_STREAM_EXISTS",
} as const;

function eventMessage({ payload, expected_version: expected, note, ...event }: Event): Message {
  return {
    ...event,
    payload_json: payload,
    // There is no other way to say that there is none.
    ...(note === null || note === undefined ? {} : { note }),
    ...(typeof expected === "number" ? { expected_version: String(expected) } : {}),
    ...(typeof expected === "string" ? { expected_state: words[expected] } : {}),
  };
}

const recordsIn = ({ events = [] }: Message): EventRecord[] => events.map(recordIn);

function recordIn({ version, position, payload_json, metadata, ...rest }: Message): EventRecord {
  const { event_id, created_at, issued_by = null, note } = metadata;
  return {
    ...(rest as Pick<EventRecord, "aggregate_type" | "aggregate_id" | "event_type">),
    ...(rest as Pick<EventRecord, "hash" | "merkle_root">),
    payload: json(payload_json),
    metadata: { event_id, created_at, issued_by, ...(note === undefined ? {} : { note }) },
    version: numberIn(version),
    position: numberIn(position),
  };
}

function aggregateIn({ version, state_json, state = {}, ...rest }: Message): Aggregate {
  // The map says the same: strings as they are, everything else as its JSON.
  for (const [name, text] of Object.entries(state)) {
    const written = [JSON.stringify(text), text].some((each) =>
      state_json.includes(`${JSON.stringify(name)}:${each}`),
    );
    if (!written) throw new Error(`${name} is ${text} in the map, unlike in ${state_json}`);
  }
  return {
    ...(rest as Pick<Aggregate, "aggregate_type" | "aggregate_id" | "merkle_root">),
    state: json(state_json),
    version: numberIn(version ?? "0"),
    archived: rest["archived"] ?? false,
  };
}

function numberIn(text: string): number {
  if (!Number.isSafeInteger(Number(text))) throw new Error(`${text} is beyond exact numbers`);
  return Number(text);
}

/** The very error, from the trailer that has it whole. */
function errorIn(error: ServiceError): Error {
  const [text] = error.metadata?.get("dbx-error") ?? [];
  const told = text === undefined ? undefined : fromWire(JSON.parse(String(text)));
  return withStatus(error.code, told ?? error);
}
