// Two nodes side by side: the aggregates in which they differ, in key order, page by page, so that
// a million of them take no more memory than a thousand.

import type { Ask } from "../api/dbx.ts";
import type { Output } from "../api/operations.ts";
import { limits } from "../model/limits.ts";
import { compareKeys, compareUtf8, type StreamKey } from "../model/stream.ts";

export type NodePosition = Output<"listPositions">[number];

/** One aggregate on both; null where it is not there. At least one of them is. */
export interface Pair {
  readonly key: StreamKey;
  readonly source: NodePosition | null;
  readonly target: NodePosition | null;
}

/** Which aggregates are meant: of a type all or one; an empty list means every aggregate. */
export type SyncSelection = readonly { readonly type: string; readonly id?: string }[];

/**
 * The pairs that are not equal: another version, root, flag or erasure. The signal ends it between
 * two pages.
 */
export async function* differences(
  nodes: { readonly source: Ask; readonly target: Ask },
  selection: SyncSelection,
  signal: AbortSignal,
): AsyncGenerator<Pair, void> {
  for (const unit of selection.length === 0 ? [{}] : inOrder(selection)) {
    const source = positionsOf(nodes.source, unit, signal);
    const target = positionsOf(nodes.target, unit, signal);
    let left = await source.next();
    let right = await target.next();
    while (!left.done || !right.done) {
      const order = left.done ? 1 : right.done ? -1 : compareKeys(left.value, right.value);
      const pair: Pair = {
        key: keyOf(order <= 0 && !left.done ? left.value : right.value),
        source: order <= 0 && !left.done ? left.value : null,
        target: order >= 0 && !right.done ? right.value : null,
      };
      if (!isEqual(pair)) yield pair;
      if (order <= 0) left = await source.next();
      if (order >= 0) right = await target.next();
    }
  }
}

const keyOf = (position: StreamKey | void): StreamKey => ({
  aggregate_type: position?.aggregate_type ?? "",
  aggregate_id: position?.aggregate_id ?? "",
});

const isEqual = ({ source, target }: Pair): boolean =>
  source?.version === target?.version &&
  source?.merkle_root === target?.merkle_root &&
  source?.archived === target?.archived;

async function* positionsOf(
  ask: Ask,
  { type, id }: { readonly type?: string; readonly id?: string },
  signal: AbortSignal,
): AsyncGenerator<NodePosition, void> {
  let after: StreamKey | null = null;
  for (;;) {
    signal.throwIfAborted();
    const page: NodePosition[] = await ask("listPositions", {
      ...{ after, take: limits.position_rows_max },
      ...(type === undefined ? {} : { type }),
      ...(id === undefined ? {} : { aggregate_id: id }),
    });
    const last = page.at(-1);
    if (last === undefined) return;
    yield* page;
    if (id !== undefined) return;
    after = { aggregate_type: last.aggregate_type, aggregate_id: last.aggregate_id };
  }
}

/** Each once, in key order; where instances of a type are named, they alone are meant. */
function inOrder(selection: SyncSelection): SyncSelection {
  const named = new Set(selection.flatMap(({ type, id }) => (id === undefined ? [] : [type])));
  const units = new Map<string, { type: string; id?: string }>();
  for (const { type, id } of selection) {
    if (id === undefined && named.has(type)) continue;
    units.set(JSON.stringify([type, id]), id === undefined ? { type } : { type, id });
  }
  return [...units.values()].sort(
    (left, right) =>
      compareUtf8(left.type, right.type) || compareUtf8(left.id ?? "", right.id ?? ""),
  );
}
