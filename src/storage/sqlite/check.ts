// What no event can show: damaged pages, indexes that disagree with their tables, rows that belong
// to nothing. Reads everything, so a server runs it on a thread.

import type { Database } from "bun:sqlite";
import { checkTrail } from "./audit.ts";
import { integrityCheck, orphanChecks, tableChecks } from "./sql.ts";

/** The faults as sentences, at most `limit`; none when sound. */
export const checkDatabase = (database: Database, limit: number): string[] =>
  check(database, [integrityCheck(limit)], limit);

/**
 * The same in short transactions, a table at a time, so that the log can start over in between.
 * Leaves out what belongs to no table: the list of free pages.
 */
export const checkTables = (database: Database, limit: number): string[] =>
  check(database, tableChecks, limit);

function check(database: Database, integrityChecks: readonly string[], limit: number): string[] {
  const faults: string[] = [];
  for (const sql of integrityChecks) {
    if (faults.length >= limit) break;
    using statement = database.prepare<{ integrity_check: string }, []>(sql);
    const told = statement.all().map(({ integrity_check }) => integrity_check);
    faults.push(...told.filter((fault) => fault !== "ok").slice(0, limit - faults.length));
  }
  for (const sql of orphanChecks) {
    if (faults.length >= limit) break;
    using statement = database.prepare<{ fault: string }, [number]>(sql);
    faults.push(...statement.all(limit - faults.length).map(({ fault }) => fault));
  }
  if (faults.length < limit) faults.push(...checkTrail(database, limit - faults.length));
  return faults;
}
