// `dbx aggregate commit` and `discard`, and how staged events are listed.

import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { invalidArgument } from "../../model/error.ts";
import { EventRecord } from "../../model/event.ts";
import { StagedEvent } from "../../model/staged.ts";
import { command } from "../command.ts";
import { afterDoing, type Output } from "../output.ts";
import type { Target } from "../target.ts";
import { asking, callFlags, strict } from "./key-flags.ts";

const Records = Type.Array(EventRecord);
const StagedEvents = Type.Array(StagedEvent);

export const commit = command({
  summary: "Append all staged events, all or nothing.",
  about:
    "Prints the events as they were recorded, in JSON. A refusal names the staged event and leaves\n" +
    "everything as it was; see dbx aggregate discard. The write limit of the token counts here.",
  flags: Type.Object(callFlags, strict),
  examples: ["dbx aggregate commit"],
  run: async ({ token }, shell) => {
    const records = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("commitStaged", {}),
    );
    const done = `committed ${records.length} event(s)`;
    const positions = records.map(({ position }) => position);
    await afterDoing(
      { words: done, details: { positions } },
      printList(shell.output, {
        whole: () => toJson(Records, records),
        each: records.map((record) => toJson(EventRecord, record)),
        end: records.length === 0 ? "no staged events to commit" : done,
      }),
    );
  },
});

export const discard = command({
  summary: "Take staged events out of the queue without appending them.",
  about: "Prints what was taken out, in JSON. dbx aggregate list --stage shows the ids.",
  flags: Type.Object(
    {
      event_id: Type.Optional(
        Type.String({ hint: "uuid", description: "The staged event to take out." }),
      ),
      all: Type.Optional(Type.Boolean({ description: "All of them." })),
      ...callFlags,
    },
    strict,
  ),
  examples: [
    "dbx aggregate discard --event-id 45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    "dbx aggregate discard --all",
  ],
  run: async ({ event_id, all, token }, shell) => {
    if ((event_id === undefined) === (all === undefined)) {
      throw invalidArgument("give either --event-id or --all", { flag: "--event-id" });
    }
    const discarded = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("discardStaged", event_id === undefined ? { all: true } : { event_id }),
    );
    const done = `discarded ${discarded.length} event(s)`;
    await afterDoing(
      { words: done, details: { event_ids: discarded.map(({ event_id }) => event_id) } },
      printStagedEvents(shell.output, discarded, done),
    );
  },
});

/** `dbx aggregate list --stage`. */
export async function printStaged(ask: Target["ask"], output: Output): Promise<void> {
  await printStagedEvents(output, await ask("listStaged", {}), null);
}

const printStagedEvents = (
  output: Output,
  events: readonly StagedEvent[],
  end: string | null,
): Promise<void> =>
  printList(output, {
    whole: () => toJson(StagedEvents, events),
    each: events.map((event) => toJson(StagedEvent, event)),
    end: events.length === 0 ? "no staged events" : end,
  });

/** One array with --json; else one text after the other, and a line at the end. */
async function printList(
  output: Output,
  list: { whole: () => string; each: readonly string[]; end: string | null },
): Promise<void> {
  if (output.json) return output.jsonText(list.whole());
  for (const text of list.each) await output.jsonText(text);
  if (list.end !== null) await output.data(list.end);
}
