// One export: tables in, finished files out, or nothing at all. Which aggregates there are comes
// from outside, so it knows neither server nor store.

import { join } from "node:path";
import type { Aggregate } from "../../model/aggregate.ts";
import { DbxError, invalidArgument, unavailable } from "../../model/error.ts";
import { csvText } from "./csv.ts";
import { openArchive, openFolder } from "./files.ts";
import { jsonText } from "./json.ts";
import { createFileNames } from "./names.ts";
import { pathsOf, targetsOf, type Format, type Place } from "./place.ts";
import { openScratch, publish } from "./scratch.ts";
import { tablesOf, type Table } from "./tables.ts";

export interface ExportJob {
  /** Ordered by type, then id. */
  readonly pages: AsyncIterable<readonly Aggregate[]>;
  readonly place: Place;
  readonly format: Format;
  readonly pretty: boolean;
  readonly zip: boolean;
  /** Told how many aggregates are done; half of one where half of its work is. */
  readonly advance: (aggregates: number) => void;
}

export interface ExportedTable {
  readonly aggregate_type: string;
  readonly aggregates: number;
  /** The file's path; in an archive the entry's name. */
  readonly file: string;
}

/**
 * Memory stays the same however much there is. Throws `invalid_argument` where the place does not
 * fit what is found, `unavailable` where the disk fails; the place is then as it was.
 */
export async function exportTables(job: ExportJob): Promise<ExportedTable[]> {
  try {
    return await writeTables(job);
  } catch (error) {
    throw asDbxError(error, job.place);
  }
}

async function writeTables(job: ExportJob): Promise<ExportedTable[]> {
  const { place, format, zip } = job;
  using scratch = openScratch(place.workplace);
  await using container = zip
    ? await openArchive(join(scratch.path, "archive"))
    : openFolder(scratch.path);
  const nameOf = createFileNames();
  const tables: ExportedTable[] = [];
  for await (const { aggregate_type, batches } of tablesOf(job.pages)) {
    if (tables.length === 1 && !zip && place.holds === "one") throw tooManyTypes(place);
    const file = `${nameOf(aggregate_type)}.${format}`;
    let aggregates = 0;
    const table = { aggregate_type, batches: seen(batches, (rows) => (aggregates += rows)) };
    await container.put(file, textOf(job, table, join(scratch.path, "spool")));
    tables.push({ aggregate_type, aggregates, file });
  }
  if (tables.length === 0) return [];
  const written = await container.finish();
  const names = tables.map(({ file }) => file);
  const paths = zip ? [place.path] : pathsOf(place, names);
  const targets = targetsOf(place, paths);
  await publish(written.map((from, index) => ({ from, to: targets[index] ?? place.path })));
  return zip ? tables : tables.map((table, index) => ({ ...table, file: paths[index] ?? "" }));
}

function textOf(job: ExportJob, table: Table, spool: string): AsyncIterable<string> {
  const { format, pretty, advance } = job;
  if (format === "json") return jsonText(seen(table.batches, advance), { pretty });
  const half = (rows: number) => advance(rows / 2);
  const batches = seen(table.batches, half);
  return csvText({ ...table, batches }, { spool, written: half });
}

/** The same batches; `see` is told the length of each when the next one is asked for. */
async function* seen(
  batches: Table["batches"],
  see: (rows: number) => void,
): AsyncGenerator<readonly Aggregate[]> {
  for await (const batch of batches) {
    yield batch;
    see(batch.length);
  }
}

const tooManyTypes = ({ path }: Place) =>
  invalidArgument("output path must be a directory when exporting multiple aggregate types", {
    flag: "--output",
    file: path,
  });

/** Reasons that lie with the path that was given; all others lie with the disk. */
const pathReasons = ["EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG"];

function asDbxError(error: unknown, { path }: Place): unknown {
  if (error instanceof DbxError || !(error instanceof Error) || !("code" in error)) return error;
  const reason = String(error.code);
  const details = { flag: "--output", file: path, reason };
  return pathReasons.includes(reason)
    ? invalidArgument(`--output: cannot write ${path} (${reason})`, details, { cause: error })
    : unavailable(`cannot write ${path} (${reason}); nothing was exported`, details, {
        cause: error,
      });
}
