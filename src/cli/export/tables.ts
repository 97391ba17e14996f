// The aggregates of a store as tables: one per type, each a stream of batches, from one pass over
// the pages of `exportAggregates`.

import type { Input, Output } from "../../api/operations.ts";
import type { Aggregate } from "../../model/aggregate.ts";
import { limits } from "../../model/limits.ts";
import { createPager } from "../pages.ts";

export interface Table {
  readonly aggregate_type: string;
  /** To be read to its end before the next table is asked for. */
  readonly batches: AsyncIterable<readonly Aggregate[]>;
}

type Request = Input<"exportAggregates">;
type Page = Output<"exportAggregates">;
type Ask = (request: Request) => Promise<Page>;
type Selection = Pick<Request, "type" | "at">;

/** The pages of an export. Each is asked for while the one before is written. */
export async function* pagesOf(
  ask: Ask,
  selection: Selection,
): AsyncGenerator<readonly Aggregate[]> {
  const pager = createPager();
  const read = (at: { cursor?: string }) =>
    pager(limits.scan_rows_max, (take) => ask({ ...selection, ...at, take }));
  let next: Promise<Page> | null = read({});
  while (next !== null) {
    const { aggregates, next_cursor }: Page = await next;
    next = next_cursor === null ? null : read({ cursor: next_cursor });
    // Where nobody comes for it any more, because writing failed, its failure means nothing.
    next?.catch(() => {});
    yield aggregates;
  }
}

/** Cuts pages where the type changes; they come in the order of types. */
export async function* tablesOf(pages: AsyncIterable<readonly Aggregate[]>): AsyncGenerator<Table> {
  const runs = runsOf(pages);
  try {
    let run = await runs.next();
    const batchesOf = async function* (type: string) {
      for (; run.done !== true && run.value[0] === type; run = await runs.next())
        yield run.value[1];
    };
    while (run.done !== true) {
      const [aggregate_type] = run.value;
      yield { aggregate_type, batches: batchesOf(aggregate_type) };
    }
  } finally {
    await runs.return(undefined);
  }
}

async function* runsOf(
  pages: AsyncIterable<readonly Aggregate[]>,
): AsyncGenerator<[type: string, aggregates: readonly Aggregate[]]> {
  for await (const page of pages) {
    for (let start = 0; start < page.length;) {
      const type = page[start]?.aggregate_type ?? "";
      const other = page.findIndex((each, index) => index > start && each.aggregate_type !== type);
      const end = other === -1 ? page.length : other;
      yield [type, page.slice(start, end)];
      start = end;
    }
  }
}
