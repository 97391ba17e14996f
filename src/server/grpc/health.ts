// grpc.health.v1.Health: how dbx is, for load balancers and orchestrators. Open without a token,
// because it tells nothing else.

import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { notFound, unavailable } from "../../model/error.ts";
import type { Contract } from "../../wire/contract.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { Calls } from "./calls.ts";
import { send } from "./outlet.ts";

const serving = 1;
const notServing = 2;
const serviceUnknown = 3;

export function healthService(
  { draining, stopping }: SurfaceOptions,
  options: { calls: Calls; contract: Contract; services: readonly string[] },
): UntypedServiceImplementation {
  const { calls, contract, services } = options;
  const [check] = contract.methods;
  if (check === undefined) throw new Error("the health service has calls");
  const { request, response } = check;
  const known = new Set(["", ...services]);
  const serviceOf = (message: Buffer): string => String(request.decode(message)["service"] ?? "");
  const now = (): number => (draining() ? notServing : serving);
  return {
    Check: calls.unary(
      "health.Check",
      async (message) => {
        const service = serviceOf(message);
        if (!known.has(service)) throw notFound("no such service", { service });
        return response.encode({ status: now() });
      },
      "open",
    ),
    Watch: calls.serverStream(
      "health.Watch",
      async (call, { gone }) => {
        const isKnown = known.has(serviceOf(call.request));
        const first = isKnown ? now() : serviceUnknown;
        await send(call, [response.encode({ status: first })], gone);
        await aborted(AbortSignal.any([gone, stopping]));
        if (gone.aborted) return;
        if (isKnown) await send(call, [response.encode({ status: notServing })], gone);
        throw unavailable("dbx is stopping");
      },
      "open",
    ),
  };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
