// What no event can show: damaged pages, indexes that disagree with their tables, rows that belong
// to nothing. Reads everything, so a server runs it on a thread.

import type { Database } from "bun:sqlite";
import { archivePathOf } from "./archive.ts";
import { checkArchive, integrityFaults } from "./archive-check.ts";
import { checkTrail } from "./audit.ts";
import { integrityCheck, orphanChecks, tableChecks } from "./sql.ts";

interface CheckOptions {
  /** Of the main file. */
  readonly path: string;
  readonly limit: number;
}

/** The faults as sentences, at most `limit`; none when sound. */
export const checkDatabase = (database: Database, options: CheckOptions): string[] =>
  check(database, [integrityCheck(options.limit)], options);

/**
 * The same in short transactions, a table at a time, so that the log can start over in between.
 * Leaves out what belongs to no table: the list of free pages.
 */
export const checkTables = (database: Database, options: CheckOptions): string[] =>
  check(database, tableChecks, options);

function check(
  database: Database,
  integrityChecks: readonly string[],
  { path, limit }: CheckOptions,
): string[] {
  const faults: string[] = [];
  const parts = [
    ...integrityChecks.map((sql) => () => integrityFaults(database, sql)),
    ...orphanChecks.map((sql) => () => orphanFaults(database, sql, limit)),
    () => checkTrail(database, limit),
    () => checkArchive(database, { path: archivePathOf(path), limit }),
  ];
  for (const part of parts) {
    if (faults.length >= limit) break;
    faults.push(...part());
  }
  return faults.slice(0, limit);
}

function orphanFaults(database: Database, sql: string, limit: number): string[] {
  using statement = database.prepare<{ fault: string }, [number]>(sql);
  return statement.all(limit).map(({ fault }) => fault);
}
