// A directory for files that are not finished, and their way out of it. Nothing of it stays,
// whether the export ends well, fails or is interrupted.

import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { syncDirectory } from "../../storage/documents.ts";
import { look } from "./place.ts";

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

/**
 * Renames finished files to their places, durably. Each place holds its old file or its new one; a
 * crash in between may leave some of either.
 */
export async function publish(moves: readonly { from: string; to: string }[]): Promise<void> {
  const folders = new Set<string>();
  // All are looked at before the first is replaced.
  const targets = moves.map(({ to }) => (look(to) === "file" ? realpathSync(to) : to));
  // Synchronous, so that no signal comes in between.
  moves.forEach(({ from }, index) => {
    const to = targets[index] ?? from;
    const made = mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    if (made !== undefined) folders.add(dirname(made));
    folders.add(dirname(to));
    renameSync(from, to);
  });
  for (const folder of folders) await syncDirectory(folder);
}
