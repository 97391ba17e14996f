// `dbx aggregate export`: the state of aggregates as CSV or JSON files.

import { Type } from "@sinclair/typebox";
import { DbxError, invalidArgument } from "../../model/error.ts";
import { command } from "../command.ts";
import { loadConfiguration } from "../configuration.ts";
import { exportTables, type ExportedTable } from "../export/export.ts";
import { fileName } from "../export/names.ts";
import { placeOf, type Place } from "../export/place.ts";
import { pagesOf } from "../export/tables.ts";
import type { Output } from "../output.ts";
import { createMeter } from "../progress.ts";
import { withTarget, type Target } from "../target.ts";
import { callFlags, strict } from "./key-flags.ts";

const Flags = Type.Object(
  {
    aggregate: Type.Optional(
      Type.String({ hint: "type", member: "type", description: "The aggregates of this type." }),
    ),
    all: Type.Optional(Type.Boolean({ description: "The aggregates of all types." })),
    output: Type.String({ hint: "path", description: "The file or directory to write." }),
    format: Type.Optional(
      Type.Union([Type.Literal("csv"), Type.Literal("json")], {
        hint: "csv|json",
        description: "csv when missing.",
      }),
    ),
    zip: Type.Optional(Type.Boolean({ description: "Write one zip archive of the files." })),
    pretty: Type.Optional(Type.Boolean({ description: "Lay JSON out over several lines." })),
    at: Type.Optional(
      Type.String({
        hint: "time",
        description: "The states at this instant (RFC 3339) instead of the current ones.",
      }),
    ),
    token: callFlags.token,
    json: Type.Optional(Type.Boolean({ description: "Print what was written as JSON." })),
  },
  strict,
);

const about =
  "Writes one file per aggregate type, without metadata: a row per aggregate, sorted by id, archived\n" +
  "ones included. What schemas hide is written for admins only. Files have mode 0600. All is written\n" +
  "beside --output first, then checked and renamed, so a failed export changes nothing. A link stays a\n" +
  "link, and the file it names is replaced; a link to nothing, to another file system or into the data\n" +
  "directory is refused.\n" +
  "\n" +
  "--output is a directory if it is one, or if there are several types; for one type a new path is a\n" +
  "file if it ends in .csv or .json, as the format says; the other format's is refused. With --zip, a\n" +
  "path that is no directory gets the extension .zip. Characters of a type other than letters, digits,\n" +
  "_ and - become _ in its file's name; a type whose name is taken by then, or too long, has part of\n" +
  "its SHA-256 at the end.\n" +
  "\n" +
  "The column __aggregate_id comes first in CSV; the others are sorted by bytes. A state's own member\n" +
  "of that name, with or without more underscores before it, gets one underscore more. A member that an\n" +
  'aggregate lacks is an empty cell, an empty string is "". Objects and arrays are JSON text. Cells\n' +
  "(and column names) that a spreadsheet would take for a formula, because they begin with = + - @, a\n" +
  "tab or a carriage return and are no JSON number, get a ' in front, and so do those that begin with\n" +
  "'. Take one ' off each cell that begins with one, and every value is as it was.\n" +
  "\n" +
  "Appends go on meanwhile: an aggregate is written as it is when its turn comes. --at gives all of\n" +
  "them at one instant.";

export const exportCommand = command({
  needs: "files",
  summary: "Write the states of aggregates to CSV or JSON files.",
  about,
  flags: Flags,
  words: ["aggregate"],
  examples: [
    "dbx aggregate export person --output persons.csv",
    "dbx aggregate export --all --format json --pretty --output out",
    "dbx aggregate export --all --zip --output backup.zip --at 2024-12-01T00:00:00Z",
  ],
  run: async (flags, shell) => {
    const { aggregate: type, at, all = false, format = "csv", zip = false, pretty = false } = flags;
    const { output } = shell;
    refuseSelection({ type, all });
    const configuration = await loadConfiguration(shell, {});
    for (const warning of configuration.warnings) output.words(`warning: ${warning}`);
    const archive = zip ? `${type === undefined ? "aggregates" : fileName(type)}_${format}` : null;
    const { data_dir } = configuration.config;
    const place = placeOf({ output: flags.output, format, archive, data_dir });
    const selection = {
      ...(type === undefined ? {} : { type }),
      ...(at === undefined ? {} : { at }),
    };
    const target = { shell, configuration, access: "read", token: flags.token } as const;
    const tables = await withTarget(target, async ({ ask }) => {
      const total = all && at === undefined ? await countAggregates(ask) : null;
      using meter = createMeter(output, { total, unit: "aggregates" });
      const { advance } = meter;
      const pages = pagesOf((request) => ask("exportAggregates", request), selection);
      return await exportTables({ pages, place, format, pretty, zip, advance });
    });
    if (output.json) return output.jsonValue(summaryOf(tables, { place, format, zip }));
    return tell(tables, { output, place, format, zip, type });
  },
});

function refuseSelection({ type, all }: { type: string | undefined; all: boolean }): void {
  if (all && type !== undefined) {
    throw invalidArgument("aggregate name cannot be provided when using --all", { flag: "--all" });
  }
  if (!all && type === undefined) {
    throw invalidArgument("aggregate name must be provided unless --all is specified", {
      flag: "--aggregate",
    });
  }
}

/** For the bar only: null for those who may not know. */
async function countAggregates(ask: Target["ask"]): Promise<number | null> {
  try {
    return (await ask("serverStatus", {})).aggregates;
  } catch (error) {
    if (error instanceof DbxError && error.code === "permission_denied") return null;
    throw error;
  }
}

interface Told {
  readonly place: Place;
  readonly format: "csv" | "json";
  readonly zip: boolean;
}

const summaryOf = (tables: readonly ExportedTable[], { place, format, zip }: Told) => ({
  format,
  archive: zip && tables.length > 0 ? place.path : null,
  aggregates: tables.reduce((sum, { aggregates }) => sum + aggregates, 0),
  types: tables,
});

async function tell(
  tables: readonly ExportedTable[],
  { output, place, format, zip, type }: Told & { output: Output; type: string | undefined },
): Promise<void> {
  if (tables.length === 0) {
    return output.data(`no aggregates found${type === undefined ? "" : ` for '${type}'`}`);
  }
  const exported = `Exported ${tables.length} aggregate type(s)`;
  if (zip) return output.data(`${exported} to ${place.path} (zip archive)`);
  for (const { file } of tables) await output.data(`wrote ${file}`);
  return output.data(`${exported} in ${format.toUpperCase()} format`);
}
