// `dbx aggregate snapshot`, `archive`, `restore` and `remove`: what is done to an aggregate as a
// whole.

import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { SnapshotRecord } from "../../api/operations/aggregates.ts";
import { Aggregate } from "../../model/aggregate.ts";
import { canonicalize, type Canonical } from "../../model/canonical.ts";
import { command, type Command } from "../command.ts";
import { afterDoing, pairs, type Output } from "../output.ts";
import { asking, callFlags, keyFlags, strict } from "./key-flags.ts";

const flags = Type.Object(
  {
    ...keyFlags,
    comment: Type.Optional(Type.String({ description: "Why; kept in the audit trail." })),
    ...callFlags,
  },
  strict,
);
const words = ["aggregate", "aggregate_id"] as const;

/** What the operation takes of the flags. */
const reasonOf = (given: { aggregate: string; aggregate_id: string; comment?: string }) => ({
  aggregate_type: given.aggregate,
  aggregate_id: given.aggregate_id,
  ...(given.comment === undefined ? {} : { comment: given.comment }),
});

export const snapshot = command({
  summary: "Keep the current state of an aggregate as a snapshot.",
  about:
    "Old states are found from the nearest snapshot. A version has one; a second one only replaces its\n" +
    "comment.",
  flags,
  words,
  examples: ['dbx aggregate snapshot person p-002 --comment "before the migration"'],
  run: async (given, shell) => {
    const kept = await asking({ shell, access: "write", token: given.token }, ({ ask }) =>
      ask("createSnapshot", reasonOf(given)),
    );
    const { aggregate_type, aggregate_id, version } = kept;
    await afterDoing(
      { words: "the snapshot is kept", details: { aggregate_type, aggregate_id, version } },
      shell.output.jsonText(toJson(SnapshotRecord, kept)),
    );
  },
});

/** Archiving and restoring differ in their words alone. */
function moving(options: {
  operation: "archiveAggregate" | "restoreAggregate";
  summary: string;
  about: string;
  example: string;
  /** What has become of the aggregate. */
  done: string;
}): Command {
  const { operation, summary, about, example, done } = options;
  return command({
    summary,
    about,
    flags,
    words,
    examples: [example],
    run: async (given, shell) => {
      const moved = await asking({ shell, access: "write", token: given.token }, ({ ask }) =>
        ask(operation, reasonOf(given)),
      );
      await afterDoing(
        { words: `the aggregate is ${done}`, details: reasonOf(given) },
        printFlag(shell.output, moved, given.comment),
      );
    },
  });
}

export const archive = moving({
  operation: "archiveAggregate",
  summary: "Take no more events for an aggregate and move what it holds to long-term storage.",
  about:
    "Payloads, notes and snapshots move into the archive file, compressed; everything can still be read,\n" +
    "replayed, verified and exported. Needs the grant admin.",
  example: 'dbx aggregate archive person p-002 --comment "left in 2024"',
  done: "archived",
});

export const restore = moving({
  operation: "restoreAggregate",
  summary: "Move an archived aggregate back and take events for it again.",
  about: "Needs the grant admin.",
  example: "dbx aggregate restore person p-002",
  done: "restored",
});

export const remove = command({
  summary: "Remove an aggregate that has no events.",
  about: "One with events is never removed; archive it instead. Needs the grant admin.",
  flags,
  words,
  examples: ["dbx aggregate remove person p-003"],
  run: async (given, shell) => {
    const key = await asking({ shell, access: "write", token: given.token }, ({ ask }) =>
      ask("removeAggregate", reasonOf(given)),
    );
    const { output } = shell;
    await afterDoing(
      { words: "the aggregate is removed", details: key },
      output.json
        ? output.jsonValue({ ...key, removed: true })
        : output.data(`${pairs(key)} removed`),
    );
  },
});

function printFlag(output: Output, aggregate: Aggregate, comment = ""): Promise<void> {
  if (output.json) return output.jsonText(sorted(toJson(Aggregate, aggregate)));
  const { aggregate_type, aggregate_id, archived } = aggregate;
  return output.data(pairs({ aggregate_type, aggregate_id, archived, comment }));
}

/** As `aggregate get` prints one: members by name. A state may hold a payload of any depth. */
const sorted = (text: string): Canonical => canonicalize(text, { envelope: 2 });
