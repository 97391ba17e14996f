// Reading only what a token's scope covers: aggregates one by one or type by type instead of the
// whole store, and of the log one aggregate where there is but one.

import type { Actor, Scope, ScopeEntry } from "../model/actor.ts";
import type { StreamHead } from "../model/aggregate.ts";
import { compareKeys, compareUtf8, keyText, type StreamKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { Selection } from "./log-reader.ts";

/** Heads above `after` in key order, of one type or of all; none only at the end. */
export type ReadHeads = (options: {
  aggregate_type: string | null;
  after: StreamKey | null;
  limit: number;
}) => Promise<StreamHead[]>;

/** Those of the scope, and no others. */
export function readHeadsOf(storage: Storage, { scope }: Pick<Actor, "scope">): ReadHeads {
  if (scope === null) return (options) => storage.readHeads({ ...options, skip: 0 });
  const entries = inOrder(scope);
  return async ({ aggregate_type, after, limit }) => {
    const heads: StreamHead[] = [];
    for (const { aggregate_type: type, aggregate_id } of entries) {
      if (aggregate_type !== null && aggregate_type !== type) continue;
      if (aggregate_id === undefined) {
        if (after !== null && compareUtf8(after.aggregate_type, type) > 0) continue;
        heads.push(...(await storage.readHeads({ aggregate_type: type, after, skip: 0, limit })));
        // What is left of the type comes with the next page.
        if (heads.length > 0) return heads;
        continue;
      }
      const key = { aggregate_type: type, aggregate_id };
      if (after !== null && compareKeys(key, after) <= 0) continue;
      const head = await storage.readHead(key);
      if (head !== undefined) heads.push(head);
      if (heads.length === limit) return heads;
    }
    return heads;
  };
}

/** In key order, each once, without aggregates of types that are there as a whole. */
function inOrder(scope: readonly ScopeEntry[]): ScopeEntry[] {
  const whole = new Set<string>();
  const single = new Map<string, StreamKey>();
  for (const { aggregate_type, aggregate_id } of scope) {
    if (aggregate_id === undefined) whole.add(aggregate_type);
    else single.set(keyText({ aggregate_type, aggregate_id }), { aggregate_type, aggregate_id });
  }
  const entries: ScopeEntry[] = [...whole].map((aggregate_type) => ({ aggregate_type }));
  entries.push(...[...single.values()].filter((key) => !whole.has(key.aggregate_type)));
  return entries.sort((left, right) =>
    compareKeys({ aggregate_id: "", ...left }, { aggregate_id: "", ...right }),
  );
}

/**
 * What has to be looked at of the log: less than is asked for where the scope is one aggregate or
 * one type. Whether an event is covered is still to be asked for each.
 */
export function narrowed(selection: Selection, scope: Scope): Selection {
  const [only, ...others] = scope ?? [];
  if (only === undefined || others.length > 0) return selection;
  const { aggregate_type, aggregate_id } = selection;
  if (aggregate_type !== undefined && aggregate_type !== only.aggregate_type) return selection;
  if (aggregate_id !== undefined) return selection;
  return { ...selection, ...only };
}
