// What tests of staging share: events in a few words, the file, and which events the log holds.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import type { Event } from "../../src/model/event.ts";
import { root, type TestStore } from "./store.ts";

export const stagedPath = (data_dir: string): string => join(data_dir, "staged_events.json");
export const stagedText = (data_dir: string): string => readFileSync(stagedPath(data_dir), "utf8");

export const noted = (id: string, over: Partial<Event> = {}): Event => ({
  aggregate_type: "patient",
  aggregate_id: id,
  event_type: "noted",
  payload: canonicalize("{}"),
  ...over,
});

/** Ids of all events of the log, in its order. */
export async function loggedIds({ dbx }: Pick<TestStore, "dbx">): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const page = await dbx.readLog(root, { after: ids.length });
    if (page.length === 0) return ids;
    ids.push(...page.map(({ metadata }) => metadata.event_id));
  }
}

export async function stagedIds({ dbx }: Pick<TestStore, "dbx">): Promise<string[]> {
  return (await dbx.listStaged(root, {})).map(({ event_id }) => event_id);
}

/** The refusal of a step that must be refused. */
export async function refusalOf(step: Promise<unknown>): Promise<DbxError> {
  const error = await step.then(
    () => new Error("it was accepted"),
    (refusal: unknown) => refusal,
  );
  if (error instanceof DbxError) return error;
  throw error;
}
