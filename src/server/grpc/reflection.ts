// Server reflection: the services as clients without a file learn them (grpcurl, Postman). Open
// without a token, because the contracts are public.

import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Message } from "../../wire/codec.ts";
import type { Contract } from "../../wire/contract.ts";
import type { Calls } from "./calls.ts";
import { send } from "./outlet.ts";

export function reflectionService(
  reflect: (request: Message) => object,
  { calls, contract }: { calls: Calls; contract: Contract },
): UntypedServiceImplementation {
  const [method] = contract.methods;
  if (method === undefined) throw new Error("the reflection service has a call");
  const { request, response } = method;
  return {
    ServerReflectionInfo: calls.duplex(
      "reflection.ServerReflectionInfo",
      async (call, { gone, incoming }) => {
        const { promise: failed, reject } = Promise.withResolvers<never>();
        incoming.onFault(({ thrown }) => reject(thrown));
        const answerAll = async (): Promise<void> => {
          // One question at a time: the next one is read when the answer has been taken. Ending the
          // loop must not end the call, which has its status still to send.
          for await (const question of call.iterator({ destroyOnReturn: false })) {
            await send(call, [response.encode(reflect(request.decode(question)))], gone);
            incoming.release();
          }
        };
        // Whichever of the two comes second is heard by nobody.
        await Promise.race([answerAll(), failed]);
      },
      "open",
    ),
  };
}
