// A data encryption key that lies in a file of its own, from the first configuration on: with the
// server down and up, exchanged, read-only, moved from and to the configuration file.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const dek = Buffer.alloc(32, 7).toString("base64");
const other = Buffer.alloc(32, 8).toString("base64");
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });

/** In: arguments. Out: what was printed, of a command that MUST succeed and show no key. */
async function ok(...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await run(args);
  expect({ args, stderr, code }).toEqual({ args, stderr, code: 0 });
  for (const key of [dek, other]) expect(stdout + stderr).not.toContain(key);
  return stdout + stderr;
}
const keyPath = () => join(home, "key");
const keyText = () => readFileSync(keyPath(), "utf8").trim();
const configText = () => readFileSync(join(home, ".eventdbx/config.toml"), "utf8");
const apply = (id: string) => ok("aggregate", "apply", "person", id, "noted", "--field", "a=1");
const verify = () => ok("aggregate", "verify", "--all");

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
  writeFileSync(keyPath(), `${dek}\n`, { mode: 0o600 });
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

const first = () => ok("config", "--master-key", "correct horse battery", "--dek-file", "key");

test("the first configuration may name a file, which then stays out of the other one", async () => {
  const alone = await run(["config", "--dek-file", "key"]);
  expect(alone.stderr).toContain("missing: --master-key");
  await first();
  expect(configText()).toContain(`\ndek_file = "${keyPath()}"\n`);
  expect(configText()).not.toContain(dek);
  const shown = await ok("config");
  expect(shown).toContain(`dek_file = "${keyPath()}"`);
  expect(shown).not.toContain("data_encryption_key");
  await apply("p-1");

  rmSync(keyPath());
  const gone = await run(["aggregate", "get", "person", "p-1"]);
  expect(gone.stderr).toContain(`dek_file: cannot read the key file ${keyPath()} (ENOENT)`);
  expect(gone.code).toBe(2);
  // Whoever has put it elsewhere says so.
  writeFileSync(join(home, "moved"), dek, { mode: 0o600 });
  await ok("config", "--dek-file", "moved");
  await verify();
});

describe.each(["down", "up"])("with the server %s", (server) => {
  test("another key takes its place in its file", async () => {
    await first();
    if (server === "up") await ok("start", "--port", "0");
    await apply("p-1");
    const before = configText();
    const { stderr, code } = await run(["config", "--rotate-dek", "-"], { stdin: `${other}\n` });
    expect({ stderr, code }).toMatchObject({ code: 0 });
    expect(stderr).toContain(`kept in ${keyPath()}`);
    expect(stderr).not.toContain("warning");
    expect(keyText()).toBe(other);
    expect(statSync(keyPath()).mode & 0o777).toBe(0o600);
    expect(configText()).toBe(before);
    if (server === "up") await ok("restart", "--port", "0");
    await verify();
    if (server === "up") await ok("stop");
    const wrong = await run(["aggregate", "list"], { env: { EVENTDBX_DEK: dek } });
    expect(wrong.stderr).toContain("is not the one of this store");
  });

  test("a file that is read-only is told before anything is changed", async () => {
    await first();
    if (server === "up") await ok("start", "--port", "0");
    await apply("p-1");
    chmodSync(keyPath(), 0o400);
    const refused = await run(["config", "--rotate-dek", other]);
    expect(refused.stderr).toContain(`${keyPath()} holds the present key and is read-only`);
    expect(refused.code).not.toBe(0);
    expect(await ok("audit", "--json")).not.toContain("key.rotate");
    expect(keyText()).toBe(dek);
    // No rotation is under way, or another key would be refused now.
    chmodSync(keyPath(), 0o600);
    await ok("config", "--rotate-dek", Buffer.alloc(32, 9).toString("base64"));
    await verify();
  });

  test("a key of the environment alone is exchanged only once a file is named for it", async () => {
    const env = { EVENTDBX_DEK: dek };
    const asked = async (...args: string[]) => {
      const { stdout, stderr, code } = await run(args, { env });
      for (const key of [dek, other]) expect(stdout + stderr).not.toContain(key);
      return { said: stdout + stderr, code };
    };
    await asked("config", "--master-key", "correct horse battery");
    if (server === "up") await asked("start", "--port", "0");
    await asked("aggregate", "apply", "person", "p-1", "noted", "--field", "a=1");
    const before = configText();
    const refused = await asked("config", "--rotate-dek", other);
    expect(refused.said).toContain("the data encryption key comes from the environment");
    expect(refused.code).not.toBe(0);
    expect(configText()).toBe(before);
    expect((await asked("audit", "--json")).said).not.toContain("key.rotate");
    expect((await asked("aggregate", "verify", "--all")).code).toBe(0);

    // As the refusal says.
    expect((await asked("config", "--dek-file", "key")).code).toBe(0);
    writeFileSync(keyPath(), other);
    const lossy = await asked("config", "--rotate-dek", Buffer.alloc(32, 9).toString("base64"));
    expect(lossy.said).toContain(`${keyPath()} holds another key than the environment`);
    expect([lossy.code === 0, keyText()]).toEqual([false, other]);
    writeFileSync(keyPath(), dek);
    expect((await asked("config", "--rotate-dek", other)).said).toContain(`kept in ${keyPath()}`);
    expect(keyText()).toBe(other);
    for (const key of [dek, other]) expect(configText()).not.toContain(key);
    if (server === "up") expect((await asked("stop")).code).toBe(0);
    const now = await run(["aggregate", "verify", "--all"], { env: { EVENTDBX_DEK: other } });
    expect(now.code).toBe(0);
    const without = await run(["aggregate", "list"], { env: { EVENTDBX_DEK_FILE: "" } });
    expect(without.code).toBe(0);
    // Sealed once, the store opens for nobody who has no key.
    rmSync(join(home, ".eventdbx/config.toml"));
    for (const args of [
      ["aggregate", "list"],
      ["start", "--port", "0"],
    ]) {
      const { stderr, code } = await run(args);
      expect([stderr.includes("encrypt"), code === 0]).toEqual([true, false]);
    }
  });
});

