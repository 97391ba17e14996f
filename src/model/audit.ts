// What is recorded of a change that is no event: who, when, what and why. Append-only.

import { Type, type Static } from "@sinclair/typebox";
import { Issuer } from "./actor.ts";
import { ExactJson } from "./kinds.ts";
import type { StreamKey } from "./stream.ts";

/** What can be done to an aggregate as a whole. */
const aggregateActions = [
  Type.Literal("snapshot"),
  Type.Literal("archive"),
  Type.Literal("restore"),
  Type.Literal("remove"),
  Type.Literal("erase"),
] as const;

/** What can be done to something else; `subject` names which one, where there are several. */
const otherActions = [
  Type.Literal("token.issue"),
  Type.Literal("token.revoke"),
  Type.Literal("token.refresh"),
  Type.Literal("schema.create"),
  Type.Literal("schema.change"),
  Type.Literal("key.rotate"),
] as const;

const AggregateAction = Type.Union([...aggregateActions]);
export type AggregateAction = Static<typeof AggregateAction>;
const OtherAction = Type.Union([...otherActions]);
type OtherAction = Static<typeof OtherAction>;
const AuditAction = Type.Union([...aggregateActions, ...otherActions], {
  description: "What was done.",
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

/** Who does it, when and why. */
export type Change = Pick<AuditEntry, "at" | "issued_by" | "comment">;

/** Puts a change into the audit trail before it is made. `subject` names what is changed. */
export type Note = (
  action: OtherAction,
  subject: string,
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
