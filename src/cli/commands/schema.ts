// `dbx schema …`: declare schemas and their events, and look at them. The rest of what can be
// changed is in schema-change.ts and schema-field.ts.

import { Type } from "@sinclair/typebox";
import { DbxError, invalidArgument, notFound } from "../../model/error.ts";
import { nearest } from "../../model/nearest.ts";
import type { Schema } from "../../model/schema/schema.ts";
import { command, type Command, type Group } from "../command.ts";
import { pairs } from "../output.ts";
import { asking, callFlags, strict } from "./key-flags.ts";
import {
  changeSchema,
  inOrder,
  namesIn,
  nameFlag,
  nameList,
  tellSchema,
  thresholdOf,
  thresholdFlag,
  type Asked,
} from "./schema-flags.ts";

export const schema: Group = {
  kind: "group",
  summary: "Declare what events of an aggregate type look like.",
  commands: {
    create: async () => create,
    add: async () => add,
    remove: async () => remove,
    annotate: async () => annotate,
    alter: async () => (await import("./schema-change.ts")).alter,
    field: async () => (await import("./schema-field.ts")).field,
    lock: async () => (await import("./schema-change.ts")).lock,
    unlock: async () => (await import("./schema-change.ts")).unlock,
    hide: async () => (await import("./schema-change.ts")).hide,
    unhide: async () => (await import("./schema-change.ts")).unhide,
    validate: async () => (await import("./schema-field.ts")).validate,
    list: async () => list,
    show: async () => show,
  },
  lookUp: async () => lookUp,
};

const eventFlag = Type.String({ hint: "name", description: "The event." });

const countOf = ({ events }: Schema): number => Object.keys(events).length;

const create = command({
  summary: "Declare a schema.",
  about:
    "Names are split at commas, so a name with a comma can only be declared over the API.\n" +
    "Without --snapshot-threshold the configured one holds, if there is one.",
  flags: Type.Object(
    {
      aggregate: nameFlag,
      events: nameList("Its events."),
      snapshot_threshold: Type.Optional(thresholdFlag),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "events"],
  examples: [
    "dbx schema create patient --events patient-added,patient-updated --snapshot-threshold 100",
  ],
  exits: { 4: "there is such a schema already" },
  run: async (flags, shell) => {
    const { aggregate, snapshot_threshold, token } = flags;
    const made = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("createSchema", {
        aggregate,
        events: namesIn(flags.events),
        ...(snapshot_threshold === undefined ? {} : { snapshot_threshold }),
      }),
    );
    const told = { schema: aggregate, events: countOf(made), ...thresholdOf(made) };
    await tellSchema(shell, made, pairs(told));
  },
});

const add = command({
  summary: "Add events to a schema. Those it has stay as they are.",
  about: "Names are split at commas.",
  flags: Type.Object(
    { aggregate: nameFlag, events: nameList("The events to add.", "add_events"), ...callFlags },
    strict,
  ),
  words: ["aggregate", "events"],
  examples: [
    "dbx schema add patient --events patient-moved,patient-left",
    "dbx schema add patient patient-moved patient-left",
  ],
  run: async (flags, shell) => {
    const { aggregate, token } = flags;
    const add_events = namesIn(flags.events);
    const changed = await changeSchema({ shell, token }, { aggregate, add_events });
    const added_events = add_events.join(",");
    const told = { schema: aggregate, added_events, total_events: countOf(changed) };
    await tellSchema(shell, changed, pairs(told));
  },
});

const remove = command({
  summary: "Remove an event from a schema, which keeps at least one.",
  about: "Events that were appended stay what they are.",
  flags: Type.Object({ aggregate: nameFlag, event: eventFlag, ...callFlags }, strict),
  words: ["aggregate", "event"],
  examples: ["dbx schema remove patient patient-moved"],
  run: async ({ aggregate, event, token }, shell) => {
    const changed = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("removeSchemaEvent", { aggregate, event }),
    );
    const told = { schema: aggregate, removed_event: event, remaining_events: countOf(changed) };
    await tellSchema(shell, changed, pairs(told));
  },
});

const annotate = command({
  summary: "Put a remark beside an event of a schema, or take it away.",
  about: "The remark is for readers of the schema; it is not copied into events.",
  flags: Type.Object(
    {
      aggregate: nameFlag,
      event: eventFlag,
      note: Type.Optional(
        Type.String({ description: "The remark, at most 128 characters.", member: "event_notes" }),
      ),
      clear: Type.Optional(Type.Boolean({ description: "Take the remark away." })),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "event"],
  examples: [
    'dbx schema annotate patient patient-moved --note "a new ward"',
    "dbx schema annotate patient patient-moved --clear",
  ],
  run: async ({ aggregate, event, note, clear, token }, shell) => {
    if (note !== undefined && clear === true) {
      throw invalidArgument("--note cannot be combined with --clear", { flag: "--note" });
    }
    if (note === undefined && clear !== true) {
      throw invalidArgument("either --note must be provided or use --clear", { flag: "--note" });
    }
    const event_notes = Object.fromEntries([[event, note ?? null]]);
    const changed = await changeSchema({ shell, token }, { aggregate, event_notes });
    const told = note === undefined ? "note_cleared" : `note_set=${JSON.stringify(note)}`;
    await tellSchema(shell, changed, `${pairs({ aggregate, event })} ${told}`);
  },
});

const list = command({
  summary: "List all schemas by name.",
  flags: Type.Object(callFlags, strict),
  examples: ["dbx schema list", "dbx schema list --json"],
  run: ({ token }, shell) =>
    asking({ shell, access: "read", token }, async ({ ask }) => {
      const schemas = await ask("listSchemas", {});
      if (shell.output.json) return shell.output.jsonValue(schemas.map(inOrder));
      for (const known of schemas) {
        const { aggregate, locked } = known;
        const told = { schema: aggregate, events: countOf(known), locked, ...thresholdOf(known) };
        await shell.output.data(pairs(told));
      }
    }),
});

const show = command({
  summary: "Print a schema, in JSON.",
  about: "`dbx schema <name>` is the same, unless the name is that of a command.",
  flags: Type.Object({ aggregate: nameFlag, ...callFlags }, strict),
  words: ["aggregate"],
  examples: ["dbx schema show patient", "dbx schema patient"],
  run: ({ aggregate, token }, shell) => print({ shell, token }, aggregate),
});

const print = (by: Asked, aggregate: string): Promise<void> =>
  asking({ ...by, access: "read" }, async ({ ask }) =>
    by.shell.output.jsonValue(inOrder(await ask("getSchema", { aggregate }))),
  );

/** `dbx schema <name>`. A slip in the name of a command must not end as a schema not found. */
const lookUp: Command = command({
  summary: "Print a schema, in JSON.",
  flags: Type.Object({ aggregate: nameFlag, json: callFlags.json }, strict),
  words: ["aggregate"],
  examples: ["dbx schema patient"],
  run: async ({ aggregate }, shell) => {
    try {
      await print({ shell, token: undefined }, aggregate);
    } catch (error) {
      if (!(error instanceof DbxError) || error.code !== "not_found") throw error;
      throw neither(aggregate, error);
    }
  },
});

function neither(word: string, cause: DbxError): DbxError {
  const shown = JSON.stringify(word);
  const guess = nearest(word, Object.keys(schema.commands));
  if (guess === undefined) {
    throw notFound(`schema not found: ${shown} is neither a schema nor a command`, {
      aggregate: word,
    });
  }
  const meant = `unknown command ${shown}; did you mean dbx schema ${guess}?`;
  return invalidArgument(`${meant} There is no schema ${shown}`, { command: word }, { cause });
}
