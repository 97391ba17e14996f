// The gRPC surface: a server of grpc-js over the services of proto/dbx.proto.

import type { SurfaceOptions } from "../surface.ts";

export interface Grpc {
  /**
   * Listens on an address as grpc-js writes it (`127.0.0.1:7071`, `unix:/path`). Out: the port, 0
   * for a path. Rejects with `unavailable` or `invalid_argument` when it cannot.
   */
  readonly listen: (address: string) => Promise<number>;
  /** Takes no more calls, ends streams, lets unary calls finish for `drain_ms` at most. */
  readonly stop: () => Promise<void>;
}

export function createGrpc(_options: SurfaceOptions): Grpc {
  return { listen: async () => 0, stop: async () => {} };
}
