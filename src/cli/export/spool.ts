// Rows of cells on their way through a file: a line of places and lengths, then the texts one
// after the other. Texts may hold anything, so their lengths, not separators, tell where they end.

import { createReadStream } from "node:fs";
import { assert } from "../../model/error.ts";

export interface Cell {
  /** Number of the column, in the order in which columns were first met. */
  readonly place: number;
  readonly text: string;
}

/** One row, as it is written. */
export const rowText = (cells: readonly Cell[]): string =>
  `${cells.map(({ place, text }) => `${place},${text.length}`).join(",")}\n` +
  cells.map(({ text }) => text).join("");

const chunk_bytes = 1_048_576;

/** The rows of such a file, as many at a time as a chunk of it holds. */
export async function* readRows(path: string): AsyncGenerator<Cell[][]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for await (const bytes of createReadStream(path, { highWaterMark: chunk_bytes })) {
    text += decoder.decode(bytes, { stream: true });
    const rows: Cell[][] = [];
    let start = 0;
    for (let row = rowAt(text, start); row !== null; row = rowAt(text, start)) {
      rows.push(row.cells);
      start = row.end;
    }
    text = text.slice(start);
    yield rows;
  }
  assert(text === "", "a spool ends with a whole row");
}

/** The row that begins at `start`; null where it is not there as a whole. */
function rowAt(text: string, start: number): { cells: Cell[]; end: number } | null {
  const head = text.indexOf("\n", start);
  if (head === -1) return null;
  const numbers = text.slice(start, head).split(",").map(Number);
  let end = head + 1;
  const cells: Cell[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    const from = end;
    end += numbers[index + 1] ?? 0;
    cells.push({ place: numbers[index] ?? 0, text: text.slice(from, end) });
  }
  return end > text.length ? null : { cells, end };
}
