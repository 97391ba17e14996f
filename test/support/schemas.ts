// Schemas in force over a file of the test's own, without the store around them.

import { join } from "node:path";
import { openSchemas, type Schemas } from "../../src/engine/schemas.ts";
import { createLog } from "../../src/log.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import type { Restriction } from "../../src/model/config.ts";
import { DbxError } from "../../src/model/error.ts";
import { patternBudget } from "../../src/model/schema/budget.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import { realSystem } from "../../src/system.ts";

export interface OpenedSchemas {
  readonly path: string;
  readonly schemas: Schemas;
  readonly lines: string[];
}

export async function openSchemasIn(
  directory: string,
  { writable = true } = {},
): Promise<OpenedSchemas> {
  const path = join(directory, "schemas.json");
  const { log, lines } = listeningLog();
  return {
    path,
    lines,
    schemas: await openSchemas({
      noteOf: () => async () => {},
      storage: createMemoryStorage({ sealing: "none" }),
      path,
      log,
      system: realSystem,
      writable,
    }),
  };
}

export function listeningLog() {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  return { lines, log: createLog({ least: "info", now: () => "now", write }) };
}

export const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
    return "fine";
  } catch (error) {
    if (error instanceof DbxError) return error.code;
    throw error;
  }
};

export const event = (aggregate_type: string, event_type: string, payload = "{}") => ({
  aggregate_type,
  event_type,
  payload: canonicalize(payload),
});

/** Whether the view of this moment lets such an event pass. */
export const passes = (
  { schemas }: OpenedSchemas,
  wanted: ReturnType<typeof event>,
  mode: Restriction = "default",
) => codeOf(() => schemas.view().checkEvent(mode, wanted, patternBudget()));

export const made = (aggregate: string, events: readonly string[] = ["made"]) => ({
  aggregate,
  events: [...events],
});
