// EventService: each call is one operation of the table, or follows the log. Messages are read and
// written here; what they ask for is decided behind the gate.

import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { call } from "../../api/call.ts";
import { operations, type OperationName, type Output } from "../../api/operations.ts";
import type { Actor } from "../../model/actor.ts";
import { tooLarge, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Codec } from "../../wire/codec.ts";
import type { Contract } from "../../wire/contract.ts";
import { eventInput, eventInputs, plainInput } from "../../wire/requests.ts";
import { aggregateMessage, eventMessage } from "../../wire/responses.ts";
import type { SurfaceOptions } from "../surface.ts";
import { appendStream } from "./append-stream.ts";
import type { Asked, Calls } from "./calls.ts";
import { subscribe } from "./subscribe.ts";

/** Operations that need no grant are open to everybody; nobody in particular asks for them. */
const nobody: Actor = { group: "", user: "", grants: [], scope: null, token_id: null };

export function eventService(
  options: SurfaceOptions,
  { calls, contract }: { calls: Calls; contract: Contract },
): UntypedServiceImplementation {
  const codecs = new Map(contract.methods.map((method) => [method.name, method]));
  const codecOf = (name: string): { request: Codec; response: Codec } => {
    const method = codecs.get(name);
    if (method === undefined) throw new Error(`the contract has the call ${name}`);
    return method;
  };
  const answer = <Name extends OperationName>(
    name: string,
    operation: Name,
    ways: {
      readonly read?: (request: Codec, bytes: Buffer) => unknown;
      readonly write: (output: Output<Name>) => object;
    },
  ) => {
    const { request, response } = codecOf(name);
    const plain = plainInput(request);
    const read = ways.read ?? ((_: Codec, bytes: Buffer) => plain(request.decode(bytes)));
    const isOpen = operations[operation].grant === null;
    const respond = async (bytes: Buffer, { actorOf }: Asked): Promise<Buffer> => {
      // As on REST: whoever asks how a server is that stops is told that it does.
      if (isOpen && options.draining()) throw unavailable("dbx is stopping");
      const input = read(request, bytes);
      const actor = isOpen ? nobody : actorOf();
      const output = await call(options.dbx, { operation, input, actor });
      const message = response.encode(ways.write(output));
      // What is committed is told, however large: refusing it would say that nothing happened.
      return operations[operation].kind === "query" ? sized(message) : message;
    };
    return calls.unary(name, respond, isOpen ? "open" : "token");
  };
  return {
    Health: answer("Health", "health", { write: (health) => health }),
    AppendEvent: answer("AppendEvent", "appendEvent", {
      read: (request, bytes) => eventInput(request.decode(bytes), ""),
      write: (record) => ({ event: eventMessage(record) }),
    }),
    AppendEvents: answer("AppendEvents", "appendEvents", {
      // One too many is enough for the gate to refuse them all.
      read: (request, bytes) => ({
        events: eventInputs(request.decodeList(bytes, limits.transaction_events_max + 1)),
      }),
      write: (records) => ({ events: records.map(eventMessage) }),
    }),
    ListAggregates: answer("ListAggregates", "listAggregates", {
      write: ({ aggregates, next_cursor }) => ({
        aggregates: aggregates.map(aggregateMessage),
        next_cursor,
      }),
    }),
    GetAggregate: answer("GetAggregate", "getAggregate", {
      write: (aggregate) => ({ aggregate: aggregateMessage(aggregate) }),
    }),
    ListEvents: answer("ListEvents", "listEvents", {
      write: (records) => ({ events: records.map(eventMessage) }),
    }),
    VerifyAggregate: answer("VerifyAggregate", "verifyAggregate", { write: (report) => report }),
    ReadLog: answer("ReadLog", "readLog", {
      write: (records) => ({ events: records.map(eventMessage) }),
    }),
    Subscribe: calls.serverStream("Subscribe", subscribe(options, codecOf("Subscribe"))),
    AppendStream: calls.duplex("AppendStream", appendStream(options, codecOf("AppendStream"))),
  };
}

/** The message of a list that grew too large; cut short it would look like the last page. */
function sized(message: Buffer): Buffer {
  if (message.length <= limits.grpc_message_bytes_max) return message;
  throw tooLarge(
    "the answer is too large for one message of gRPC; ask for fewer rows, or over REST",
    {
      bytes: message.length,
      limit: limits.grpc_message_bytes_max,
    },
  );
}
