// Events on their way to a plugin, as a dispatcher would hand them over.

import { createHash } from "node:crypto";
import { canonicalize } from "../../src/model/canonical.ts";
import type { EventRecord } from "../../src/model/event.ts";
import type { PluginLimits } from "../../src/model/limits-plugins.ts";
import { limits } from "../../src/model/limits.ts";
import type { Emission, Emitter } from "../../src/plugins/emitter.ts";

/** What no fault, and no line that did not ask for it, may show. */
export const payloadMark = "PAYLOAD-MARK";

export function emission(sequence: number, over: Partial<EventRecord> = {}): Emission {
  const record: EventRecord = {
    aggregate_type: "patient",
    aggregate_id: "p-001",
    event_type: "patient-updated",
    payload: canonicalize(JSON.stringify({ mark: payloadMark, number: sequence })),
    metadata: {
      event_id: `00000000-0000-4000-8000-${String(sequence).padStart(12, "0")}`,
      created_at: "2024-12-01T17:22:43.512345Z",
      issued_by: { group: "admin", user: "jane" },
    },
    version: sequence,
    hash: "ab".repeat(32),
    merkle_root: "cd".repeat(32),
    position: sequence,
    ...over,
  };
  const digest = createHash("sha256").update(String(sequence)).digest();
  return {
    record,
    json: JSON.stringify(record),
    body: { salt: digest.subarray(0, 16), content_digest: digest },
    sequence,
    state: () => Promise.reject(new Error("these kinds ask for no state")),
    before: async () => [],
    schema: () => null,
  };
}

export const emissions = (count: number, { first = 1 } = {}): Emission[] =>
  Array.from({ length: count }, (_, index) => emission(first + index));

/** Shorter times than real ones, where a test waits for one to pass. */
export const hasty: PluginLimits = {
  ...limits,
  plugin_connect_ms: 1_000,
  plugin_request_ms: 400,
  plugin_stall_ms: 400,
  plugin_grpc_ms: 1_500,
};

export const never = new AbortController().signal;

/** Delivers until all has arrived, as a dispatcher does; throws after `attempts` faults. */
export async function deliverAll(
  emitter: Emitter,
  all: readonly Emission[],
  { attempts }: { attempts: number },
): Promise<string[]> {
  const faults: string[] = [];
  for (let start = 0; start < all.length;) {
    const events = all.slice(start, start + emitter.events_max);
    const { delivered, fault } = await emitter.deliver(events, never);
    start += delivered;
    if (fault !== null) faults.push(fault.message);
    if (faults.length > attempts) throw new Error(faults.join("; "));
  }
  return faults;
}

/** What was seen, each once, where it was first seen. */
export const firstSeen = (sequence: readonly number[]): number[] => [...new Set(sequence)];
