// `dbx audit`: the changes that are no events, by whom and why.

import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { operations } from "../../api/operations.ts";
import type { AuditEntry } from "../../model/audit.ts";
import { command } from "../command.ts";
import { pairs } from "../output.ts";
import { tellMore } from "../pages.ts";
import { asking, callFlags, count, strict } from "./key-flags.ts";

export const audit = command({
  summary: "List changes that are no events, by whom and why; oldest first.",
  about:
    "One page: --take entries, else page_limit. If more follow, stderr says behind which entry.\n" +
    "With --json that is a line of JSON with the member next_after. Needs the grant admin.",
  flags: Type.Object(
    {
      after: Type.Optional(count("Entries to pass over: give those after this one.")),
      take: Type.Optional(count("Entries to give, at most page_limit.")),
      ...callFlags,
    },
    strict,
  ),
  examples: ["dbx audit", "dbx audit --after 100 --json"],
  run: ({ token, json: _json, ...page }, shell) =>
    asking({ shell, access: "read", token }, async ({ ask }) => {
      const entries = await ask("listAudit", page);
      const { output } = shell;
      if (output.json) await output.jsonText(toJson(operations.listAudit.output, entries));
      for (const entry of output.json ? [] : entries) await output.data(lineOf(entry));
      const last = entries.at(-1)?.entry;
      if (last === undefined) return;
      const [following] = await ask("listAudit", { after: last, take: 1 });
      if (following !== undefined) tellMore(output, { flag: "after", value: last });
    }),
});

/** Each names what it is about, and nothing else. */
const lineOf = ({ issued_by, comment, entry, at, action, ...about }: AuditEntry): string =>
  pairs({
    ...{ entry, at, action },
    ...Object.fromEntries(
      Object.entries(about).filter(([, value]) => value !== null && value !== "null"),
    ),
    group: issued_by?.group ?? "none",
    user: issued_by?.user ?? "none",
    comment: comment ?? "",
  });
