// `dbx config` and the flags that `start` keeps: what is written, what is not, who is told, and
// that secrets stay secret.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, readPid, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });
const path = () => join(home, ".eventdbx/config.toml");
const text = () => readFileSync(path(), "utf8");
const masterKey = "correct horse battery";
const dek = Buffer.alloc(32, 7).toString("base64");
const keys = ["--master-key", masterKey, "--dek", dek];

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

describe("the first configuration", () => {
  test.each([
    ["no key", [], "--master-key, --dek"],
    ["the master key alone", ["--master-key", masterKey], "--dek"],
    ["the DEK alone", ["--dek", dek], "--master-key"],
  ])("with %s is refused and writes nothing", async (_name, args, missing) => {
    const { stdout, stderr, code } = await run(["config", "--page-limit", "5", ...args]);
    expect(stderr).toContain(`missing: ${missing} (invalid_argument)`);
    expect({ stdout, code }).toEqual({ stdout: "", code: 2 });
    expect(existsSync(path())).toBe(false);
  });

  test("with both keeps the key's hash and the DEK, and never shows either", async () => {
    const { stdout, stderr, code } = await run(["config", "--page-limit", "5", ...keys]);
    expect({ stdout, code }).toEqual({ stdout: "", code: 0 });
    expect(stderr).toContain(`configuration saved to ${path()}`);
    const hash = /^master_key_hash = "(\$argon2id\$v=19\$m=19456,t=2,p=1\$.+)"$/m.exec(text())?.[1];
    expect(await Bun.password.verify(masterKey, hash ?? "")).toBe(true);
    expect(text()).toContain(`\ndata_encryption_key = "${dek}"\n`);
    expect(text()).not.toContain(masterKey);
    expect(statSync(path()).mode & 0o777).toBe(0o600);

    const shown = await run(["config"]);
    expect(shown.stdout).toContain('data_encryption_key = "set"');
    expect(shown.stdout).toContain('master_key_hash = "set"');
    const json = await run(["config", "--json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      page_limit: 5,
      admin: { master_key_hash: "set" },
    });
    for (const secret of [dek, masterKey, "argon2id"]) {
      expect(shown.stdout + shown.stderr + json.stdout + stderr).not.toContain(secret);
    }
    // The second time nothing but the change is needed.
    const told = await run(["config", "--list-page-size", "3", "--json"]);
    expect(JSON.parse(told.stdout)).toMatchObject({
      ...{ list_page_size: 3, page_limit: 5 },
      data_encryption_key: "set",
    });
    expect(told.stdout).not.toContain(dek);
    expect(told.code).toBe(0);
    expect(text()).toContain("\nlist_page_size = 3\n");
  });

  test("takes its secrets from stdin or the environment as well", async () => {
    const stdin = `${masterKey}\n${dek.replace("=", "")}\n`;
    expect((await run(["config", "--master-key", "-", "--dek", "-"], { stdin })).code).toBe(0);
    expect(text()).toContain(`data_encryption_key = "${dek}"`);
    const other = join(home, "other.toml");
    const env = { EVENTDBX_MASTER_KEY: masterKey, EVENTDBX_DEK: dek };
    const told = await run(["config", "--config", other, "--port", "1"], { env });
    expect(told.code).toBe(0);
    expect(told.stderr).toContain("the data encryption key is in the environment only: it must be");
    const kept = readFileSync(other, "utf8");
    expect(kept).toContain("$argon2id$");
    // What the environment holds stays there.
    expect(kept).not.toContain(dek);
    // It sets the first master key; it replaces none that nobody asked to replace.
    const another = { ...env, EVENTDBX_MASTER_KEY: "another one, long enough" };
    const again = ["config", "--config", other, "--page-limit", "5"];
    expect((await run(again, { env: another })).code).toBe(0);
    const lines = readFileSync(other, "utf8").split("\n");
    expect(lines.filter((line) => !kept.split("\n").includes(line))).toEqual(["page_limit = 5"]);
  });

  test.each([
    ["x".repeat(15), "a master key has at least 16 characters"],
    ["ä😀".repeat(7), "a master key has at least 16 characters"],
    [`EVT-${"0".repeat(64)}`, "a master key must not begin with EVT-, as tokens do"],
  ])("refuses %j as a master key, and writes nothing", async (bad, words) => {
    for (const [args, over] of [
      [["--master-key", bad, "--dek", dek], {}],
      [["--master-key", "-", "--dek", dek], { stdin: `${bad}\n` }],
      [["--dek", dek], { env: { EVENTDBX_MASTER_KEY: bad } }],
    ] as const) {
      const { stderr, code } = await run(["config", ...args], over);
      expect(stderr).toStartWith(`error: ${words}`);
      expect(stderr).not.toContain(bad);
      expect(code).toBe(2);
    }
    expect(existsSync(path())).toBe(false);
  });

  test("says that each secret takes a line of its own", async () => {
    const stdin = `${masterKey}\n`;
    const ran = await run(["config", "--master-key", "-", "--dek", "-"], { stdin });
    expect(ran).toMatchObject({ stdout: "", code: 2 });
    expect(ran.stderr).toContain("take a line of stdin each, the master key first; there is one");
    const none = await run(["config", "--master-key", masterKey, "--dek", "-"], { stdin: "\n" });
    expect(none.stderr).toStartWith("error: --dek cannot be empty");
  });

  test.each([
    "short",
    Buffer.alloc(31).toString("base64"),
    Buffer.alloc(33).toString("base64"),
    "*".repeat(44),
  ])("refuses %j as a DEK", async (bad) => {
    const { stderr, code } = await run(["config", "--master-key", masterKey, "--dek", bad]);
    expect(stderr).toStartWith("error: --dek must be base64 of exactly 32 bytes");
    expect(stderr).not.toContain(bad);
    expect(code).toBe(2);
  });
});

