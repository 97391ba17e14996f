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

const chunk_bytes = 65_536;

/**
 * The rows of such a file as lines, as many at a time as a chunk of it holds. `order` says where
 * the cells of each place go.
 */
export async function* readLines(path: string, order: readonly number[]): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const empty = Array.from(order, () => "");
  let text = "";
  for await (const bytes of createReadStream(path, { highWaterMark: chunk_bytes })) {
    text += decoder.decode(bytes, { stream: true });
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const cells = [...empty];
      const end = readRow(text, start, (place, cell) => (cells[order[place] ?? 0] = cell));
      if (end === null) break;
      lines.push(cells.join(","));
      start = end;
    }
    text = text.slice(start);
    if (lines.length > 0) yield lines;
  }
  assert(text === "", "a spool ends with a whole row");
}

/** Where the row that begins at `start` ends; null where it is not there as a whole. */
function readRow(
  text: string,
  start: number,
  put: (place: number, text: string) => void,
): number | null {
  const head = text.indexOf("\n", start);
  if (head === -1) return null;
  const numbers = text.slice(start, head).split(",");
  let end = head + 1;
  for (let index = 0; index < numbers.length; index += 2) {
    const from = end;
    end += Number(numbers[index + 1]);
    put(Number(numbers[index]), text.slice(from, end));
  }
  return end > text.length ? null : end;
}
