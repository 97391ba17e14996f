// What a slip of the hand must not cost: commands that remove, keep or report the wrong thing for
// want of a look first.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, dbxCommand, endDaemon, pidFile, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
let data_dir: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
  data_dir = join(home, ".eventdbx");
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

const makeDatabase = () => run(["aggregate", "apply", "a", "1", "made", "--field", "x=1"]);

describe("destroy", () => {
  test("takes no file that does not exist for its configuration", async () => {
    await makeDatabase();
    const typo = join(home, "typo.toml");
    for (const args of [["destroy", "--yes"], ["stop"], ["restart"], ["aggregate", "list"]]) {
      const ran = await run([...args, "--config", typo]);
      expect(ran.stderr).toStartWith(`error: --config: ${typo} does not exist (invalid_argument)`);
      expect(ran).toMatchObject({ stdout: "", code: 2 });
    }
    expect(existsSync(join(data_dir, "dbx.db"))).toBe(true);
  });

  test("touches nothing where there is no database", async () => {
    mkdirSync(data_dir);
    const config = join(data_dir, "config.toml");
    writeFileSync(config, "page_limit = 7\n");
    const typo = join(home, "typo9");
    mkdirSync(join(home, "mine"));
    writeFileSync(join(home, "mine/machine.key"), "of something else");
    for (const missing of [typo, join(home, "mine"), data_dir]) {
      const ran = await run(["destroy", "--yes"], { EVENTDBX_DATA_DIR: missing });
      expect(ran.stderr).toStartWith(`error: nothing there: no dbx.db in ${missing} (not_found)`);
      expect(ran).toMatchObject({ stdout: "", code: 3 });
    }
    expect(existsSync(config)).toBe(true);
    expect(existsSync(join(home, "mine/machine.key"))).toBe(true);
    expect(existsSync(typo)).toBe(false);
  });

  test("keeps the configuration of another database", async () => {
    await makeDatabase();
    writeFileSync(join(data_dir, "config.toml"), "page_limit = 7\n");
    const env = { EVENTDBX_DATA_DIR: join(home, "second") };
    await run(["aggregate", "create", "a", "1"], env);
    const done = await run(["destroy", "--yes"], env);
    expect(done).toMatchObject({
      stdout: `all dbx data removed from ${env.EVENTDBX_DATA_DIR}\n`,
      stderr: `left, because it is not this database's: ${data_dir}/config.toml\n`,
      code: 0,
    });
    expect(existsSync(env.EVENTDBX_DATA_DIR)).toBe(false);
    expect(existsSync(join(data_dir, "config.toml"))).toBe(true);
    expect((await run(["aggregate", "get", "a", "1"])).code).toBe(0);
  });

  test("removes a configuration that names the database it removes", async () => {
    const config = join(home, "own.toml");
    writeFileSync(config, 'data_dir = "there"\n');
    await run(["aggregate", "create", "a", "1", "--config", config]);
    expect(existsSync(join(home, "there/dbx.db"))).toBe(true);
    expect((await run(["destroy", "--yes", "--config", config])).code).toBe(0);
    expect(readdirSync(home).filter((name) => name !== ".bun")).toEqual([]);
  });

  test("leaves the files of others in every directory", async () => {
    await makeDatabase();
    const foreign = ["logs/nginx.log", "plugins/a.js", "event_store/CURRENT", ".mine.tmp"];
    for (const name of ["logs", "plugins", "event_store", "schemas.json"]) {
      mkdirSync(join(data_dir, name));
    }
    for (const name of foreign) writeFileSync(join(data_dir, name), "mine");
    writeFileSync(join(data_dir, "logs/dbx.log"), "");
    writeFileSync(join(data_dir, "logs/dbx-20241201T172243-000.log"), "");
    const done = await run(["destroy", "--yes"]);
    expect(done.code).toBe(0);
    const left = done.stderr
      .trimEnd()
      .split("\n")
      .map((line) => line.replace("left, because dbx did not make it: ", ""));
    const names = foreign.map((name) => name.replace(/^(plugins|event_store).*/, "$1"));
    expect(left.sort()).toEqual([...names, "schemas.json"].map((n) => join(data_dir, n)).sort());
    for (const name of foreign) expect(existsSync(join(data_dir, name))).toBe(true);
    expect(readdirSync(join(data_dir, "logs"))).toEqual(["nginx.log"]);
  });
});