describe("a file that is there", () => {
  const old = [
    "# mine",
    "page_limit = 10   # small",
    "",
    "future_key = [1, 2] # from a later version",
    "[api]",
    "rest = true",
    "",
  ].join("\n");

  test("keeps its comments, its order and what nobody knows", async () => {
    mkdirSync(join(home, ".eventdbx"));
    writeFileSync(path(), old);
    const ran = await run(["config", "--page-limit", "20", ...keys]);
    expect(ran.stderr).toContain("unknown key future_key");
    expect(ran.code).toBe(0);
    const kept = text().split("\n");
    expect(old.split("\n").filter((line) => !kept.includes(line))).toEqual([
      "page_limit = 10   # small",
    ]);
    expect(kept).toContain("page_limit = 20   # small");
  });

  test("is not touched by a start without flags, and only where flags say so by one with", async () => {
    mkdirSync(join(home, ".eventdbx"));
    const own = `${old}# end\n`.replace("page_limit", "port = 0\npage_limit");
    writeFileSync(path(), own);
    expect((await run(["start"])).code).toBe(0);
    await run(["stop"]);
    expect(text()).toBe(own);
    const data_dir = join(home, "elsewhere");
    const args = ["start", "--restrict", "--no-grpc", "--data-dir", "elsewhere", "--page-limit=1"];
    expect((await run(args)).stderr).toContain("unknown flag --page-limit");
    expect((await run(args.slice(0, -1))).code).toBe(0);
    const added = text()
      .split("\n")
      .filter((line) => !own.split("\n").includes(line));
    expect(added).toEqual([`data_dir = "${data_dir}"`, 'restrict = "default"', "grpc = false"]);
    // Later commands find the server by what was kept.
    const status = await run(["status", "--json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ running: true, data_dir });
    expect((await run(["stop"])).code).toBe(0);
  });

  test("that is broken stops every command but stop and status before anything else", async () => {
    mkdirSync(join(home, ".eventdbx"));
    writeFileSync(path(), "port = 7070\npage_limit = 'many'\n");
    for (const args of [["start"], ["restart"], ["aggregate", "list"], ["config", "--port", "1"]]) {
      expect(await run(args)).toEqual({
        stdout: "",
        stderr: `error: ${path()}, line 2: page_limit must be an integer from 1 to 100000 (invalid_argument)\n`,
        code: 2,
      });
    }
    expect(readdirSync(join(home, ".eventdbx"))).toEqual(["config.toml"]);
  });
});

describe("a running server", () => {
  test("follows what it can and names what needs a restart", async () => {
    await using server = await startForeground({ home });
    await run(["config", ...keys]);
    for (const id of ["1", "2", "3"]) await run(["aggregate", "create", "a", id]);
    const ran = await run(["config", "--list-page-size", "2", "--memory-threshold", "50"]);
    expect(ran.stderr).toContain("followed at once: list_page_size\n");
    expect(ran.stderr).toMatch(/^needs a restart: .*memory_threshold/m);
    expect((await run(["aggregate", "list"])).stdout.trimEnd().split("\n")).toHaveLength(2);
    const status = await run(["status"]);
    expect(status.stdout).toContain(
      "  encryption: off (a key is set; it is used from the next start)\n",
    );
    expect(server.log()).not.toContain(dek);
  });

  test("is administered with the master key it has at the time, from the first one on", async () => {
    await using server = await startForeground({ home });
    const statusFor = async (key: string): Promise<number> => {
      const answer = await fetch(`http://127.0.0.1:${server.port}/admin/tokens`, {
        method: "POST",
        headers: { "X-Admin-Key": key, "Content-Type": "application/json" },
        body: JSON.stringify({ group: "admin", user: "far" }),
      });
      await answer.text();
      return answer.status;
    };
    expect(await statusFor(masterKey)).toBe(401);
    await run(["config", ...keys]);
    expect(await statusFor(masterKey)).toBe(201);
    const changed = await run(["config", "--master-key", "-"], {
      stdin: "another-staple-long-enough\n",
    });
    expect(changed.stderr).toContain("followed at once: admin.master_key_hash\n");
    expect(await statusFor(masterKey)).toBe(401);
    expect(await statusFor("another-staple-long-enough")).toBe(201);
    // From elsewhere the command line has it in the place of a token.
    const env = {
      EVENTDBX_TOKEN: "another-staple-long-enough",
      EVENTDBX_URL: `http://127.0.0.1:${server.port}`,
    };
    const issued = await run(["token", "generate", "--group", "app", "--user", "far"], { env });
    expect(issued.stdout).toStartWith("token=EVT-");
    expect((await run(["aggregate", "list"], { env })).code).toBe(5);
    expect(server.log()).toContain(" warn master key refused configured=true ");
    for (const secret of ["horse", "staple", "argon2"]) {
      expect(server.log() + changed.stderr).not.toContain(secret);
    }
  }, 30_000);

  test("lets a flag go on overruling the environment when its file changes", async () => {
    const env = { EVENTDBX_RESTRICT: "off" };
    await using server = await startForeground({ home, env, args: ["--restrict=strict"] });
    expect((await run(["config", "--page-limit", "5", ...keys])).stderr).toContain(
      "followed at once: page_limit, admin.master_key_hash\n",
    );
    const status = await run(["status", "--json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ pid: server.pid, restrict: "strict" });
    // Without the variable the file says what holds.
    expect(text()).toContain('\nrestrict = "strict"\n');
  });

  test("keeps its flags out of the process list, and so do the keys that come by stdin", async () => {
    await run(["start", "--port", "0"], { env: { EVENTDBX_DEK: dek } });
    const { pid } = readPid(home);
    const listed = Bun.spawnSync(["ps", "-o", "args=", "-p", String(pid)]).stdout.toString();
    expect(listed).toContain("start");
    expect(listed).not.toContain(dek);
    const log = readFileSync(join(home, ".eventdbx/logs/dbx.log"), "utf8");
    expect(log).toContain(" sealing=all ");
    expect(log).not.toContain(dek);
  });
});
