// Runs one subject of a benchmark in a fresh process, so that no subject inherits another's heap,
// code or caches. In: a job as JSON in the first argument. Out: the last line the subject prints,
// as JSON.

import { join } from "node:path";

export async function runSubject<Result>(script: string, job: object): Promise<Result> {
  const argv = [process.execPath, "--no-env-file", join(import.meta.dir, script)];
  const child = Bun.spawn([...argv, JSON.stringify(job)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, NODE_ENV: "production" },
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`${script} failed:\n${text}`);
  return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "null");
}

/** A subject that waits for what never comes must not hold up the whole run. */
export const subject_ms_max = 120_000;

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("a median needs values");
  const sorted = values.toSorted((left, right) => left - right);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN;
  return (upper + lower) / 2;
}

/** Latencies in ms; sorts in place. */
export function quantile(values: Float64Array, part: number): number {
  values.sort();
  return values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? NaN;
}
