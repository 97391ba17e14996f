// The processes of export.ts. `export`: the command line exports every aggregate of a data
// directory, with no server beside it. `copy`: the same bytes are read and written, durably, which
// no export can beat.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { runCommandLine } from "../../src/cli/cli.ts";
import { peakMemory } from "./machine.ts";

export type ExportJob =
  | {
      readonly what: "export";
      /** The configuration file; it names the data directory. */
      readonly config: string;
      readonly format: "csv" | "json";
      readonly output: string;
    }
  | { readonly what: "copy"; readonly from: string; readonly to: string };

export interface ExportResult {
  readonly seconds: number;
  readonly peak_memory_bytes: number | null;
}

async function main(job: ExportJob): Promise<ExportResult> {
  const started = performance.now();
  if (job.what === "export") await exportAll(job);
  else await copy(job);
  return { seconds: (performance.now() - started) / 1000, peak_memory_bytes: peakMemory("self") };
}

async function exportAll(job: Extract<ExportJob, { what: "export" }>): Promise<void> {
  const where = ["--config", job.config, "--output", job.output, "--format", job.format];
  const code = await runCommandLine(["aggregate", "export", "--all", ...where]);
  if (code !== 0) throw new Error(`the export ended with ${code}`);
}

async function copy({ from, to }: Extract<ExportJob, { what: "copy" }>): Promise<void> {
  const file = await open(to, "wx");
  for await (const chunk of createReadStream(from, { highWaterMark: 1_048_576 })) {
    await file.writeFile(chunk);
  }
  await file.sync();
  await file.close();
}

if (import.meta.main) {
  const job: ExportJob = JSON.parse(process.argv[2] ?? "null");
  console.log(JSON.stringify(await main(job)));
}
