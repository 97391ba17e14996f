// The single writer: a transaction held open on a tiny database of its own. SQLite locks that file
// the way each system wants it, and the system releases it when the process dies, so no lock is
// ever stale. Nothing else may open that file: on POSIX, closing any handle to it would drop the
// lock.

import { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { unavailable } from "../../model/error.ts";
import { readOne } from "./connect.ts";
import { isBusy, translate, translated } from "./failure.ts";
import { lockBegin, lockProbe } from "./sql.ts";

export const lockName = "lock.db";
/** Short against a person's patience, long against the cost of asking. */
const lockPollMs = 20;

/**
 * Resolves with the lock's release, or rejects with `unavailable` once `lock_wait_ms` have passed.
 */
export async function takeLock({
  directory,
  lock_wait_ms,
}: {
  directory: string;
  lock_wait_ms: number;
}): Promise<() => void> {
  const deadline = performance.now() + lock_wait_ms;
  const path = join(directory, lockName);
  let database = new Database(path);
  let file = fileOf(path);
  /** Another directory has been put here (`dbx restore`) while this one's lock was waited for. */
  const reopen = (): void => {
    database.close();
    database = new Database(path);
    file = fileOf(path);
  };
  for (;;) {
    try {
      database.run(lockBegin);
      if (fileOf(path) === file) return () => database.close();
      reopen();
    } catch (cause) {
      if (fileOf(path) !== file) {
        reopen();
        continue;
      }
      if (isBusy(cause) && performance.now() < deadline) {
        await Bun.sleep(lockPollMs);
        continue;
      }
      database.close();
      if (!isBusy(cause)) throw translate(`lock ${directory}`, cause);
      throw unavailable(
        `${directory} is in use by another dbx process; stop that one, or choose another data directory`,
        { directory, waited_ms: lock_wait_ms },
        { cause },
      );
    }
  }
}

/** Which file has the name now. */
const fileOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;

/** Whether some process, this one included, has the directory open for writing. */
export function isLocked(directory: string): boolean {
  const path = join(directory, lockName);
  if (!existsSync(path)) return false;
  const database = translated(
    `look at the lock of ${directory}`,
    () => new Database(path, { readonly: true }),
  );
  try {
    readOne(database, lockProbe);
    return false;
  } catch (cause) {
    if (isBusy(cause)) return true;
    throw translate(`look at the lock of ${directory}`, cause);
  } finally {
    database.close();
  }
}
