// One page, bounded in bytes as well as in rows. A storage may give fewer rows than asked for where
// they are large, and rows may be there that are not to be shown, so it is read on until the page
// is full or nothing is left.

import { tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { nextTurn } from "./turns.ts";

export interface Reading<Row, Shown> {
  /** How many rows the page may have. */
  readonly limit: number;
  /** How many that could be shown are passed over. */
  readonly skip: number;
  /** Whether to find out if there is more behind a full page. */
  readonly peek: boolean;
  /** Up to so many rows behind `last`, or from the beginning; none only at the end. */
  readonly read: (last: Row | undefined, rows: number) => Promise<Row[]>;
  /** What is shown of a row; undefined where nobody is to see it. */
  readonly show: (row: Row) => Shown | undefined | Promise<Shown | undefined>;
  readonly bytes: (shown: Shown) => number;
}

/**
 * Throws `too_large` where the rows would not fit into memory: a page that silently ended early
 * would make a client that counts rows lose events.
 */
export async function readPage<Row, Shown>(
  reading: Reading<Row, Shown>,
): Promise<{ shown: Shown[]; more: boolean }> {
  const { limit, peek } = reading;
  const shown: Shown[] = [];
  let { skip } = reading;
  let bytes = 0;
  let [looked, leftOut] = [0, 0];
  for (let last: Row | undefined; limit > 0;) {
    const wanted = skip + limit - shown.length + (peek ? 1 : 0);
    const read = await reading.read(last, rowsFor(wanted, { looked, leftOut }));
    if (read.length === 0) break;
    looked += read.length;
    for (const row of read) {
      const one = await reading.show(row);
      if (one === undefined) leftOut++;
      else if (skip > 0) skip--;
      else if (shown.length === limit) return { shown, more: true };
      else {
        shown.push(one);
        bytes += reading.bytes(one);
        if (bytes > limits.page_bytes_max) throw pageTooLarge({ rows: shown.length, bytes });
      }
      if (shown.length === limit && !peek) return { shown, more: false };
    }
    last = read.at(-1);
    await nextTurn();
  }
  return { shown, more: false };
}

/**
 * As many rows as it takes if as large a part of them is left out as so far, and some more, so that
 * a page seldom needs a third reading.
 */
function rowsFor(wanted: number, past: { looked: number; leftOut: number }): number {
  const { looked, leftOut } = past;
  const likely = leftOut === 0 ? wanted : (1.25 * wanted * looked) / (looked - leftOut) + 8;
  return Math.min(Math.ceil(likely), limits.scan_rows_max);
}

const pageTooLarge = (page: { rows: number; bytes: number }) =>
  tooLarge(`the page is above ${limits.page_bytes_max} bytes; ask for fewer rows with take`, page);
