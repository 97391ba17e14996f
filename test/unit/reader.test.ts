// How much is read for a page of which a part is not shown: about as much as it takes.

import { expect, test } from "bun:test";
import { readPage } from "../../src/engine/reader.ts";
import { limits } from "../../src/model/limits.ts";

/** Reads a page out of the numbers up to 100,000. */
async function pageOf(limit: number, shows: (row: number) => boolean) {
  const sizes: number[] = [];
  const { shown } = await readPage<number, number>({
    ...{ limit, skip: 0, peek: false, bytes: () => 1 },
    read: async (last = 0, rows) => {
      sizes.push(rows);
      const length = Math.min(rows, 100_000 - last);
      return Array.from({ length }, (_, index) => last + 1 + index);
    },
    show: (row) => (shows(row) ? row : undefined),
  });
  return { shown, sizes, read: sizes.reduce((sum, size) => sum + size, 0) };
}

test.each([
  { of: 10, shown: 10, read: 100 },
  { of: 10, shown: 9, read: 130 },
  { of: 10, shown: 5, read: 250 },
  { of: 10, shown: 1, read: 1_500 },
])("a page of 100 where $shown of $of rows are shown reads at most $read", async (each) => {
  const page = await pageOf(100, (row) => row % each.of < each.shown);

  expect(page.shown).toHaveLength(100);
  expect(page.read).toBeLessThanOrEqual(each.read);
});

test("where nothing is shown at first, it is read on in the largest pieces", async () => {
  const page = await pageOf(100, (row) => row > 50_000);

  expect(page.shown).toEqual(Array.from({ length: 100 }, (_, index) => 50_001 + index));
  expect(Math.max(...page.sizes)).toBe(limits.scan_rows_max);
  expect(page.sizes.length).toBeLessThan(60);
});
