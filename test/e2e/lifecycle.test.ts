// The server as a process: daemon and foreground, two starts, crashes, ports in use, and what is
// left behind.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, http, pidFile, readPid, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });
const logFile = () => readFileSync(join(home, ".eventdbx/logs/dbx.log"), "utf8");

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

const mode = (name: string) => (statSync(join(home, ".eventdbx", name)).mode & 0o777).toString(8);

describe("a daemon", () => {
  test("answers when start returns, tells what it is, and is gone after stop", async () => {
    const started = await run(["start", "--port", "0"]);
    const { pid, port } = readPid(home);
    expect(started.stdout).toMatch(
      new RegExp(
        `^dbx is running on port ${port} \\(pid ${pid}\\) since \\S+Z \\(restrict=default\\)\n$`,
      ),
    );
    expect(started.code).toBe(0);
    const risk = "tokens and data can be read on the way";
    expect(started.stderr).toBe(
      `new database in ${home}/.eventdbx\nwarning: no TLS on 0.0.0.0: ${risk}\n`,
    );
    expect(await http(port, "/health")).toEqual({ status: 200, text: '{"status":"ok"}' });

    const status = await run(["status"]);
    expect(status.stdout).toStartWith(
      `dbx is running on port ${port} (pid ${pid}) — restrict=default — up for `,
    );
    expect(status.stdout).toContain("  encryption: off\n");
    expect(status.code).toBe(0);
    const asJson = JSON.parse((await run(["status", "--json"])).stdout);
    expect(asJson).toMatchObject({ running: true, pid, port, position: 0, durability: "full" });

    const stopped = await run(["stop"]);
    expect(stopped.stdout).toMatch(new RegExp(`^dbx stopped \\(pid ${pid}\\) after `));
    expect(stopped.code).toBe(0);
    expect(existsSync(pidFile(home))).toBe(false);
    expect(logFile()).toEndWith(" info stopped\n");
    // A clean end leaves no log of SQLite behind.
    expect(readdirSync(join(home, ".eventdbx"))).not.toContain("dbx.db-wal");
  });

  test("keeps its files to itself", async () => {
    await run(["start", "--port", "0"]);
    expect((statSync(join(home, ".eventdbx")).mode & 0o777).toString(8)).toBe("700");
    for (const name of ["config.toml", "machine.key", "eventdbx.pid", "logs/dbx.log", "dbx.db"]) {
      expect({ name, mode: mode(name) }).toEqual({ name, mode: "600" });
    }
  });

  test("is refused a second time, and the first goes on", async () => {
    await run(["start", "--port", "0"]);
    const { pid, port } = readPid(home);
    for (const args of [["start"], ["start", "--foreground"]]) {
      expect(await run(args)).toEqual({
        stdout: "",
        stderr: `error: dbx is already running on port ${port} (pid ${pid}) (failed_precondition)\n`,
        code: 4,
      });
    }
    expect((await http(port, "/health")).status).toBe(200);
  });

  test("that is killed leaves a PID file that fools nobody, and nothing is lost", async () => {
    await run(["start", "--port", "0"]);
    const { pid } = readPid(home);
    await run(["aggregate", "apply", "a", "1", "made", "--field", "x=1"]);
    process.kill(pid, "SIGKILL");
    const status = await run(["status"]);
    expect(status).toEqual({ stdout: "dbx is not running\n", stderr: "", code: 3 });
    expect((await run(["aggregate", "verify", "--all"])).stdout).toStartWith(
      "aggregates=1 position=1 ",
    );
    expect(existsSync(pidFile(home))).toBe(true);
    expect((await run(["stop"])).stdout).toBe("removed a stale PID file; dbx is not running\n");
    const again = await run(["start"], { EVENTDBX_BIND_ADDR: "127.0.0.1" });
    expect(again).toMatchObject({ stderr: "", code: 0 });
    expect(JSON.parse((await run(["status", "--json"])).stdout).position).toBe(1);
  });

  test("restart ends the old process and starts a new one with the given options", async () => {
    expect((await run(["restart", "--port", "0"])).code).toBe(0);
    const first = readPid(home);
    const again = await run(["restart", "--restrict=strict", "--json"]);
    expect(again.stderr).toStartWith(`dbx stopped (pid ${first.pid})\nwarning: no TLS `);
    const { pid } = readPid(home);
    expect(pid).not.toBe(first.pid);
    expect(JSON.parse(again.stdout)).toMatchObject({ running: true, pid, restrict: "strict" });
  });

  test("opens the directory that a relative path in the environment names here", async () => {
    const env = { EVENTDBX_DATA_DIR: "./data" };
    const started = await run(["start", "--port=0"], env);
    expect(started.code).toBe(0);
    expect(started.stderr).toStartWith(`new database in ${join(home, "data")}\n`);
    const status = await run(["status", "--json"], env);
    expect(JSON.parse(status.stdout)).toMatchObject({ data_dir: join(home, "data") });
    expect(readdirSync(join(home, "data"))).not.toContain("data");
    expect((await run(["stop"], env)).stdout).toStartWith("dbx stopped (pid ");
  });

  test("that cannot end cleanly says that it failed, not that it could not start", async () => {
    await run(["start", "--port", "0"]);
    const { pid } = readPid(home);
    rmSync(join(home, ".eventdbx/lock.db"));
    mkdirSync(join(home, ".eventdbx/lock.db"));
    process.kill(pid, "SIGTERM");
    const until = performance.now() + 10_000;
    while (!logFile().includes(" error "))
      if (performance.now() > until) throw new Error(logFile());
    expect(logFile()).toMatch(/ info ready [^]* info stopping [^]* error failed reason=/);
    expect(logFile()).not.toContain("cannot start");
  });

  test("whose port is taken says so in its last words", async () => {
    using other = Bun.serve({ port: 0, hostname: "0.0.0.0", fetch: () => new Response("other") });
    const ran = await run(["start", "--port", String(other.port)]);
    expect(ran.stdout).toBe("");
    const problem = `port ${other.port} on 0.0.0.0 is in use; give another with --port`;
    expect(ran.stderr).toContain(problem);
    expect(ran.stderr).not.toContain("hint:");
    expect(ran.code).toBe(7);
    expect(existsSync(pidFile(home))).toBe(false);
    // What did not work is not kept.
    expect(existsSync(join(home, ".eventdbx/config.toml"))).toBe(false);
    expect((await run(["status"])).code).toBe(3);
  });

  test("started twice at once runs once", async () => {
    const both = await Promise.all([run(["start", "--port=0"]), run(["start", "--port=0"])]);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 4]);
    const { port, pid } = readPid(home);
    const lost = both.find(({ code }) => code === 4);
    expect(lost?.stderr).toContain(`error: dbx is already running on port ${port} (pid ${pid})`);
    expect((await run(["status"])).code).toBe(0);
  }, 30_000);
});

