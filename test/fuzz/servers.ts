// The servers of one run: one for each place that the targets of the run need.

import { startFuzzServer, type FuzzServer } from "./server.ts";
import type { Target } from "./target.ts";

export interface FuzzServers extends AsyncDisposable {
  readonly all: readonly FuzzServer[];
  readonly of: (target: Target) => FuzzServer;
}

export async function startFuzzServers(
  targets: readonly Target[],
  { sealed }: { sealed: boolean },
): Promise<FuzzServers> {
  const servers = new Map<Target["place"], FuzzServer>();
  for (const place of new Set(targets.map((target) => target.place))) {
    servers.set(place, await startFuzzServer({ place, sealed }));
  }
  return {
    all: [...servers.values()],
    of({ place }) {
      const server = servers.get(place);
      if (server === undefined) throw new Error(`there is no server ${place}`);
      return server;
    },
    async [Symbol.asyncDispose]() {
      for (const server of servers.values()) await server[Symbol.asyncDispose]();
    },
  };
}
