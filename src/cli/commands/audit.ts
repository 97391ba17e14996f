// `dbx audit`: the changes that are no events, by whom and why.

import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { operations } from "../../api/operations.ts";
import type { AuditEntry } from "../../model/audit.ts";
import { invalidArgument } from "../../model/error.ts";
import { command } from "../command.ts";
import { pairs } from "../output.ts";
import { tellMore } from "../pages.ts";
import { asking, callFlags, count, keyFlags, strict } from "./key-flags.ts";

const said = (description: string, hint: string) =>
  Type.Optional(Type.String({ hint, minLength: 1, description }));

export const audit = command({
  summary: "List changes that are no events, by whom and why; oldest first.",
  about:
    "All that is selected must hold. One page: --take entries, else page_limit. If more follow, stderr says\n" +
    "behind which entry. With --json that is a line of JSON with the member next_after, or next_before with\n" +
    "--reverse. Needs the grant admin.",
  flags: Type.Object(
    {
      action: said("What was done: one action, or a family of them, such as `token`.", "name"),
      aggregate: Type.Optional({
        ...keyFlags.aggregate,
        description: "Of aggregates of this type.",
      }),
      aggregate_id: Type.Optional({
        ...keyFlags.aggregate_id,
        description: "Of this one; with --aggregate.",
      }),
      subject: said("Done to this schema, or to the token with this id.", "name"),
      group: said("Done by somebody of this group.", "name"),
      user: said("Done by this user.", "name"),
      since: said("Done at this instant (RFC 3339) or later.", "instant"),
      until: said("Done before this instant (RFC 3339).", "instant"),
      after: Type.Optional(count("Give the entries after this one.")),
      before: Type.Optional(count("Give the entries before this one.")),
      reverse: Type.Optional(Type.Boolean({ description: "Newest first." })),
      take: Type.Optional(count("Entries to give, at most page_limit.")),
      ...callFlags,
    },
    strict,
  ),
  examples: [
    "dbx audit",
    "dbx audit --after 100 --json",
    "dbx audit --reverse --take 20",
    "dbx audit --action token --user jane --since 2026-11-01T00:00:00Z --json",
  ],
  run: async ({ token, json: _json, aggregate, reverse = false, ...rest }, shell) => {
    if (rest.aggregate_id !== undefined && aggregate === undefined) {
      throw invalidArgument("--aggregate-id names an aggregate only together with --aggregate", {
        flag: "--aggregate-id",
      });
    }
    return asking({ shell, access: "read", token }, async ({ ask }) => {
      const asked = {
        ...rest,
        ...(aggregate === undefined ? {} : { aggregate_type: aggregate }),
        ...(reverse ? { order: "desc" as const } : {}),
      };
      const entries = await ask("listAudit", asked);
      const { output } = shell;
      if (output.json) await output.jsonText(toJson(operations.listAudit.output, entries));
      for (const entry of output.json ? [] : entries) await output.data(lineOf(entry));
      const last = entries.at(-1)?.entry;
      if (last === undefined) return;
      const flag = reverse ? "before" : "after";
      const [following] = await ask("listAudit", { ...asked, [flag]: last, take: 1 });
      if (following !== undefined) tellMore(output, { flag, value: last });
    });
  },
});

/** Each names what it is about, and nothing else. */
const lineOf = ({ issued_by, comment, entry, at, action, ...about }: AuditEntry): string =>
  pairs({
    ...{ entry, at, action },
    ...Object.fromEntries(
      Object.entries(about).filter(([, value]) => value !== null && value !== "null"),
    ),
    // A group may have any name, `none` included.
    ...(issued_by === null ? { issued_by } : { group: issued_by.group, user: issued_by.user }),
    comment: comment ?? "",
  });