test("another key is no key of what is stored, which is told with the way to exchange it", async () => {
  await first();
  await apply("p-1");
  writeFileSync(join(home, "another"), other, { mode: 0o600 });
  for (const flags of [
    ["--dek", other],
    ["--dek-file", "another"],
  ]) {
    const { stderr, code } = await run(["config", ...flags]);
    expect({ flags, code }).toEqual({ flags, code: 4 });
    expect(stderr).toStartWith(`error: ${flags[0]} is not the key of what is stored in `);
    expect(stderr).toContain("in place of the present one: dbx config --rotate-dek");
    expect(stderr).not.toContain(other);
  }
});

test("a key file that is named again is no reason for a warning", async () => {
  await first();
  await apply("p-1");
  const config = join(home, ".eventdbx/config.toml");
  writeFileSync(config, configText().replace(/^dek_file = .*\n/m, ""));
  const { stderr, code } = await run(["config", "--dek-file", "key"]);
  expect({ code, warns: stderr.includes("warning") }).toEqual({ code: 0, warns: false });
  await verify();
});

test("a key moves from the configuration file into one of its own, and back", async () => {
  await ok("config", "--master-key", "correct horse battery", "--dek", dek);
  await apply("p-1");
  await ok("config", "--dek-file", "key");
  expect(configText()).not.toContain(dek);
  await verify();
  await ok("config", "--dek", dek);
  expect(configText()).toContain(`data_encryption_key = "${dek}"`);
  expect(configText()).toContain('dek_file = ""');
  await verify();

  const both = await run(["config", "--dek", dek, "--dek-file", "key"]);
  expect(both.stderr).toContain("--dek and --dek-file both give the data encryption key");
  writeFileSync(keyPath(), other);
  const before = configText();
  const wrong = await run(["config", "--dek-file", "key"]);
  expect(wrong.stderr).toContain("--dek-file is not the key of what is stored in");
  expect(configText()).toBe(before);
});

test("a running server puts another key where the configuration has the present one by now", async () => {
  await ok("config", "--master-key", "correct horse battery", "--dek", dek);
  await ok("start", "--port", "0");
  await apply("p-1");
  await ok("config", "--dek-file", "key");
  await ok("config", "--rotate-dek", other);
  expect(keyText()).toBe(other);
  for (const key of [dek, other]) expect(configText()).not.toContain(key);
  await ok("restart", "--port", "0");
  await verify();
});

test("a server says at its start that others may read the key", async () => {
  await first();
  for (const [mode, told] of [
    [0o640, true],
    [0o600, false],
  ] as const) {
    chmodSync(keyPath(), mode);
    await using server = await startForeground({ home });
    const words = "others may read the data encryption key";
    expect([mode, server.log().includes(words)]).toEqual([mode, told]);
    expect(server.log()).not.toContain(dek);
  }
  chmodSync(keyPath(), 0o644);
  const refused = await run(["start", "--foreground", "--port", "0"]);
  expect(refused.stderr).toContain(`run: chmod 600 ${keyPath()}`);
  expect(refused.code).toBe(2);
});
