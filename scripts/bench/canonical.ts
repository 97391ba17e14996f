// Canonical JSON against JSON.parse: what it costs to keep numbers exact and keys in order.
// Run: bun scripts/bench/canonical.ts [--json <file>]
// Each workload is many different texts of one shape, because engines remember a text they have
// just read. The two are measured in turn, round by round, so that both meet the same machine; a
// ratio is the median of the rounds' ratios.

import { parseArgs } from "node:util";
import { canonicalize } from "../../src/model/canonical.ts";

export interface CanonicalRow {
  readonly workload: string;
  /** Mean UTF-8 bytes of a text. */
  readonly bytes: number;
  /** Medians over the rounds, per text. */
  readonly parse_ns: number;
  readonly canonicalize_ns: number;
  /** Median over the rounds of canonicalize / parse. */
  readonly ratio: number;
  readonly raw: readonly { readonly parse_ns: number; readonly canonicalize_ns: number }[];
}

export interface CanonicalBenchOptions {
  readonly rounds: number;
  /** Texts of about this many bytes in all are read per measurement. */
  readonly round_bytes: number;
}

export const canonicalBenchDefaults: CanonicalBenchOptions = { rounds: 9, round_bytes: 4_000_000 };

/** Measures every workload. Yields to the event loop between them. */
export async function canonicalBench(
  options: CanonicalBenchOptions = canonicalBenchDefaults,
): Promise<CanonicalRow[]> {
  const rows: CanonicalRow[] = [];
  // All shapes are read once first: a compiler that has seen one shape only would flatter it.
  const loads = workloads();
  for (const { texts } of loads) measure(texts, options.round_bytes / 10);
  for (const load of loads) {
    rows.push(row(load, options));
    await new Promise(setImmediate);
  }
  return rows;
}

function row({ workload, texts }: Workload, options: CanonicalBenchOptions): CanonicalRow {
  measure(texts, options.round_bytes / 2);
  const raw = Array.from({ length: options.rounds }, () => measure(texts, options.round_bytes));
  return {
    workload,
    bytes: Math.round(meanBytes(texts)),
    parse_ns: median(raw.map((round) => round.parse_ns)),
    canonicalize_ns: median(raw.map((round) => round.canonicalize_ns)),
    ratio: median(raw.map((round) => round.canonicalize_ns / round.parse_ns)),
    raw,
  };
}

/** What is made of the texts goes here, so that no compiler may leave the work out. */
let kept: unknown = null;

function measure(texts: readonly string[], bytes: number) {
  const passes = Math.max(1, Math.ceil(bytes / (meanBytes(texts) * texts.length)));
  const timed = (read: (text: string) => unknown): number => {
    const started = Bun.nanoseconds();
    for (let pass = 0; pass < passes; pass++) for (const text of texts) kept = read(text);
    return (Bun.nanoseconds() - started) / (passes * texts.length);
  };
  const parse_ns = timed(JSON.parse);
  const canonicalize_ns = timed(canonicalize);
  if (kept === null) throw new Error("nothing was read");
  return { parse_ns, canonicalize_ns };
}

const meanBytes = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / texts.length;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? NaN) + upper) / 2 : upper;
}

interface Workload {
  readonly workload: string;
  readonly texts: readonly string[];
}

