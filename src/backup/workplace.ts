// A hidden directory for what is not finished, beside what it is to become. It goes away however
// the command ends; after a kill the next command finds that nobody holds its lock, and removes it.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { unavailable } from "../model/error.ts";
import { isLocked, lockName, takeLock } from "../storage/sqlite/lock.ts";

export interface Workplace extends Disposable {
  /** Mode 0700. */
  readonly path: string;
}

/** How it is told from what anybody else keeps there. */
export const workplacePattern = /^\.dbx-(?:backup|restore)-\w{6}$/;

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** `keep`: says whether one that was left behind holds what is needed still. */
export async function openWorkplace(
  parent: string,
  { kind, keep }: { readonly kind: "backup" | "restore"; readonly keep: (path: string) => boolean },
): Promise<Workplace> {
  try {
    removeLeft(parent, keep);
    const path = mkdtempSync(join(parent, `.dbx-${kind}-`));
    const release = await takeLock({ directory: path, lock_wait_ms: 0 });
    const dispose = (): void => {
      for (const name of signals) process.off(name, interrupt);
      release();
      rmSync(path, { recursive: true, force: true });
    };
    // Once nobody listens, the signal ends the process as if nobody ever had.
    const interrupt = (name: NodeJS.Signals): void => {
      dispose();
      process.kill(process.pid, name);
    };
    for (const name of signals) process.on(name, interrupt);
    return { path, [Symbol.dispose]: dispose };
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    const reason = "code" in cause ? String(cause.code) : cause.message;
    throw unavailable(`cannot write in ${parent} (${reason})`, { path: parent, reason }, { cause });
  }
}

function removeLeft(parent: string, keep: (path: string) => boolean): void {
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    // Without a lock file its owner has only just made it.
    if (!workplacePattern.test(name) || !existsSync(join(path, lockName))) continue;
    if (!isLocked(path) && !keep(path)) rmSync(path, { recursive: true, force: true });
  }
}

/** Throws `unavailable` where so much is not free; `spare` stays for whoever else writes there. */
export async function requireRoom(
  path: string,
  { bytes, spare }: { readonly bytes: number; readonly spare: number },
): Promise<void> {
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (free >= bytes + spare) return;
  const mib = (count: number): string => `${Math.ceil(count / 2 ** 20)} MiB`;
  throw unavailable(
    `not enough room in ${path}: ${mib(free)} are free, and ${mib(bytes + spare)} are needed`,
    { path, free_bytes: free, needed_bytes: bytes + spare },
  );
}
