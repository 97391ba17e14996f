// What SQLite's errors mean in dbx's words. Damaged pages are data_corrupted; everything the
// machine did to us is unavailable; the rest is a mistake of ours and stays as it is.

import { SQLiteError } from "bun:sqlite";
import { type DbxError, dataCorrupted, unavailable } from "../../model/error.ts";

const damaged = /^SQLITE_(CORRUPT|NOTADB)/;
const machine = /^SQLITE_(IOERR|FULL|BUSY|LOCKED|CANTOPEN|READONLY|PERM|AUTH|NOMEM|NOLFS|PROTOCOL)/;

/** Runs `work`; its SQLite errors come out as errors of dbx with the cause kept. */
export function translated<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw translate(what, cause);
  }
}

/** `what` completes "cannot …". */
export function translate(what: string, cause: unknown): unknown {
  if (!(cause instanceof SQLiteError)) return cause;
  const code = cause.code ?? "unknown";
  const details = { sqlite: code, reason: cause.message };
  if (damaged.test(code)) {
    return dataCorrupted(`cannot ${what}: the database file is damaged`, details, { cause });
  }
  if (machine.test(code))
    return unavailable(`cannot ${what}: ${cause.message}`, details, { cause });
  return cause;
}

export const isBusy = (error: unknown): boolean =>
  error instanceof SQLiteError && /^SQLITE_(BUSY|LOCKED)/.test(error.code ?? "");

/** What every commit is told after one has failed. */
export const stopped = (cause: unknown): DbxError =>
  unavailable(
    "the database takes no more writes since one failed; restart dbx when the cause is gone",
    { reason: cause instanceof Error ? cause.message : String(cause) },
    { cause },
  );
