// How many connections the descriptors of this process allow. Bun ends a process that has none
// left for what it needs itself, so the port must stay below that whatever its clients do.

import { readFileSync } from "node:fs";
import { limits } from "../model/limits.ts";

/** The client's, and both ends of the connection to the server behind the port. */
const descriptors_each = 3;
/** For the store, the log, exports and the listener of the command line; half of a small limit. */
const reserve_max = 256;

/**
 * In: the text of `/proc/self/limits` (proc(5)), empty where there is none. Out: how many
 * connections the shared port takes, at least one and at most `connections_max`.
 */
export function connectionsWithin(processLimits: string): number {
  const soft = /^Max open files +(\d+) /m.exec(processLimits)?.[1];
  if (soft === undefined) return limits.connections_max;
  const descriptors = Number(soft);
  const free = descriptors - Math.min(reserve_max, Math.ceil(descriptors / 2));
  return Math.max(1, Math.min(limits.connections_max, Math.floor(free / descriptors_each)));
}

/** The text for `connectionsWithin`. Bun has raised the limit as far as it may by then. */
export function readProcessLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    // Only Linux tells, and not in every sandbox.
    return "";
  }
}
