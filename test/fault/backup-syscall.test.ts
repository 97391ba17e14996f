// What the system was asked for, and in which order: a backup has its name only when its bytes are
// on the disk, and a restored directory is in its place only when all of its files are.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dbxCommand } from "../support/cli.ts";
import { openHome, type Home } from "../support/homes.ts";

/** Why this machine cannot run the test; null if it can. */
function reasonToSkip(): string | null {
  if (process.platform !== "linux") return "strace exists on Linux only";
  if (Bun.which("strace") === null) return "strace is not installed";
  const trial = Bun.spawnSync(["strace", "-f", "-e", "trace=fsync", "true"]);
  return trial.exitCode === 0 ? null : `strace may not trace here: ${trial.stderr.toString()}`;
}

const skipped = reasonToSkip();
if (skipped !== null) console.log(`system calls of backups skipped: ${skipped}`);

/** Syncs and renames of a command that succeeds, one a line, with the paths of descriptors. */
async function callsOf(home: Home, args: readonly string[]): Promise<string[]> {
  const trace = join(home.path, `trace-${args[0]}`);
  const calls = "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2";
  const { command, options } = dbxCommand(args, { home: home.path });
  const child = Bun.spawn(["strace", "-f", "-y", "-qq", "-o", trace, "-e", calls, ...command], {
    ...{ ...options, stdin: "ignore", stdout: "ignore", stderr: "inherit" },
  });
  expect(await child.exited).toBe(0);
  const whole = (line: string) => line.endsWith(" = 0") && !line.includes("unfinished");
  const resumed = (line: string) => line.includes("resumed");
  return readFileSync(trace, "utf8")
    .split("\n")
    .filter((line) => whole(line) || line.includes("unfinished") || resumed(line));
}

const after = (calls: readonly string[], from: number, pattern: RegExp): number => {
  const at = calls.findIndex((line, index) => index > from && pattern.test(line));
  expect({ pattern: String(pattern), found: at > from }).toEqual({
    ...{ pattern: String(pattern), found: true },
  });
  return at;
};

test.skipIf(skipped !== null)(
  "bytes are synced before a name is given, and names after that [needs strace]",
  async () => {
    using home = await openHome();
    await home.fill("person", 50);
    const output = join(home.path, "b/one.dbx");

    const backup = await callsOf(home, ["backup", "--output", output]);

    const packed = after(backup, -1, /f(?:data)?sync\(\d+<[^>]*\/b\/\.dbx-backup-\w+\/backup>/);
    const named = after(backup, packed, /(?:link|rename)\w*\(.*\/backup".*\/b\/one\.dbx"/);
    after(backup, named, /fsync\(\d+<[^>]*\/b>/);

    const data_dir = join(home.path, ".eventdbx");
    const restore = await callsOf(home, ["restore", "--input", output, "--force"]);

    const written = after(restore, -1, /f(?:data)?sync\(\d+<[^>]*\/data\/dbx\.db>/);
    const listed = after(restore, written, /fsync\(\d+<[^>]*\.dbx-restore-\w+\/data>/);
    const aside = after(restore, listed, /rename\w*\(.*\/data".*\.replaced-/);
    const swapped = after(restore, aside, /renameat2\(.*RENAME_EXCHANGE/);
    expect(restore[swapped]).toContain(`"${data_dir}"`);
    after(restore, swapped, new RegExp(`fsync\\(\\d+<${home.path}>`));
  },
  60_000,
);
