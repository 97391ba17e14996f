// The replication service: ApplyEvents takes over what another node, or a plugin of the kind grpc
// there, hands on. Each batch is one operation; the answer names the last one.

import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { call } from "../../api/call.ts";
import { tooLarge, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Codec } from "../../wire/codec.ts";
import type { Contract } from "../../wire/contract.ts";
import { foreignInput } from "../../wire/replication.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { Asked, Calls, ClientStream } from "./calls.ts";
import type { Fault } from "./intake.ts";

export function replicationService(
  options: SurfaceOptions,
  { calls, contract }: { calls: Calls; contract: Contract },
): UntypedServiceImplementation {
  const method = contract.methods.find(({ name }) => name === "ApplyEvents");
  if (method === undefined) throw new Error("the contract has the call ApplyEvents");
  return { ApplyEvents: calls.clientStream("ApplyEvents", applyEvents(options, method)) };
}

/**
 * One batch after the other, the next read when the last one is durable. A refusal ends the call;
 * what came before it stays, and is passed over when the sender repeats it.
 */
function applyEvents(
  options: SurfaceOptions,
  { request, response }: { request: Codec; response: Codec },
): (call: ClientStream, asked: Asked) => Promise<Buffer> {
  return async (stream, asked) => {
    const { gone, incoming } = asked;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const taken = { batches: 0, sequence: 0, working: Promise.resolve() };
    let broken: Fault | null = null;
    // What came before it is taken first.
    const breakOff = (): void => {
      if (broken !== null && taken.batches >= broken.after) reject(broken.thrown);
    };
    incoming.onFault((fault) => {
      broken = fault;
      breakOff();
    });
    const take = async (bytes: Buffer): Promise<void> => {
      taken.sequence = await applyBatch(options, { request, bytes, asked });
      taken.batches++;
      incoming.release();
      breakOff();
      stream.resume();
    };
    stream.on("data", (bytes: Buffer) => {
      stream.pause();
      taken.working = take(bytes);
      taken.working.catch(reject);
    });
    stream.on("end", () => void taken.working.then(resolve, reject));
    gone.addEventListener("abort", () => reject(unavailable("the sender has gone")));
    // What is being written is waited for, so that a later stop finds nothing half done.
    const stop = (): void => {
      void taken.working.then(() => reject(unavailable("dbx is stopping")), reject);
    };
    options.stopping.addEventListener("abort", stop);
    try {
      await promise;
    } finally {
      options.stopping.removeEventListener("abort", stop);
    }
    return response.encode({ applied_sequence: taken.sequence });
  };
}

/** Out: the sequence of the batch. */
async function applyBatch(
  { dbx, rates }: SurfaceOptions,
  { request, bytes, asked }: { request: Codec; bytes: Buffer; asked: Asked },
): Promise<number> {
  const most = limits.import_events_max;
  const messages = request.decodeList(bytes, most + 1);
  if (messages.length > most) {
    throw tooLarge(`a batch must have at most ${most} events`, { path: "/events" });
  }
  const { sequence } = request.decode(bytes);
  const actor = asked.actorOf();
  if (messages.length > 0) {
    rates.token(actor, messages.length);
    const input = { events: messages.map(foreignInput) };
    await call(dbx, { operation: "importEvents", input, actor });
  }
  return Number(sequence ?? 0);
}
