// Aggregates of one type as a JSON array. Members are spliced, so that every number stays as it is
// written; each compact row is canonical JSON.

import type { Aggregate } from "../../model/aggregate.ts";
import { splitMembers } from "../../model/canonical.ts";
import { pretty } from "../pretty.ts";
import { columnOf, idColumn } from "./columns.ts";
import { piecesOf } from "./pieces.ts";

/** The text of the array, piece by piece, with a newline at its end. */
export async function* jsonText(
  batches: AsyncIterable<readonly Aggregate[]>,
  layout: { pretty: boolean },
): AsyncGenerator<string> {
  const line = layout.pretty ? "\n  " : "";
  const laidOut = layout.pretty ? (row: string) => pretty(row, "  ") : (row: string) => row;
  let before = `[${line}`;
  const textOf = (aggregate: Aggregate) => {
    const text = before + laidOut(rowOf(aggregate));
    before = `,${line}`;
    return text;
  };
  for await (const batch of batches) yield* piecesOf(batch, textOf);
  yield layout.pretty ? "\n]\n" : "]\n";
}

function rowOf({ aggregate_id, state }: Aggregate): string {
  const members = splitMembers(state).map(
    ([key, value]) => [columnOf(key), String(value)] as const,
  );
  const all = [...members, [idColumn, JSON.stringify(aggregate_id)] as const];
  // Canonical order is that of UTF-16 units, which is how JavaScript compares.
  all.sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${all.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(",")}}`;
}
