// `dbx aggregate verify`: recompute an aggregate, or everything, from the events.

import { Type } from "@sinclair/typebox";
import { invalidArgument } from "../../model/error.ts";
import { command } from "../command.ts";
import { pairs, type Output } from "../output.ts";
import { asking, callFlags, keyFlags, strict } from "./key-flags.ts";

export const verify = command({
  summary: "Recompute an aggregate from its events and compare; with --all everything.",
  about:
    "Reads every event, so it takes its time on a large log. Faults are listed on stderr, exit code 8.",
  flags: Type.Object(
    {
      aggregate: Type.Optional(keyFlags.aggregate),
      aggregate_id: Type.Optional(keyFlags.aggregate_id),
      all: Type.Optional(
        Type.Boolean({ description: "Every aggregate and the tree over the whole log." }),
      ),
      include_hidden: Type.Optional(
        Type.Boolean({ description: "Also one that its schema hides; needs the grant admin." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: ["dbx aggregate verify person p-002", "dbx aggregate verify --all"],
  run: async (flags, shell) => {
    const { aggregate: aggregate_type, aggregate_id, all, token, include_hidden } = flags;
    const { output } = shell;
    if (all === true) {
      if (aggregate_type !== undefined || aggregate_id !== undefined) {
        throw invalidArgument("--all and an aggregate exclude each other", { flag: "--all" });
      }
      const proof = await asking({ shell, access: "read", token }, ({ ask }) =>
        whileWaiting(output, ask("verifyLog", {})),
      );
      if (output.json) return output.jsonValue(proof);
      return output.data(pairs(proof));
    }
    if (aggregate_type === undefined || aggregate_id === undefined) {
      const missing = aggregate_type === undefined ? "--aggregate" : "--aggregate-id";
      throw invalidArgument(`${missing} is missing; or say --all`, { flag: missing });
    }
    const proof = await asking({ shell, access: "read", token }, ({ ask }) =>
      whileWaiting(
        output,
        ask("verifyAggregate", {
          ...{ aggregate_type, aggregate_id },
          ...(include_hidden === undefined ? {} : { include_hidden }),
        }),
      ),
    );
    const { version, merkle_root, erased } = proof;
    if (output.json)
      return output.jsonValue({ aggregate_id, aggregate_type, erased, merkle_root, version });
    const told = { aggregate_type, aggregate_id, version, merkle_root };
    return output.data(pairs(erased === 0 ? told : { ...told, erased_through: erased }));
  },
});

/** Shows on a terminal that something happens. */
async function whileWaiting<Result>(output: Output, work: Promise<Result>): Promise<Result> {
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  const timer = setInterval(() => output.progress(`verifying for ${seconds()} s`), 1000);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    output.endProgress();
  }
}
