// Backup and restore by the compiled file: its own SQLite, its own compression, and the exchange of
// two directories by the system's library.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { tempDir } from "../support/temp.ts";

test("the compiled file backs up, restores over what is there, and keeps that", async () => {
  const dbx = await compiledDbx();
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  const run = (...args: string[]): string => {
    const env = { ...compiledEnvironment(dir.path), EVENTDBX_BACKUP_PASSPHRASE: "twelve or more" };
    const { stdout, stderr, exitCode } = Bun.spawnSync([dbx, ...args], { env, cwd: dir.path });
    expect({ args, stderr: exitCode === 0 ? "" : stderr.toString(), exitCode }).toEqual({
      ...{ args, stderr: "", exitCode: 0 },
    });
    return stdout.toString();
  };
  const put = (id: string) =>
    run("aggregate", "apply", "person", id, "made", "--field", `id=${id}`);
  put("p-1");
  run("backup", "--output", at("one.dbx"));
  put("p-2");
  run("backup", "--output", at("two.dbx"), "--since", at("one.dbx"));
  put("p-3");
  run("restore", "--input", at("two.dbx"), "--force");
  expect(run("aggregate", "verify", "--all")).toContain("aggregates=2 position=2");
  expect(readdirSync(dir.path).filter((name) => name.includes(".replaced-"))).toHaveLength(1);
}, 120_000);
