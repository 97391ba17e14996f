// Runs a script under strace, which lists its calls on some files and can let one of them fail, or
// kill the process at one.

import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Why this machine cannot trace; null if it can. */
export function reasonNotToTrace(): string | null {
  if (process.platform !== "linux") return "strace exists on Linux only";
  if (Bun.which("strace") === null) return "strace is not installed";
  const trial = Bun.spawnSync(["strace", "-f", "-e", "trace=fsync", "true"]);
  return trial.exitCode === 0 ? null : `strace may not trace here: ${trial.stderr.toString()}`;
}

export interface TracedRun {
  /** Of the calls, in their order. */
  readonly lines: readonly string[];
  readonly stdout: string;
}

/** `calls` and `inject` as strace's own `-e` takes them. */
export async function trace(options: {
  readonly directory: string;
  readonly files: readonly string[];
  readonly calls: string;
  readonly inject: string | null;
  readonly argv: readonly string[];
}): Promise<TracedRun> {
  const { directory, files, calls, inject, argv } = options;
  const output = `${directory}.trace`;
  const child = Bun.spawn(
    [
      ...["strace", "-f", "-y", "-s", "0", "-o", output, "-e", `trace=${calls}`],
      ...files.flatMap((file) => ["-P", join(directory, file)]),
      ...(inject === null ? [] : ["-e", `inject=${inject}`]),
      ...[process.execPath, ...argv],
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  const stdout = await child.stdout.text();
  await child.exited;
  return { lines: (await readFile(output, "utf8")).split("\n"), stdout };
}