function workloads(): Workload[] {
  const make = (workload: string, count: number, textOf: (n: number) => string): Workload => ({
    workload,
    // Through bytes and back: a string as a request brings it, in one piece.
    texts: Array.from({ length: count }, (_, n) => Buffer.from(textOf(n)).toString()),
  });
  const sortedPatient = (n: number) => canonicalize(JSON.stringify(patient(n)));
  return [
    make("small", 2_000, (n) => JSON.stringify({ status: "active", n })),
    make("small, sorted", 2_000, (n) => JSON.stringify({ n, status: "active" })),
    make("typical", 1_000, (n) => JSON.stringify(patient(n))),
    make("typical, sorted", 1_000, sortedPatient),
    make("typical, pretty-printed", 1_000, (n) => JSON.stringify(patient(n), null, 2)),
    make("typical, python-spaced", 1_000, (n) => spaced(patient(n))),
    make("large: 100 records", 20, (n) =>
      JSON.stringify(Array.from({ length: 100 }, (_, i) => reading(n * 100 + i))),
    ),
    make("500 members, unsorted", 20, (n) => JSON.stringify(wide(n))),
    make("100 doubles", 200, (n) =>
      JSON.stringify(Array.from({ length: 100 }, (_, i) => fraction(n * 100 + i) * 1_000)),
    ),
    make(
      "100 floats like 60.0",
      200,
      (n) => `[${Array.from({ length: 100 }, (_, i) => `${n * i}.0`).join(",")}]`,
    ),
    make("100 integers", 200, (n) =>
      JSON.stringify(Array.from({ length: 100 }, (_, i) => n * i * 37)),
    ),
    make("prose with escapes, 10 kB", 20, (n) =>
      JSON.stringify({ text: `It was ${n} o'clock, and all was "well".\n`.repeat(260) }),
    ),
    make("base64, 10 kB", 20, (n) => JSON.stringify({ file: `${n}aZ09+/bY`.repeat(1_100) })),
    make("Japanese", 500, (n) =>
      JSON.stringify({ 名前: `山田太郎${n}`, 住所: "東京都千代田区1-1", 備考: "なし" }),
    ),
    make("\\u escapes", 500, (n) => `{"city":"M\\u00fcnchen ${n}","name":"J\\u00fcrgen"}`),
  ];
}

const patient = (n: number) => ({
  patient_id: `p-${100_000 + ((n * 7_919) % 900_000)}`,
  first_name: `Jane${n}`,
  last_name: "Doe",
  date_of_birth: `1985-0${1 + (n % 9)}-12`,
  weight_kg: 60.5 + (n % 40),
  active: n % 2 === 0,
  address: { street: "12 Main Street", city: "Springfield", zip: String(10_000 + n) },
  contact: { email: `jane${n}@example.org`, phone: `+1-555-${1_000 + n}` },
  notes: null,
});

const reading = (n: number) => ({
  id: n,
  name: `sensor ${n}`,
  tags: ["indoor", "calibrated"],
  value: n * 1.25,
  latitude: 47.123456 + n * 0.001,
  longitude: fraction(n) * 180,
  at: "2024-01-01T00:00:00Z",
});

const wide = (n: number) =>
  Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${(i * 7_919 + n) % 500}`, i]));

/** The same number between 0 and 1 for the same `n`, with all the digits a double can have. */
const fraction = (n: number): number => ((n * 0.6180339887498949) % 1) + Number.EPSILON;

/** `{"a": 1, "b": 2}`, as Python's json module writes it. */
const spaced = (json: unknown): string =>
  JSON.stringify(json, null, 1)
    .replace(/,\n\s*/g, ", ")
    .replace(/\n\s*/g, "");

function table(rows: readonly CanonicalRow[]): string {
  const cells = rows.map((each) => [
    each.workload,
    String(each.bytes),
    each.parse_ns.toFixed(0),
    each.canonicalize_ns.toFixed(0),
    each.ratio.toFixed(2),
  ]);
  const header = ["workload", "bytes", "JSON.parse ns", "canonicalize ns", "ratio"];
  const all = [header, ...cells];
  const widths = header.map((_, column) =>
    Math.max(...all.map((line) => Bun.stringWidth(line[column] ?? ""))),
  );
  return all
    .map((line) =>
      line
        .map((cell, column) => {
          const blanks = " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell));
          return column === 0 ? cell + blanks : blanks + cell;
        })
        .join("  "),
    )
    .join("\n");
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "string" } }, strict: true });
  const rows = await canonicalBench();
  console.log(table(rows));
  if (values.json !== undefined) {
    const settings = { ...canonicalBenchDefaults, bun: Bun.version };
    await Bun.write(values.json, `${JSON.stringify({ settings, rows }, null, 2)}\n`);
  }
}
