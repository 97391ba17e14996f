// What SQLite's errors mean in dbx's words. Damaged pages are data_corrupted; everything the
// machine did to us is unavailable; the rest is a mistake of ours and stays as it is.

import { SQLiteError } from "bun:sqlite";
import { type DbxError, dataCorrupted, unavailable } from "../../model/error.ts";
import type { StreamKey } from "../../model/stream.ts";

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

/**
 * Why a transaction on which nothing is planned may be refused alone, once it is rolled back: no
 * room on the disk, or rows of a foreign program in its way. Null for what must end all writing: no
 * failed fsync is among those, because what it has left on the disk is unknown.
 */
export function refusalOf(cause: unknown): DbxError | null {
  if (!(cause instanceof SQLiteError)) return null;
  const details = { sqlite: cause.code ?? "unknown", reason: cause.message };
  if (details.sqlite === "SQLITE_FULL") {
    return unavailable(`cannot write: ${cause.message}`, details, { cause });
  }
  if (details.sqlite.startsWith("SQLITE_CONSTRAINT")) {
    const message = `the database has rows that dbx did not put there: ${cause.message}`;
    return dataCorrupted(message, details, { cause });
  }
  return null;
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

/** What is sealed was changed, or moved here from another place, or its key was exchanged. */
export const notOpened = (
  what: string,
  { aggregate_type, aggregate_id, version }: StreamKey & { readonly version: number },
) =>
  dataCorrupted(`${what} does not open with the key of its aggregate`, {
    ...{ aggregate_type, aggregate_id, version },
  });
