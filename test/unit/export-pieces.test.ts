// How an export writes: in pieces of about 64 KiB, whatever the rows are like, and in a time that
// grows with what there is to write.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { csvText } from "../../src/cli/export/csv.ts";
import { jsonText } from "../../src/cli/export/json.ts";
import type { Aggregate } from "../../src/model/aggregate.ts";
import { limits } from "../../src/model/limits.ts";
import { aggregate, pagesFrom } from "../support/export.ts";
import { tempDir } from "../support/temp.ts";

const mib = 2 ** 20;

async function* csv(list: Aggregate[], written: (rows: number) => void = () => {}) {
  using dir = tempDir();
  const table = { aggregate_type: "a", batches: pagesFrom(list) };
  yield* csvText(table, { spool: join(dir.path, "spool"), written });
}

const json = (list: Aggregate[]) => jsonText(pagesFrom(list), { pretty: false });

/** The characters of the longest piece, of all, and how many lines there are. */
async function measure(pieces: AsyncIterable<string>) {
  let [longest, all, lines] = [0, 0, 0];
  for await (const piece of pieces) {
    longest = Math.max(longest, piece.length);
    all += piece.length;
    lines += piece.split("\n").length - 1;
  }
  return { longest, all, lines };
}

test("a few short rows of very many columns are not written at once", async () => {
  const keys = Array.from({ length: limits.export_columns_max }, (_, index) => [`k${index}`, ""]);
  const wide = aggregate("a", "0", Object.fromEntries(keys));
  const empty = Array.from({ length: 500 }, (_, index) => aggregate("a", `${index + 1}`, {}));
  let told = 0;
  const { longest, all, lines } = await measure(csv([wide, ...empty], (rows) => (told += rows)));
  expect(all).toBeGreaterThan(7 * mib);
  // The column names alone are more than a piece.
  expect(longest).toBeLessThan(0.1 * mib);
  expect({ lines, told }).toEqual({ lines: 502, told: 501 });
});

test("a page of large states is not written at once", async () => {
  const text = "x".repeat(50_000);
  const list = Array.from({ length: 200 }, (_, index) => aggregate("a", `${index}`, { text }));
  for (const pieces of [csv(list), json(list)]) {
    const { longest, all } = await measure(pieces);
    expect(all).toBeGreaterThan(9 * mib);
    expect(longest).toBeLessThan(0.2 * mib);
  }
});

test("many short rows are written together", async () => {
  const list = Array.from({ length: 20_000 }, (_, index) => aggregate("a", `${index}`, { x: "1" }));
  let pieces = 0;
  for await (const _piece of csv(list)) pieces++;
  expect(pieces).toBeLessThan(5);
});

test("a row 16 times as large takes about 16 times as long, not 256 times", async () => {
  const rowOf = (chars: number) => [aggregate("a", "1", { text: "x".repeat(chars) })];
  const timed = async (list: Aggregate[]) => {
    const started = performance.now();
    await measure(csv(list));
    return performance.now() - started;
  };
  const [small, large] = [rowOf(2 * mib), rowOf(32 * mib)];
  const ratios: number[] = [];
  for (let round = 0; round < 3; round++) {
    const [few, many] = [await timed(small), await timed(large)];
    ratios.push(many / few);
  }
  // Reading the text again with each chunk gave 45 to 90.
  expect(Math.min(...ratios)).toBeLessThan(35);
}, 60_000);
