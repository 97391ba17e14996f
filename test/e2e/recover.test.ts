// Where a user would be stuck: the message must name the way out.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, readPid, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

test("a dead token in the environment is named, because every hinted command would use it", async () => {
  await run(["aggregate", "create", "t", "1"]);
  const env = { EVENTDBX_TOKEN: "EVT-0" };
  const { stderr, code } = await run(["token", "list"], env);
  expect(stderr).toContain("EVENTDBX_TOKEN is set; unset it to act as this machine");
  expect(code).toBe(5);
  const flag = await run(["aggregate", "list", "--token", "EVT-0"]);
  expect(flag.stderr).not.toContain("EVENTDBX_TOKEN");
  // Where both are there, the flag's is the one that was refused; dbx token has it for another's.
  const both = await run(["aggregate", "list", "--token=EVT-0"], env);
  expect(both.stderr).not.toContain("EVENTDBX_TOKEN");
  expect(both.stderr).toContain("hint:  dbx token list; ");
  const other = await run(["token", "revoke", "--token", "EVT-1"], env);
  expect(other.stderr).toContain("EVENTDBX_TOKEN is set; unset it to act as this machine");
});

test("the data directory is not changed away from under a running server", async () => {
  await using _server = await startForeground({ home });
  const elsewhere = join(home, "elsewhere");
  const keys = [
    "--master-key",
    "correct horse battery",
    "--dek",
    Buffer.alloc(32).toString("base64"),
  ];
  const { stderr, code } = await run(["config", ...keys, "--data-dir", elsewhere]);
  expect(stderr).toContain("stop it before you leave it");
  expect(code).toBe(4);
  expect((await run(["status"])).code).toBe(0);
});

test("a daemon that cannot start tells its own reason and its own exit code", async () => {
  await run(["aggregate", "create", "t", "1"]);
  writeFileSync(join(home, ".eventdbx/tokens.json"), "{");
  const unreadable = await run(["start", "--port", "0"]);
  expect(unreadable.stderr).toContain("tokens.json cannot be read");
  expect(unreadable.code).toBe(4);
  rmSync(join(home, ".eventdbx/tokens.json"));
  rmSync(join(home, ".eventdbx/dbx.db"));
  const lost = await run(["start", "--port", "0"]);
  expect(lost.stderr).toContain("dbx.db is missing or empty");
  expect(lost.code).toBe(8);
  expect(() => readPid(home)).toThrow();
});
