// Reads a child's standard output line by line, as JSON, and the last whole line survives its
// death.

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
