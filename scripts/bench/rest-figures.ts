// The figures of rest.ts as the runner reports them: each round has servers and directories of its
// own.

import { beside } from "./figure.ts";
import { benchRest, type RestReport, type RestRow } from "./rest.ts";
import type { Figure } from "./report.ts";
import { median } from "./subject.ts";

export const restSettings = { distribution: "zipf", at: 64 } as const;

const atLeastHalf = (ratio: number): boolean => ratio >= 0.5;
const underTen = (ratio: number): boolean => ratio < 10;
const walMibAim = 256;

export async function restFigures(options: {
  connections: readonly number[];
  seconds: number;
  rounds: number;
}): Promise<Figure[]> {
  const reports: RestReport[] = [];
  const { distribution } = restSettings;
  for (let round = 0; round < options.rounds; round++) {
    reports.push(await benchRest({ ...options, rounds: 1, distribution }));
  }
  const appends = options.connections.flatMap((connections) => appendFigures(reports, connections));
  const others = [
    [
      "batch of 100",
      "batches of 100, 8 connections",
      "events/s",
      "echo batch",
      "Elysia echo of the batch",
    ],
    [
      "read aggregate",
      "read one aggregate, 64 connections",
      "requests/s",
      "same aggregate",
      sameBytes,
    ],
    [
      "read events",
      "read a page of 100 events, 64 connections",
      "requests/s",
      "same events",
      sameBytes,
    ],
    ["read list", "read a list page of 100, 64 connections", "requests/s", "same list", sameBytes],
  ].map(([what = "", name = "", unit = "", other = "", baseline = ""]) => {
    const rate = ({ events_per_second }: RestRow) => events_per_second;
    const echoed = ({ per_second }: RestRow) => per_second * (unit === "events/s" ? 100 : 1);
    return beside({
      ...{ topic, name, unit, baseline },
      ones: pick(reports, what).map(rate),
      others: pick(reports, other).map(echoed),
    });
  });
  return [...appends, ...others, ...serverFigures(reports)];
}

const topic = "REST";
const sameBytes = "Elysia sending the same bytes";

function appendFigures(reports: readonly RestReport[], connections: number): Figure[] {
  const dbx = pick(reports, "append", connections);
  const echo = pick(reports, "echo", connections);
  const aimed = connections === restSettings.at;
  const of = (what: string) => `${connections} connections, ${what}`;
  return [
    beside({
      ...{ topic, name: of("durable appends"), unit: "events/s" },
      baseline: "Elysia echo of the body",
      ones: dbx.map(({ per_second }) => per_second),
      others: echo.map(({ per_second }) => per_second),
      ...(aimed ? { aim: { text: "at least 50 % of the echo", meets: atLeastHalf } } : {}),
    }),
    beside({
      ...{ topic, name: of("append p50"), unit: "ms", baseline: "Elysia echo of the body" },
      ones: dbx.map(({ p50_ms }) => p50_ms),
      others: echo.map(({ p50_ms }) => p50_ms),
    }),
    beside({
      ...{ topic, name: of("append p99"), unit: "ms", baseline: "p50 of the same run" },
      ones: dbx.map(({ p99_ms }) => p99_ms),
      others: dbx.map(({ p50_ms }) => p50_ms),
      ...(aimed ? { aim: { text: "under 10 × p50", meets: underTen } } : {}),
    }),
  ];
}

function serverFigures(reports: readonly RestReport[]): Figure[] {
  const wal = reports.map(({ wal_bytes_max }) => wal_bytes_max / 2 ** 20);
  const memory = reports.map(({ peak_memory_bytes }) => peak_memory_bytes / 2 ** 20);
  const plain = { topic, unit: "MiB", baseline: null, ratio: null };
  return [
    {
      ...plain,
      ...{ name: "largest WAL of the whole run", value: median(wal), raw: wal },
      aim: { text: "under 256 MiB in every round", met: Math.max(...wal) < walMibAim },
    },
    { ...plain, name: "peak memory of the server", value: median(memory), raw: memory, aim: null },
  ];
}

/** One row per report. */
function pick(reports: readonly RestReport[], what: string, connections?: number): RestRow[] {
  return reports.map(({ rows }) => {
    const found = rows.find(
      (row) => row.what === what && (connections === undefined || row.connections === connections),
    );
    if (found === undefined) throw new Error(`no row ${what} at ${connections} connections`);
    return found;
  });
}