test("without machine.key a running server cannot be asked, which names the file", async () => {
  await using _server = await startForeground({ home });
  const path = join(home, ".eventdbx/machine.key");
  rmSync(path);
  for (const args of [["status"], ["token", "generate", "--group=a", "--user=b"]]) {
    const asked = await run(args);
    expect({ args, code: asked.code, stdout: asked.stdout }).toEqual({ args, code: 4, stdout: "" });
    expect(asked.stderr).toStartWith(`error: ${path} is missing, by which the running server `);
  }
  expect((await run(["aggregate", "list"])).code).toBe(0);
});

describe("in the foreground", () => {
  test("the log goes to stderr, SIGTERM drains, and the exit code is 0", async () => {
    await using server = await startForeground({ home });
    expect(server.log()).toContain(" warn no TLS address=0.0.0.0 ");
    expect(server.log()).toContain(` info new database data_dir=${home}/.eventdbx\n`);
    expect(server.log()).toMatch(/ info storage open .*sqlite=\d.*synchronous=2/);
    expect((await run(["status"])).stdout).toContain(`(pid ${server.pid})`);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(existsSync(pidFile(home))).toBe(false);
  });

  test("Ctrl-C drains as well, and a token of the store is never in the log", async () => {
    await using server = await startForeground({
      home,
      env: { EVENTDBX_DEK: `${"x".repeat(42)}Y=` },
    });
    const { stdout } = await run(["token", "generate", "--group", "app", "--user", "u", "--json"]);
    const { token } = JSON.parse(stdout);
    await http(server.port, "/v1/aggregates", { token });
    await http(server.port, "/v1/aggregates", { token: `${token}0` });
    server.kill("SIGINT");
    expect(await server.exited).toBe(0);
    expect(server.log()).toContain(" sealing=all ");
    expect(server.log()).not.toContain(token.slice(4));
    expect(server.log()).not.toContain("xxxxxxxx");
  });

  test("a request that runs when the stop comes is still answered", async () => {
    await using server = await startForeground({ home });
    const { stdout } = await run(["token", "generate", "--group", "app", "--user", "u", "--json"]);
    const { token } = JSON.parse(stdout);
    const event = (id: number) =>
      `{"aggregate_type":"a","aggregate_id":"${id}","event_type":"made","payload":{}}`;
    const answers = Array.from({ length: 64 }, (_, id) =>
      http(server.port, "/v1/events", { token, body: event(id) }).catch(() => null),
    );
    const first = await Promise.race(answers);
    server.kill("SIGTERM");
    const all = await Promise.all(answers);
    expect(await server.exited).toBe(0);
    const answered = all.filter((answer) => answer?.status === 200).length;
    expect(first?.status).toBe(200);
    // Acknowledged is stored, refused is not: nothing in between.
    const verified = await run(["aggregate", "verify", "--all", "--json"]);
    expect(JSON.parse(verified.stdout).position).toBe(answered);
  });

  test("binding to loopback is not warned about", async () => {
    writeFileSync(join(home, "own.toml"), 'bind_addr = "127.0.0.1"\n');
    await using server = await startForeground({
      home,
      args: ["--config", join(home, "own.toml")],
    });
    expect(server.log()).not.toContain("no TLS");
    expect(readFileSync(join(home, "own.toml"), "utf8")).toBe(
      'bind_addr = "127.0.0.1"\nport = 0\n',
    );
  });
});

