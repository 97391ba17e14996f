// Installs the program of a process plugin as `dbx plugin install` does, into a data directory.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installBundle } from "../../src/plugins/install.ts";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import { realSystem } from "../../src/system.ts";

/** Replaces the one before. The command is run as it is. */
export async function installProgram(data_dir: string, command: readonly string[]): Promise<void> {
  mkdirSync(data_dir, { recursive: true, mode: 0o700 });
  const source = join(data_dir, "taker.sh");
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  writeFileSync(source, `#!/bin/sh\nexec ${words.join(" ")}\n`);
  await installBundle(
    {
      ...{ name: "taker", version: "1.0.0", source },
      ...{ bin: undefined, checksum: undefined, force: true },
    },
    {
      ...{ data_dir, now: realSystem.now, progress: () => {}, idle_ms_max: 30_000 },
      lock: (directory) => takeLock({ directory, lock_wait_ms: 5_000 }),
      signal: new AbortController().signal,
    },
  );
}
