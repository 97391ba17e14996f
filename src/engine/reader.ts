// One page, bounded in bytes as well as in rows. A storage may give fewer rows than asked for where
// they are large, so a page is read until it is full or nothing is left.

import { tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";

/**
 * Up to `limit` rows; `read` gives the ones behind `last`. Throws `too_large` where they would not
 * fit into memory: a page that silently ended early would make a client that counts rows lose
 * events.
 */
export async function readPage<Row>(page: {
  limit: number;
  read: (last: Row | undefined, rows: number) => Promise<Row[]>;
  bytes: (row: Row) => number;
}): Promise<Row[]> {
  const rows: Row[] = [];
  let bytes = 0;
  while (rows.length < page.limit) {
    const read = await page.read(rows.at(-1), page.limit - rows.length);
    if (read.length === 0) break;
    for (const row of read) bytes += page.bytes(row);
    rows.push(...read);
    if (bytes > limits.page_bytes_max) {
      throw tooLarge(
        `the page is above ${limits.page_bytes_max} bytes; ask for fewer rows with take`,
        {
          rows: rows.length,
          bytes,
        },
      );
    }
  }
  return rows;
}
