// What is recorded of a change that is no event: who, when, what and why. Append-only.

import { Type, type Static } from "@sinclair/typebox";
import { Issuer } from "./actor.ts";
import { ExactJson, Text } from "./kinds.ts";
import { limits } from "./limits.ts";
import { AggregateId, AggregateType, type StreamKey } from "./stream.ts";

/** What can be done to an aggregate as a whole. */
const aggregateActions = ["create", "snapshot", "archive", "restore", "remove", "erase"] as const;

/** What can be done to something else; `subject` names which one, where there are several. */
const otherActions = [
  "events.import",
  "token.issue",
  "token.revoke",
  "token.refresh",
  "schema.create",
  "schema.change",
  "schema.apply",
  "staged.discard",
  "config.change",
  "key.encrypt",
  "plugin.config",
  "plugin.enable",
  "plugin.disable",
  "plugin.remove",
  "plugin.replay",
  "queue.clear",
  "queue.retry",
  "queue.drop",
  "key.rotate",
  "backup.restore",
] as const;

export type AggregateAction = (typeof aggregateActions)[number];
type OtherAction = (typeof otherActions)[number];

const actions = [...aggregateActions, ...otherActions];
/** What stands before the dot: `token` for all that is done to tokens. */
const families = new Set(
  otherActions.flatMap((action) => (action.includes(".") ? (action.split(".")[0] ?? []) : [])),
);

const literals = <Word extends string>(words: Iterable<Word>) =>
  [...words].map((word) => Type.Literal(word));

const AuditAction = Type.Union(literals(actions), { description: "What was done." });

const InstantOf = (what: string) =>
  Type.String({
    maxLength: 64,
    description: `Done ${what} (RFC 3339, with zone).`,
    examples: ["2026-11-01T00:00:00Z"],
  });

export const AuditEntry = Type.Object(
  {
    entry: Type.Integer({ minimum: 1, description: "Ordinal in the audit trail: 1, 2, 3." }),
    at: Type.String({ description: "UTC, six digits of a second." }),
    issued_by: Type.Union([Issuer, Type.Null()]),
    action: AuditAction,
    aggregate_type: Type.Union([Type.String(), Type.Null()]),
    aggregate_id: Type.Union([Type.String(), Type.Null()]),
    subject: Type.Union([Type.String(), Type.Null()]),
    /** Never a secret. */
    details: ExactJson("What else there is to tell: an object, or null."),
    comment: Type.Union([Type.String(), Type.Null()]),
  },
  { $id: "AuditEntry" },
);
export type AuditEntry = Static<typeof AuditEntry>;

/** As an object; without members where there are none. */
export function detailsOf({ details }: AuditEntry): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(details);
  return typeof value === "object" && value !== null ? { ...value } : {};
}

const Issuing = (description: string) =>
  Text({ description, minLength: 1, maxLength: limits.actor_chars_max, name: false });

/** Which entries are meant; all that is named must hold. Instants are as clients write them. */
export const AuditSelection = Type.Object({
  action: Type.Optional(
    Type.Union(literals([...actions, ...families]), {
      description: "What was done: one action, or all of a family, such as `token`.",
    }),
  ),
  aggregate_type: Type.Optional(AggregateType),
  /** Without a type it would name several aggregates: refused by the engine. */
  aggregate_id: Type.Optional(AggregateId),
  subject: Type.Optional(
    Text({
      description: "What it was done to, where that is no aggregate: a schema, a token's id.",
      ...{ minLength: 1, maxLength: limits.name_chars_max, name: false },
    }),
  ),
  group: Type.Optional(Issuing("The group of whoever did it.")),
  user: Type.Optional(Issuing("The user who did it.")),
  since: Type.Optional(InstantOf("at this instant or later")),
  until: Type.Optional(InstantOf("before this instant")),
});
export type AuditSelection = Static<typeof AuditSelection>;

/** Who does it, when and why. */
export type Change = Pick<AuditEntry, "at" | "issued_by" | "comment">;

/**
 * Puts a change into the audit trail before it is made. `subject` names what is changed, where
 * there are several.
 */
export type Note = (
  action: OtherAction,
  subject: string | null,
  details: Readonly<Record<string, unknown>> | null,
) => Promise<void>;

/** A change that the storage does not make itself. */
export interface OtherChange extends Change {
  readonly action: OtherAction | "erase";
  /** The aggregate, if it is one that is changed. */
  readonly aggregate: StreamKey | null;
  readonly subject: string | null;
  /** Plain values, no secret. */
  readonly details: Readonly<Record<string, unknown>> | null;
}
