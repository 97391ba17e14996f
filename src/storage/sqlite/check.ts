// What no event can show: damaged pages, indexes that disagree with their tables, rows that belong
// to nothing. Reads everything, so a server runs it on a thread.

import type { Database } from "bun:sqlite";
import { integrityCheck, orphanChecks } from "./sql.ts";

/** The faults as sentences, at most `limit`; none when sound. */
export function checkDatabase(database: Database, limit: number): string[] {
  const faults: string[] = [];
  {
    using statement = database.prepare<{ integrity_check: string }, []>(integrityCheck(limit));
    for (const { integrity_check } of statement.all()) {
      if (integrity_check !== "ok") faults.push(integrity_check);
    }
  }
  for (const sql of orphanChecks) {
    if (faults.length >= limit) break;
    using statement = database.prepare<{ fault: string }, [number]>(sql);
    faults.push(...statement.all(limit - faults.length).map(({ fault }) => fault));
  }
  return faults;
}
