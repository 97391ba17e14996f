// The figures of a benchmark run: their shape, the tables that people read, and the block of the
// README.
// Run: bun scripts/bench/report.ts bench-<date>.json [--write] [--block <name>]
// Without --write the block goes to stdout; with it, it replaces what stands between the README's
// markers. `--block`: those of a run of some topics alone, which stand apart from the others.

import { parseArgs } from "node:util";
import { join } from "node:path";
import { root } from "../root.ts";
import type { Machine } from "./machine.ts";

export interface Figure {
  readonly topic: string;
  readonly name: string;
  readonly unit: string;
  /** The median of `raw`, one value per round. */
  readonly value: number;
  readonly raw: readonly number[];
  /** What it is compared with, measured in the same run; null where nothing compares. */
  readonly baseline: {
    readonly name: string;
    readonly value: number;
    readonly raw: readonly number[];
  } | null;
  /** The median over the rounds of value / baseline. */
  readonly ratio: number | null;
  /** What was aimed at, in words, and whether this figure meets it. */
  readonly aim: { readonly text: string; readonly met: boolean } | null;
}

export interface BenchFile {
  readonly format: 1;
  readonly commit: string;
  readonly date: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly seconds: number;
  readonly figures: readonly Figure[];
}

/** One table per topic for a terminal, then what misses its aim. */
export function printTables(figures: readonly Figure[]): string {
  const topics = [...new Set(figures.map(({ topic }) => topic))];
  return topics
    .map((topic) => {
      const rows = figures.filter((figure) => figure.topic === topic).map(cells);
      return [`\n${topic}`, ...aligned([header, ...rows])].join("\n");
    })
    .join("\n");
}

export function missedAims(figures: readonly Figure[]): string[] {
  return figures
    .filter(({ aim }) => aim?.met === false)
    .map(
      ({ topic, name, value, unit, ratio, aim }) =>
        `${topic}, ${name}: ${number(value)} ${unit}` +
        `${ratio === null ? "" : ` (${percent(ratio)} of the baseline)`}; aim: ${aim?.text}`,
    );
}

/** The README's block, without its markers. */
export function toMarkdown(bench: BenchFile): string {
  const { machine, settings } = bench;
  const rows = [
    header,
    ...bench.figures.map((figure) => [
      `${figure.topic}: ${figure.name}`,
      ...cells(figure).slice(1),
    ]),
  ];
  const widths = header.map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) => {
    const cellsOf = widths.map((width, at) => pad(row[at] ?? "", width, numeric.includes(at)));
    return `| ${cellsOf.join(" | ")} |`;
  };
  const rule = widths.map((width, at) =>
    numeric.includes(at) ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
  );
  const missed = missedAims(bench.figures);
  const met = missed.length === 0 ? "Every aim is met." : "Aims that are missed:";
  const memory = `${(machine.memory_bytes / 2 ** 30).toFixed(0)} GiB`;
  return [
    `Measured ${bench.date.slice(0, 10)} at commit \`${bench.commit}\` on ${machine.cpu},`,
    `${machine.cores} cores, ${memory} of memory, ${machine.kernel}, ${machine.file_system};`,
    `Bun ${machine.bun}, SQLite ${machine.sqlite};`,
    `${Object.entries(settings)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")}.`,
    "Server, load generator and baseline share the cores. Every figure is the median of its",
    "rounds; the ratio is to the baseline beside it, measured in the same run.",
    "",
    ...[line(rows[0] ?? []), `| ${rule.join(" | ")} |`, ...rows.slice(1).map(line)],
    ...(bench.figures.some(({ aim }) => aim !== null) ? ["", met] : []),
    ...(missed.length === 0 ? [] : ["", ...missed.map((each) => `- ${each}`)]),
  ].join("\n");
}

/** Columns that are aligned to the right. */
const numeric = [1, 3, 4, 5];
const header = ["", "figure", "unit", "baseline", "ratio", "rounds", "baseline is", "aim"];

const cells = ({ name, value, unit, raw, baseline, ratio, aim }: Figure): string[] => [
  name,
  number(value),
  unit,
  baseline === null ? "" : number(baseline.value),
  ratio === null ? "" : percent(ratio),
  String(raw.length),
  baseline?.name ?? "",
  aim === null ? "" : `${aim.text}: ${aim.met ? "met" : "MISSED"}`,
];

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0, numeric.includes(column)))
      .join("  ")
      .trimEnd(),
  );
}

const pad = (text: string, width: number, right: boolean): string =>
  right ? text.padStart(width) : text.padEnd(width);

const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)} %`;

/** Three digits that mean something, thousands grouped. */
function number(value: number): string {
  if (!Number.isFinite(value)) return "n/a";
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** Between which the README has the block of a name; of the whole run, where it has none. */
const markersOf = (name: string | undefined) => {
  const of = name === undefined ? "" : `:${name}`;
  return { begin: `<!-- bench${of}:begin -->`, end: `<!-- bench${of}:end -->` };
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { write: { type: "boolean", default: false }, block: { type: "string" } },
    allowPositionals: true,
  });
  const [path] = positionals;
  if (path === undefined)
    throw new Error("which file? bun scripts/bench/report.ts bench-<date>.json");
  const bench: BenchFile = await Bun.file(path).json();
  if (bench.format !== 1) throw new Error(`${path} is of format ${bench.format}, this reads 1`);
  const { begin, end } = markersOf(values.block);
  const block = `${begin}\n\n${toMarkdown(bench)}\n\n${end}`;
  if (!values.write) {
    console.log(block);
    return;
  }
  if (bench.quick) throw new Error(`${path} is of a quick run: too short for the README`);
  const readme = join(root, "README.md");
  const text = await Bun.file(readme).text();
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from === -1 || to < from) throw new Error(`${readme} has no ${begin} … ${end}`);
  await Bun.write(readme, text.slice(0, from) + block + text.slice(to + end.length));
}

if (import.meta.main) await main();
