// `dbx schema hide`, `unhide`, `lock`, `unlock` and `alter`: what is shown, what is refused for
// now, which members events have, and how often a snapshot is kept.

import { Type } from "@sinclair/typebox";
import type { Input } from "../../api/operations.ts";
import { invalidArgument } from "../../model/error.ts";
import type { Schema } from "../../model/schema/schema.ts";
import { command, type Command } from "../command.ts";
import { pairs } from "../output.ts";
import { callFlags, strict } from "./key-flags.ts";
import {
  changeSchema,
  fieldFlag,
  nameFlag,
  namesIn,
  tellSchema,
  thresholdFlag,
  thresholdOf,
} from "./schema-flags.ts";

type Change = Omit<Input<"changeSchema">, "aggregate">;

/** A switch of a whole schema or, with a field, of that member alone. */
function switching(options: {
  summary: string;
  about: string;
  example: string;
  /** What has become of it: `hidden`. */
  told: string;
  whole: Change;
  single: (field: string) => Change;
}): Command {
  const { summary, about, example, told, whole, single } = options;
  return command({
    summary,
    about,
    flags: Type.Object(
      {
        aggregate: nameFlag,
        field: Type.Optional({ ...fieldFlag, description: "Only this member of payloads." }),
        ...callFlags,
      },
      strict,
    ),
    words: ["aggregate", "field"],
    examples: [example, `${example} --field ssn`],
    run: async ({ aggregate, field, token }, shell) => {
      const change = field === undefined ? whole : single(field);
      const changed = await changeSchema({ shell, token }, { aggregate, ...change });
      const what = pairs(field === undefined ? { aggregate } : { aggregate, field });
      await tellSchema(shell, changed, `${what} ${told}`);
      const given = [...changed.hidden_fields, ...changed.field_locks];
      if (field === undefined || !given.includes(field) || isNamed(changed, field)) return;
      // Members need no declaration, so this is no error; but it is how a slip looks.
      const known = pairs({ field });
      shell.output.words(`note: no column or event of ${aggregate} names ${known}; check the name`);
    },
  });
}

/** Whether a schema speaks of a member, otherwise than by this switch. */
const isNamed = ({ column_types, events }: Schema, field: string): boolean =>
  Object.hasOwn(column_types, field) ||
  Object.values(events).some(({ fields }) => fields.includes(field));

const hiding = (hidden: boolean) => ({
  whole: { hidden },
  single: (field: string) => ({ hidden_field: { field, hidden } }),
});

export const hide = switching({
  summary: "Show aggregates of a type, or one of their members, to nobody.",
  about: "They can still be appended to. Administrators see them with --include-hidden.",
  example: "dbx schema hide --aggregate patient",
  told: "hidden",
  ...hiding(true),
});

export const unhide = switching({
  summary: "Show again what was hidden.",
  about: "Without --field the aggregates; members that were hidden by themselves stay hidden.",
  example: "dbx schema unhide --aggregate patient",
  told: "shown",
  ...hiding(false),
});

const locking = (lock: boolean) => ({
  whole: { locked: lock },
  single: (field: string) => ({ field_lock: { field, lock } }),
});

export const lock = switching({
  summary: "Refuse events of a type, or those that set a member, for now.",
  about: "With `restrict = off` nothing is refused.",
  example: "dbx schema lock patient",
  told: "locked",
  ...locking(true),
});

export const unlock = switching({
  summary: "Accept again what was locked.",
  about: "Without --field the events; members that were locked by themselves stay locked.",
  example: "dbx schema unlock patient",
  told: "unlocked",
  ...locking(false),
});

const fieldsFlag = (description: string) =>
  Type.Optional(Type.Array(Type.String(), { hint: "EVENT=FIELD,…", description }));

export const alter = command({
  summary: "Change the members of events, or the snapshot threshold.",
  about:
    "An event with members must have exactly these; without any it may have whatever it likes.\n" +
    "Names are split at commas. All changes are made, or none.",
  flags: Type.Object(
    {
      aggregate: nameFlag,
      add_fields: fieldsFlag("Members that an event has from now on; a new event is made."),
      remove_fields: fieldsFlag("Members that an event no longer has."),
      snapshot_threshold: Type.Optional(thresholdFlag),
      clear_snapshot_threshold: Type.Optional(
        Type.Boolean({ description: "Follow the configured threshold." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate"],
  examples: [
    "dbx schema alter patient --add-fields patient-moved=ward,bed --remove-fields patient-added=age",
    "dbx schema alter patient --snapshot-threshold 100",
  ],
  run: async (flags, shell) => {
    const { aggregate, token } = flags;
    const { add_fields, remove_fields, snapshot_threshold, clear_snapshot_threshold } = flags;
    if (snapshot_threshold !== undefined && clear_snapshot_threshold === true) {
      const message = "--snapshot-threshold and --clear-snapshot-threshold exclude each other";
      throw invalidArgument(message, { flag: "--snapshot-threshold" });
    }
    const threshold = clear_snapshot_threshold === true ? null : snapshot_threshold;
    const change: Change = {
      ...(add_fields === undefined ? {} : { add_fields: byEvent("--add-fields", add_fields) }),
      ...(remove_fields === undefined
        ? {}
        : { remove_fields: byEvent("--remove-fields", remove_fields) }),
      ...(threshold === undefined ? {} : { snapshot_threshold: threshold }),
    };
    if (Object.keys(change).length === 0) {
      throw invalidArgument("there is nothing to change: give at least one flag", {});
    }
    const changed = await changeSchema({ shell, token }, { aggregate, ...change });
    const { events, locked } = changed;
    const told = { schema: aggregate, events: Object.keys(events).length, locked };
    await tellSchema(shell, changed, pairs({ ...told, ...thresholdOf(changed) }));
  },
});

/** `moved=ward,bed` by event; a flag that names an event again adds to its members. */
function byEvent(flag: string, words: readonly string[]): Record<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) {
      const shown = JSON.stringify(word);
      throw invalidArgument(`${flag} must be EVENT=FIELD,FIELD; it is ${shown}`, { flag });
    }
    const event = word.slice(0, at).trim();
    fields.set(event, [...(fields.get(event) ?? []), ...namesIn([word.slice(at + 1)])]);
  }
  return Object.fromEntries(fields);
}
