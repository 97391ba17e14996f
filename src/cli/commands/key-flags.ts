// The flags that name an aggregate and the caller, the same for every command.

import { Type } from "@sinclair/typebox";
import { loadConfiguration } from "../configuration.ts";
import type { Shell } from "../shell.ts";
import { withTarget, type Target } from "../target.ts";

/** Names are judged by the gate; here they only have to be there. */
export const keyFlags = {
  aggregate: Type.String({
    hint: "type",
    member: "aggregate_type",
    description: "The aggregate's type.",
  }),
  aggregate_id: Type.String({ hint: "id", description: "The aggregate's id." }),
};

export const callFlags = {
  token: Type.Optional(
    Type.String({
      hint: "value",
      minLength: 1,
      description:
        "Act with this token; else EVENTDBX_TOKEN (not seen by others), else as this machine.",
    }),
  ),
  json: Type.Optional(Type.Boolean({ description: "Print JSON." })),
};

export const strict = { additionalProperties: false } as const;

/** A count with a bound that a person's page may have. */
export const count = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export async function asking<Result>(
  options: { shell: Shell; access: "read" | "write"; token: string | null | undefined },
  use: (target: Target) => Promise<Result>,
): Promise<Result> {
  const { shell } = options;
  // What is configured here says nothing of a server elsewhere.
  const configuration = shell.reach.kind === "machine" ? await loadConfiguration(shell, {}) : null;
  for (const warning of configuration?.warnings ?? []) shell.output.words(`warning: ${warning}`);
  return withTarget({ ...options, configuration }, use);
}
