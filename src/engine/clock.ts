// The time of appends: the system's clock, but never before a time this node has assigned already.

import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";

/** Starts at the time of the last event of the log, whatever the system's clock says. */
export async function createClock(storage: Storage, system: System): Promise<() => string> {
  const { frontier } = await storage.readLogHead();
  const [newest] =
    frontier.size === 0 ? [] : await storage.readLog({ after: frontier.size - 1, limit: 1 });
  let last = newest?.created_at ?? "";
  return () => {
    const now = system.now();
    if (now > last) last = now;
    return last;
  };
}