describe("output that cannot be written", () => {
  const full = async (args: readonly string[]) => {
    const { command, options } = dbxCommand(args, { home });
    const child = Bun.spawn(["sh", "-c", '"$@" > /dev/full', "sh", ...command], {
      ...options,
      stderr: "pipe",
    });
    return { stderr: await child.stderr.text(), code: await child.exited };
  };

  test("is told as that, with what was done, in one line and without a call to try again", async () => {
    const apply = ["aggregate", "apply", "a", "1", "made", "--field", "x=1"];
    const lost = "the output could not be written (ENOSPC)";
    expect(await full(apply)).toEqual({
      stderr: `error: the event is recorded at position 1, but ${lost} (internal)\n`,
      code: 1,
    });
    const asJson = await full([...apply, "--json"]);
    expect(JSON.parse(asJson.stderr)).toMatchObject({ details: { position: 2, reason: "ENOSPC" } });
    expect((await full(["aggregate", "create", "a", "2"])).stderr).toBe(
      `error: the aggregate is made, but ${lost} (internal)\n`,
    );
    const issued = await full(["token", "generate", "--group=app", "--user=jane"]);
    const [, id = ""] = /^id=([0-9a-f]{16}) /.exec((await run(["token", "list"])).stdout) ?? [];
    const remedy = `to take it back: dbx token revoke ${id}`;
    expect(issued.stderr).toBe(`error: token ${id} is issued (${remedy}), but ${lost} (internal)
`);
    expect((await run(["token", "revoke", id])).code).toBe(0);
    expect(await full(["aggregate", "list"])).toEqual({
      stderr: `error: ${lost}; what the command did is done (internal)\n`,
      code: 1,
    });
  });
});

test("a version that does not exist is not answered with another one", async () => {
  await makeDatabase();
  const ran = await run(["aggregate", "get", "a", "1", "--version", "99"]);
  expect(ran.stderr).toStartWith("error: a/1 has no version 99; it is at version 1 (not_found)");
  expect(ran).toMatchObject({ stdout: "", code: 3 });
  expect((await run(["aggregate", "get", "a", "1", "--version", "1"])).code).toBe(0);
});

describe("a configuration file with a mistake", () => {
  const faults: readonly (readonly [string, string, string])[] = [
    ["a value", "port = 70000\n", "config.toml, line 1: port must be an integer from 0 to 65535"],
    ["syntax", 'data_dir = "there"\nport = = 1\n', "config.toml, line 2, column 8: "],
    ["bytes", 'data_dir = "there"\n# \xe9\n', "config.toml is not UTF-8 text"],
  ];

  test.each(faults)(
    "in %s does not keep stop and status from their work",
    async (_, text, says) => {
      await using server = await startForeground({ home });
      const config = join(home, "broken/config.toml");
      mkdirSync(join(home, "broken"));
      writeFileSync(config, text.replace("there", data_dir), "latin1");
      // With another home the right directory is known from the file alone.
      const env = text.includes("there") ? { HOME: join(home, "broken") } : {};
      const shown = await run(["status", "--config", config], env);
      expect(shown.stderr).toContain(says);
      expect(shown.stderr).toContain("; only data_dir is read\n");
      expect(shown.stdout).toContain(`(pid ${server.pid})`);
      expect((await run(["restart", "--config", config], env)).code).toBe(2);
      const stopped = await run(["stop", "--config", config], env);
      expect(stopped).toMatchObject({ stderr: shown.stderr, code: 0 });
      expect(stopped.stdout).toStartWith(`dbx stopped (pid ${server.pid})`);
    },
  );

  test("that may hide which data directory is meant keeps every command from its work", async () => {
    for (const text of ['data_dir = "there\n', 'x = """\ndata_dir = "there"\n', "data_dir = 1\n"]) {
      writeFileSync(join(home, "config.toml"), text);
      const ran = await run(["stop", "--config", join(home, "config.toml")]);
      expect(ran.stderr).toMatch(/^error: .*config\.toml, line .* \(invalid_argument\)/);
      expect(ran).toMatchObject({ stdout: "", code: 2 });
    }
  });
});

test("a restart on a port that is taken leaves the server that runs", async () => {
  await using server = await startForeground({ home });
  using other = Bun.serve({ port: 0, hostname: "0.0.0.0", fetch: () => new Response("other") });
  const ran = await run(["restart", "--port", String(other.port)]);
  const problem = `port ${other.port} on 0.0.0.0 is in use; the running server goes on`;
  expect(ran.stderr).toStartWith(`error: ${problem}; give another with --port (unavailable)`);
  expect(ran).toMatchObject({ stdout: "", code: 7 });
  expect((await run(["status"])).stdout).toContain(`(pid ${server.pid})`);
});

test("a server whose PID file is lost or garbled is not told as no server", async () => {
  await using server = await startForeground({ home });
  const record = readFileSync(pidFile(home), "utf8");
  const key = Buffer.alloc(32).toString("base64");
  for (const garbled of [null, "{torn", record.replace(String(server.pid), "1")]) {
    rmSync(pidFile(home));
    if (garbled !== null) writeFileSync(pidFile(home), garbled);
    // At once, because each of them waits a moment for a command that may be at its end.
    const leave = [
      "config",
      "--data-dir",
      join(home, "new"),
      `--master-key=${key}`,
      `--dek=${key}`,
    ];
    const all = [["status"], ["stop"], ["restart"], ["destroy", "--yes"], leave];
    for (const ran of await Promise.all(all.map((args) => run(args)))) {
      expect(ran.stderr).toStartWith(`error: ${data_dir} is in use by a process that its PID file`);
      expect(ran).toMatchObject({ stdout: "", code: 4 });
    }
    expect(existsSync(pidFile(home))).toBe(garbled !== null);
    writeFileSync(pidFile(home), record);
  }
  expect((await run(["stop"])).stdout).toStartWith(`dbx stopped (pid ${server.pid})`);
}, 30_000);
