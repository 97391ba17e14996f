// Reading the audit trail: those of its entries that somebody asks for, in either direction. No
// index: the trail grows with what people do, not with the log, and is asked for rarely.

import type { Dbx } from "../api/dbx.ts";
import type { AuditEntry, AuditSelection } from "../model/audit.ts";
import { invalidArgument } from "../model/error.ts";
import { parseInstant } from "../model/instant.ts";
import { limits } from "../model/limits.ts";
import { takeOf } from "../model/page.ts";
import type { Storage } from "../storage/storage.ts";
import { readPage } from "./reader.ts";
import type { LiveSettings } from "./settings.ts";
import { nextTurn } from "./turns.ts";

/** More than any entry's ordinal. */
const behindAll = Number.MAX_SAFE_INTEGER;

/** A page is filled up to `take` whatever lies between; long scans let others run. */
export function createAuditReads({
  storage,
  settings,
}: {
  readonly storage: Pick<Storage, "readAudit" | "readAuditBack">;
  readonly settings: Pick<LiveSettings, "current">;
}): Pick<Dbx, "listAudit"> {
  return {
    listAudit: async (_actor, { take, order, after = 0, before = behindAll, ...asked }) => {
      const selects = selectionOf(asked);
      const { page_limit } = settings.current();
      const isWithin = ({ entry }: AuditEntry): boolean => entry > after && entry < before;
      const { shown } = await readPage<AuditEntry, AuditEntry>({
        limit: takeOf(take, { usual: page_limit, cap: page_limit }),
        skip: 0,
        peek: false,
        read: async (seen, limit) => {
          const page =
            order === "desc"
              ? await storage.readAuditBack({ before: seen?.entry ?? before, limit })
              : await storage.readAudit({ after: seen?.entry ?? after, limit });
          return page.filter(isWithin);
        },
        show: (entry) => (selects(entry) ? entry : undefined),
        bytes: ({ details }) => details.length,
      });
      return shown;
    },
  };
}

/** The latest entry of its kind, looked for from the end. */
export async function lastEntry(
  storage: Pick<Storage, "readAuditBack">,
  isMeant: (entry: AuditEntry) => boolean,
): Promise<AuditEntry | undefined> {
  for (let before = behindAll; ;) {
    const page = await storage.readAuditBack({ before, limit: limits.scan_rows_max });
    const found = page.find(isMeant);
    const last = page.at(-1);
    if (found !== undefined || last === undefined) return found;
    before = last.entry;
    await nextTurn();
  }
}

/** Throws `invalid_argument` for what is no instant, and for an id without its type. */
function selectionOf(asked: AuditSelection): (entry: AuditEntry) => boolean {
  const { action, aggregate_type, aggregate_id, subject, group, user } = asked;
  if (aggregate_id !== undefined && aggregate_type === undefined) {
    throw invalidArgument("aggregate_id names an aggregate only together with aggregate_type", {
      path: "/aggregate_id",
    });
  }
  const instantOf = (path: "since" | "until"): string | undefined => {
    const text = asked[path];
    return text === undefined ? undefined : parseInstant(text, { path: `/${path}` });
  };
  const since = instantOf("since");
  const until = instantOf("until");
  return (entry) =>
    (action === undefined || entry.action === action || entry.action.startsWith(`${action}.`)) &&
    (aggregate_type === undefined || entry.aggregate_type === aggregate_type) &&
    (aggregate_id === undefined || entry.aggregate_id === aggregate_id) &&
    (subject === undefined || entry.subject === subject) &&
    (group === undefined || entry.issued_by?.group === group) &&
    (user === undefined || entry.issued_by?.user === user) &&
    (since === undefined || entry.at >= since) &&
    (until === undefined || entry.at < until);
}
