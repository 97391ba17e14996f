// Rows of cells on their way through a file: a line of places and lengths, then the texts one
// after the other. Texts may hold anything, so their lengths, not separators, tell where they end.

import { createReadStream } from "node:fs";
import { assert } from "../../model/error.ts";
import { piece_chars } from "./pieces.ts";

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
 * The rows of such a file as lines, without their ends; as many at a time as fill a piece. `order`
 * says where the cells of each place go.
 */
export async function* readLines(path: string, order: readonly number[]): AsyncGenerator<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const cells = Array.from(order, () => "");
  let text = "";
  /** With fewer characters the next row is not whole. */
  let awaited = 1;
  let lines: string[] = [];
  let chars = 0;
  for await (const bytes of createReadStream(path, { highWaterMark: chunk_bytes })) {
    // To look into a text copies it if it has grown; that is done once a row, not once a chunk.
    text += decoder.decode(bytes, { stream: true });
    let start = 0;
    while (text.length - start >= awaited) {
      const head = headOf(text, start);
      // Heads are short: that of a row with every column may span a few chunks.
      awaited = head === null ? text.length - start + 1 : head.end - start;
      if (head === null || head.end > text.length) break;
      const line = lineOf(text, head, { order, cells });
      lines.push(line);
      chars += line.length + 1;
      start = head.end;
      awaited = 1;
      if (chars < piece_chars) continue;
      yield lines;
      lines = [];
      chars = 0;
    }
    text = text.slice(start);
  }
  assert(text === "", "a spool ends with a whole row");
  if (lines.length > 0) yield lines;
}

interface Head {
  /** Place and length of each cell. */
  readonly numbers: readonly number[];
  /** Where the texts begin. */
  readonly start: number;
  /** Where the row ends, in the text or beyond it. */
  readonly end: number;
}

/** Null where it is not there as a whole. */
function headOf(text: string, at: number): Head | null {
  const lineEnd = text.indexOf("\n", at);
  if (lineEnd === -1) return null;
  const numbers = text.slice(at, lineEnd).split(",").map(Number);
  let end = lineEnd + 1;
  for (let index = 1; index < numbers.length; index += 2) end += numbers[index] ?? 0;
  return { numbers, start: lineEnd + 1, end };
}

/** `cells` is written over, so that a wide table does not make an array for each row. */
function lineOf(
  text: string,
  { numbers, start }: Head,
  { order, cells }: { order: readonly number[]; cells: string[] },
): string {
  cells.fill("");
  let from = start;
  for (let index = 0; index < numbers.length; index += 2) {
    const end = from + (numbers[index + 1] ?? 0);
    cells[order[numbers[index] ?? 0] ?? 0] = text.slice(from, end);
    from = end;
  }
  return cells.join(",");
}
