// One page of events, bounded in bytes as well as in rows: payloads may be large, so rows are read a few at a
// time until the page is full.

import { tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";

/** First read of a page: enough for most requests, little even with the largest payloads. */
const firstRows = 64;

/**
 * Up to `limit` rows after ordinal `after`. Throws `too_large` where they would not fit into memory: a page that
 * silently ended early would make a client that counts rows lose events.
 */
export async function readPage<Row>(page: {
  after: number;
  limit: number;
  read: (after: number, rows: number) => Promise<Row[]>;
  ordinal: (row: Row) => number;
  bytes: (row: Row) => number;
}): Promise<Row[]> {
  const rows: Row[] = [];
  let bytes = 0;
  let { after } = page;
  let chunk = firstRows;
  while (rows.length < page.limit) {
    const asked = Math.min(chunk, page.limit - rows.length);
    const read = await page.read(after, asked);
    for (const row of read) {
      bytes += page.bytes(row);
      after = page.ordinal(row);
    }
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
    if (read.length < asked) break;
    // The rows seen so far tell how many more are safe to read at once.
    chunk = Math.max(
      1,
      Math.min(
        limits.scan_rows_max,
        Math.floor(limits.page_bytes_max / 4 / (bytes / rows.length + 1)),
      ),
    );
  }
  return rows;
}
