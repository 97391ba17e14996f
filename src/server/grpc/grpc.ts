// The gRPC surface: EventService, health and reflection over proto/*.proto, on an address of its
// own or behind the shared port.

import { assert } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { SurfaceOptions } from "../surface.ts";
import type { IntakeBounds } from "./intake.ts";
import type { GrpcListener } from "./listener.ts";

export interface Grpc {
  /**
   * Listens on an address as grpc-js writes it (`127.0.0.1:7071`, `unix:/path`). Out: the port, 0
   * for a path. Rejects with `unavailable` or `invalid_argument` when it cannot.
   */
  readonly listen: (address: string) => Promise<number>;
  /** Takes no more calls, ends streams, lets unary calls finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

/** Tests hand in smaller bounds. */
export function createGrpc(options: SurfaceOptions, bounds: IntakeBounds = limits): Grpc {
  let listener: GrpcListener | undefined;
  return {
    async listen(address) {
      assert(listener === undefined, "a gRPC server listens once");
      const { listenGrpc } = await import("./listener.ts");
      listener = await listenGrpc(options, { address, bounds });
      return listener.port;
    },
    stop: async () => listener?.stop(),
  };
}
