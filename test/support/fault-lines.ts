// Reads a child's standard output line by line, as JSON, and the last whole line survives its
// death.

import { expect } from "bun:test";
import type { Subprocess } from "bun";

export interface Acknowledged {
  readonly position: number;
  readonly version: number;
  readonly aggregate_id: string;
  readonly event_id: string;
}

export interface Failed {
  readonly failed: string;
  readonly failure: string;
  readonly again: string;
}

/**
 * Calls `each` for every line until the output ends; a cut last line was never acknowledged to
 * anybody.
 */
export async function readLines(
  child: Subprocess<"ignore", "pipe", "inherit">,
  each: (line: Acknowledged | Failed) => void,
): Promise<void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) each(JSON.parse(line) as Acknowledged | Failed);
  }
}

/**
 * Runs a script of the tests and kills it once it has acknowledged so many events, while others
 * are under way. Out: all that were acknowledged.
 */
export async function untilKilled(
  argv: readonly string[],
  acknowledged_min: number,
): Promise<Acknowledged[]> {
  const child = Bun.spawn([process.execPath, ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const acknowledged: Acknowledged[] = [];
  await readLines(child, (line) => {
    if ("failed" in line) throw new Error(`the writer failed: ${JSON.stringify(line)}`);
    acknowledged.push(line);
    if (acknowledged.length === acknowledged_min) child.kill("SIGKILL");
  });
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  return acknowledged;
}
