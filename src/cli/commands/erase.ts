// `dbx aggregate erase`: makes what an aggregate's events say unreadable for good, once somebody
// has said that he means it.

import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { canonicalOf, splitMembers, type Canonical } from "../../model/canonical.ts";
import { EventRecord } from "../../model/event.ts";
import { invalidArgument } from "../../model/error.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import { command } from "../command.ts";
import { afterDoing, pairs } from "../output.ts";
import type { Shell } from "../shell.ts";
import { asking, callFlags, keyFlags, strict } from "./key-flags.ts";

export const erase = command({
  summary: "Make what an aggregate's events say unreadable for good; that they happened stays.",
  about:
    "Destroys the key of the aggregate's payloads, notes, states and snapshots and appends the event\n" +
    "$erased. Versions, times, actors, hashes and proofs stay and go on verifying. There is no way\n" +
    "back. It does not reach backups, exports, replicas, what plugins were sent, or proofs handed\n" +
    "out. Works where everything is encrypted. Needs the grant admin.",
  flags: Type.Object(
    {
      ...keyFlags,
      reason: Type.String({
        hint: "text",
        description: "Why; kept for ever, so it should not repeat what is erased.",
      }),
      yes: Type.Optional(Type.Boolean({ description: "Do not ask." })),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: ['dbx aggregate erase person p-002 --reason "request 17 of 3 May" --yes'],
  exits: { 2: "not confirmed, or the input does not fit" },
  run: async ({ aggregate: aggregate_type, aggregate_id, reason, yes, token }, shell) => {
    const key = { aggregate_type, aggregate_id };
    if (yes !== true && !(await confirmed(key, shell))) {
      throw invalidArgument("nothing was erased");
    }
    const record = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("eraseAggregate", { ...key, reason }),
    );
    const { output } = shell;
    const { version, merkle_root } = record;
    // A word beside the record, which is the same for whoever lost its first answer.
    if (reasonIn(record) !== canonicalOf(reason)) {
      const { created_at } = record.metadata;
      output.words(
        `${showKey(key)} was erased already, at ${created_at}; your reason is in the audit trail`,
      );
    }
    const told = { ...key, version, erased_through: version - 1, merkle_root };
    await afterDoing(
      { words: "the aggregate is erased", details: told },
      output.json ? output.jsonText(toJson(EventRecord, record)) : output.data(pairs(told)),
    );
  },
});

/** As canonical JSON. */
const reasonIn = ({ payload }: EventRecord): Canonical | undefined =>
  new Map(splitMembers(payload)).get("reason");

async function confirmed(key: StreamKey, shell: Shell): Promise<boolean> {
  const { output } = shell;
  if (!output.interactive) {
    throw invalidArgument("erase asks on a terminal; without one it needs --yes", {
      flag: "--yes",
    });
  }
  output.words(`This makes all that the events of ${showKey(key)} say unreadable, for good.`);
  const answer = await output.ask("Type its id to continue: ");
  return answer.trim() === key.aggregate_id;
}
