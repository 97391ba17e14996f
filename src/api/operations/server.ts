// The store as a whole: whether it answers, how it does, what it says of itself.

import { Type } from "@sinclair/typebox";
import { AuditEntry, AuditSelection } from "../../model/audit.ts";
import { dataKeyPattern } from "../../model/config.ts";
import { Named } from "../../model/kinds.ts";
import { Page } from "../../model/page.ts";
import { nothing, operation, Root, strict } from "./operation.ts";

const Ordinal = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export const serverOperations = {
  health: operation({
    summary: "Whether dbx answers. Needs no token.",
    kind: "query",
    grant: null,
    reach: "none",
    input: nothing,
    output: Type.Object({ status: Type.Literal("ok") }),
  }),
  verifyLog: operation({
    summary: "Recompute every aggregate and the tree over the whole log, and compare.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Object({
      aggregates: Type.Integer({ description: "How many were recomputed." }),
      position: Type.Integer({ description: "Events recomputed; the last position." }),
      log_root: Root,
    }),
  }),
  serverStatus: operation({
    summary: "What the running server is and does.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Object({
      version: Type.String(),
      restrict: Type.String(),
      durability: Type.String(),
      encrypted: Type.Boolean({ description: "Whether all that is kept is encrypted." }),
      position: Type.Integer(),
      aggregates: Type.Integer(),
      figures: Named(Type.Union([Type.Number(), Type.String()])),
    }),
  }),
  reloadConfig: operation({
    summary: "Read the configuration file again and follow what can change while running.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Object({
      applied: Type.Array(Type.String({ description: "Keys that hold from now on." })),
      restart: Type.Array(Type.String({ description: "Keys that hold after a restart." })),
    }),
  }),
  rotateKey: operation({
    summary:
      "Wrap every data key with another data encryption key; this machine's command line only.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        data_encryption_key: Type.String({
          pattern: dataKeyPattern,
          fault: "must be base64 of exactly 32 bytes",
          description: "The new key, base64 of 32 bytes.",
        }),
      },
      strict,
    ),
    output: Type.Object({
      keys: Type.Integer({ description: "Data keys there are." }),
    }),
  }),
  listAudit: operation({
    summary: "Changes that are no events, by whom and why; all, or those that are selected.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        after: Type.Optional(Ordinal("Give the entries after this one; 0 when missing.")),
        before: Type.Optional(Ordinal("Give the entries before this one; all when missing.")),
        take: Page.properties.take,
        order: Type.Optional(
          Type.Union([Type.Literal("asc"), Type.Literal("desc")], {
            description: "`asc`: oldest first, as when missing. `desc`: newest first.",
          }),
        ),
        ...AuditSelection.properties,
      },
      strict,
    ),
    output: Type.Array(AuditEntry),
  }),
};
