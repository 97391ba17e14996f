// Aggregates of one type as CSV (RFC 4180, but lines end with `\n`). The columns are known only
// when every row has been seen, so the cells wait in a file (spool.ts), not in memory.

import { rm } from "node:fs/promises";
import { Type } from "@sinclair/typebox";
import { fromJson } from "../../api/json.ts";
import type { Aggregate } from "../../model/aggregate.ts";
import { splitMembers, type Canonical } from "../../model/canonical.ts";
import { tooLarge } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { columnOf, idColumn } from "./columns.ts";
import { writeFile } from "./files.ts";
import { piecesOf } from "./pieces.ts";
import { readLines, rowText, type Cell } from "./spool.ts";
import type { Table } from "./tables.ts";

interface CsvOptions {
  /** Where the cells may wait; nothing is there, before and after. */
  readonly spool: string;
  /** Told of rows that have been given out. */
  readonly written: (rows: number) => void;
}

/**
 * The text of the table, piece by piece. Throws `too_large`, naming the type, where there are more
 * columns than the bound.
 */
export async function* csvText(
  { aggregate_type, batches }: Table,
  { spool, written }: CsvOptions,
): AsyncGenerator<string> {
  const places = new Map([[idColumn, 0]]);
  const placeOf = (column: string): number => {
    const known = places.get(column);
    if (known !== undefined) return known;
    if (places.size > limits.export_columns_max) throw tooManyColumns(aggregate_type);
    places.set(column, places.size);
    return places.size - 1;
  };
  try {
    await writeFile(spool, rowTexts(batches, placeOf), { durable: false });
    const columns = [idColumn, ...[...places.keys()].slice(1).sort(compareBytes)];
    yield `${columns.map(csvCell).join(",")}\n`;

    const at = new Map(columns.map((column, index) => [column, index]));
    const order = [...places.keys()].map((column) => at.get(column) ?? 0);
    for await (const lines of readLines(spool, order)) {
      yield lines.map((line) => `${line}\n`).join("");
      written(lines.length);
    }
  } finally {
    await rm(spool, { force: true });
  }
}

async function* rowTexts(
  batches: Table["batches"],
  placeOf: (column: string) => number,
): AsyncGenerator<string> {
  for await (const batch of batches) {
    yield* piecesOf(batch, (aggregate) => rowText(cellsOf(aggregate, placeOf)));
  }
}

const cellsOf = (
  { aggregate_id, state }: Aggregate,
  placeOf: (column: string) => number,
): Cell[] => [
  { place: 0, text: csvCell(aggregate_id) },
  ...splitMembers(state).map(([key, value]) => ({
    place: placeOf(columnOf(key)),
    text: csvCell(textOf(value)),
  })),
];

/** A string as it is, everything else as its canonical JSON. */
const textOf = (value: Canonical): string =>
  value.startsWith('"') ? String(fromJson(Type.String(), value)) : value;

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * What a spreadsheet would run as a formula gets a `'` in front, and so does what begins with `'`
 * itself: whoever takes one `'` off every cell that begins with it has the values again.
 */
export function csvCell(value: string): string {
  const text = /^[=+\-@\t\r']/.test(value) && !jsonNumber.test(value) ? `'${value}` : value;
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const compareBytes = (left: string, right: string): number =>
  Buffer.compare(Buffer.from(left), Buffer.from(right));

const tooManyColumns = (aggregate_type: string) =>
  tooLarge(
    `aggregates of type ${JSON.stringify(aggregate_type)} have more than ` +
      `${limits.export_columns_max} different members, which is too many columns; ` +
      "--format json has no columns",
    { aggregate_type, export_columns_max: limits.export_columns_max },
  );