describe("without a server", () => {
  test("stop and status are calm", async () => {
    expect(await run(["stop"])).toEqual({ stdout: "dbx is not running\n", stderr: "", code: 0 });
    expect(await run(["status", "--json"])).toMatchObject({ code: 3, stderr: "" });
  });

  test("a PID file of another living process is stale", async () => {
    await run(["aggregate", "create", "a", "1"]);
    const record = { pid: process.pid, started_at: "2024-12-01T17:22:43.512345Z" };
    writeFileSync(pidFile(home), JSON.stringify({ ...record, port: 1, control_port: 2 }));
    expect((await run(["status"])).code).toBe(3);
    expect((await run(["stop"])).stdout).toBe("removed a stale PID file; dbx is not running\n");
    writeFileSync(pidFile(home), "{torn");
    expect((await run(["stop"])).stdout).toBe("removed a stale PID file; dbx is not running\n");
  });
});

describe("destroy", () => {
  test("needs --yes without a terminal, and then removes what dbx made and nothing else", async () => {
    await run(["start", "--port", "0"]);
    const { pid } = readPid(home);
    const refused = await run(["destroy"]);
    expect(refused).toMatchObject({ stdout: "", code: 2 });
    expect(refused.stderr).toContain("--yes");
    writeFileSync(join(home, ".eventdbx/notes.txt"), "mine");
    const done = await run(["destroy", "--yes"]);
    const data_dir = join(home, ".eventdbx");
    expect(done.stdout).toBe(`all dbx data and configuration removed from ${data_dir}\n`);
    expect(done.stderr).toContain(`dbx stopped (pid ${pid})`);
    expect(done.stderr).toContain(`left, because dbx did not make it: ${data_dir}/notes.txt`);
    expect(readdirSync(data_dir)).toEqual(["notes.txt"]);
  });

  test("refuses a data directory that holds more than data", async () => {
    for (const data_dir of ["/", home, join(home, "..")]) {
      const ran = await run(["destroy", "--yes"], { EVENTDBX_DATA_DIR: data_dir });
      expect(ran.stderr).toContain("refusing to remove");
      expect(ran.code).toBe(4);
    }
    expect(existsSync(home)).toBe(true);
  });
});
