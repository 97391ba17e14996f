// A directory for files that are not finished, and their way out of it. Nothing of it stays,
// whether the export ends well, fails or is interrupted.

import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { unavailable, type DbxError } from "../../model/error.ts";
import { syncDirectory } from "../../storage/documents.ts";

export interface Scratch extends Disposable {
  /** Mode 0700. */
  readonly path: string;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function openScratch(workplace: string): Scratch {
  const path = mkdtempSync(join(workplace, ".dbx-export-"));
  const dispose = () => {
    for (const name of signals) process.off(name, interrupt);
    rmSync(path, { recursive: true, force: true });
  };
  // Once nobody listens, the signal ends the process as if nobody ever had.
  const interrupt = (name: NodeJS.Signals) => {
    dispose();
    process.kill(process.pid, name);
  };
  for (const name of signals) process.on(name, interrupt);
  return { path, [Symbol.dispose]: dispose };
}

interface Move {
  readonly from: string;
  readonly to: string;
}

/**
 * Renames finished files to their places, durably. Each place holds its old file or its new one; a
 * crash in between may leave some of either. So may a place that refuses unforeseen (a mount point,
 * an immutable file): `unavailable` then, with the places that are new in `details.exported`.
 */
export async function publish(moves: readonly Move[]): Promise<void> {
  const folders = new Set<string>();
  // Synchronous, so that no signal comes in between; directories first, because they may fail.
  for (const { to } of moves) {
    const made = mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    if (made !== undefined) folders.add(dirname(made));
    folders.add(dirname(to));
  }
  const exported: string[] = [];
  for (const { from, to } of moves) {
    try {
      renameSync(from, to);
    } catch (cause) {
      if (exported.length === 0) throw cause;
      throw onlySome({ to, exported, of: moves.length, cause });
    }
    exported.push(to);
  }
  for (const folder of folders) await syncDirectory(folder);
}

function onlySome(told: {
  to: string;
  exported: readonly string[];
  of: number;
  cause: unknown;
}): DbxError {
  const { to, exported, of, cause } = told;
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const done = `only ${exported.length} of ${of} files are exported`;
  return unavailable(
    `cannot write ${to} (${reason}); ${done}`,
    { file: to, reason, exported },
    { cause },
  );
}
