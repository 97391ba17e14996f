// What is recorded of a change that is no event: who, when, what and why. Append-only.

import { Type, type Static } from "@sinclair/typebox";
import { Issuer } from "./actor.ts";

/** What can be done to an aggregate as a whole. */
export const AuditAction = Type.Union([
  Type.Literal("snapshot"),
  Type.Literal("archive"),
  Type.Literal("restore"),
  Type.Literal("remove"),
]);
export type AuditAction = Static<typeof AuditAction>;

export const AuditEntry = Type.Object(
  {
    entry: Type.Integer({ minimum: 1, description: "Ordinal in the audit trail: 1, 2, 3." }),
    at: Type.String({ description: "UTC, six digits of a second." }),
    issued_by: Type.Union([Issuer, Type.Null()]),
    action: AuditAction,
    aggregate_type: Type.String(),
    aggregate_id: Type.String(),
    comment: Type.Union([Type.String(), Type.Null()]),
  },
  { $id: "AuditEntry" },
);
export type AuditEntry = Static<typeof AuditEntry>;

/** Who does it, when and why. */
export type Change = Pick<AuditEntry, "at" | "issued_by" | "comment">;
