// The control socket of a real server: who may do what, what makes no sense from afar, and that the
// socket is where the configuration, the log and `dbx status` say. That every command answers there
// as elsewhere is test/e2e/situations.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, readPid, startForeground, type RunningServer } from "../support/cli.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { encodeRequest, hex } from "../support/capnp.ts";
import { freePort } from "../support/free-port.ts";
import { connectSocket, type SocketClient } from "../support/socket.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
let server: RunningServer;
let client: SocketClient;
let admin: string;

const run = (args: readonly string[], env: Record<string, string> = {}) => dbx(args, { home, env });

async function issue(...flags: readonly string[]): Promise<{ token: string; id: string }> {
  const who = ["--user", "kim", ...(flags.includes("--group") ? [] : ["--group", "app"])];
  return JSON.parse((await run(["token", "generate", ...who, ...flags, "--json"])).stdout);
}

beforeAll(async () => {
  dir = tempDir();
  home = dir.path;
  server = await startForeground({ home });
  ({ token: admin } = await issue("--group", "admin"));
  client = await connectSocket(server.socket_port);
  await client.ask(["aggregate", "apply", "person", "p-1", "made", "--field", "name=Jo"], admin);
}, 60_000);
afterAll(async () => {
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const apply = ["aggregate", "apply", "person", "p-2", "made", "--payload", "{}"];
const get = ["aggregate", "get", "person", "p-1"];

describe("a command", () => {
  test("is recorded as done by whom its token was issued to", async () => {
    const made = await client.ask(
      ["aggregate", "apply", "ward", "w-1", "opened", "--payload", '{"n":9007199254740993}'],
      admin,
    );
    expect({ exit: made.exit, stderr: made.stderr }).toEqual({ exit: 0, stderr: "" });
    expect(made.stdout).toContain('"n": 9007199254740993');
    expect(JSON.parse(made.stdout).metadata.issued_by).toEqual({ group: "admin", user: "kim" });
  });

  test("is answered to the letter as on the command line", async () => {
    const env = { EVENTDBX_TOKEN: admin };
    for (const args of [
      ...[[], ["--help"], ["help", "aggregate"], ["--version"], ["version", "--json"]],
      ...[
        ["agregate"],
        ["aggregate", "lst"],
        ["aggregate", "get"],
        ["--jsn"],
        [...get, "--vrsion"],
      ],
      ...[get, [...get, "--json"], ["aggregate", "get", "person", "nobody", "--json"]],
      ...[
        ["aggregate", "replay", "person", "p-1"],
        ["aggregate", "verify", "person", "p-1"],
      ],
      ...[
        ["token", "list"],
        ["schema", "list", "--json"],
        ["audit", "--json"],
      ],
    ]) {
      const { code, ...printed } = await run(args, env);
      expect({ args, ...(await client.ask(args, admin)) }).toEqual({
        args,
        ...printed,
        exit: code,
      });
    }
  });

  test("from many connections at a time is answered to each", async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `c-${index}`);
    const versions = await Promise.all(
      ids.map(async (id) => {
        using own = await connectSocket(server.socket_port);
        await own.ask(["aggregate", "apply", "crowd", id, "made", "--payload", "{}"], admin);
        const { stdout } = await own.ask(["aggregate", "get", "crowd", id, "--json"], admin);
        return JSON.parse(stdout);
      }),
    );
    expect(versions.map(({ aggregate_id, version }) => [aggregate_id, version])).toEqual(
      ids.map((id) => [id, 1]),
    );
  });

  test("may carry another token among its words", async () => {
    const { token } = await issue("--grant", "read");
    expect((await client.ask([...apply, "--token", token], admin)).exit).toBe(5);
    expect((await client.ask([...get, "--token", "EVT-none"], admin)).exit).toBe(5);
  });

  test("asks status of the server that runs it", async () => {
    const { stdout, exit } = await client.ask(["status", "--json"], admin);
    expect(exit).toBe(0);
    const { running, figures } = JSON.parse(stdout);
    expect(running).toBe(true);
    expect(figures.socket_connections).toBeGreaterThan(0);
    expect(figures.socket_requests_running).toBe(1);
  });
});

describe("a token", () => {
  const said = (words: string) => expect.stringContaining(words);

  test("that is none, unknown, expired or revoked opens nothing", async () => {
    const revoked = await issue();
    await run(["token", "revoke", "--token", revoked.id]);
    const expired = await issue("--expiration", "1");
    const spent = { exit: 5, stdout: "", stderr: said("(unauthenticated)\n") };
    while ((await client.ask(get, expired.token)).exit === 0) await client.ask(get, admin);
    for (const token of ["EVT-nonsense", revoked.token, expired.token]) {
      expect(await client.ask(get, token)).toEqual(spent);
      expect(await client.ask(["--help"], token)).toEqual(spent);
    }
    expect(await client.ask(get)).toEqual({ ...spent, stderr: said("carries no token") });
  });

  test("holds for as much as it was issued for", async () => {
    const reader = await issue("--grant", "read");
    expect((await client.ask(get, reader.token)).exit).toBe(0);
    expect(await client.ask(apply, reader.token)).toEqual({
      ...{ exit: 5, stdout: "", stderr: said("(permission_denied)") },
    });
    const once = await issue("--limit", "1");
    expect((await client.ask(apply, once.token)).exit).toBe(0);
    expect((await client.ask(apply, once.token)).exit).toBe(5);
    const scoped = await issue("--aggregate", "person:p-2");
    expect((await client.ask(get, scoped.token)).exit).toBe(3);
    expect((await client.ask(["aggregate", "get", "person", "p-2"], scoped.token)).exit).toBe(0);
    expect((await client.ask(["token", "list"], scoped.token)).exit).toBe(5);
  });

  test("revoked on the connection that it uses ends there at once", async () => {
    const { token, id } = await issue();
    expect((await client.ask(get, token)).exit).toBe(0);
    await run(["token", "revoke", "--token", id]);
    expect((await client.ask(get, token)).exit).toBe(5);
  });
});

test("the rate of a token holds, for all that a command asks", async () => {
  await using strict = await beside("strict", { EVENTDBX_RATE_LIMIT_PER_TOKEN: "2" });
  const who = ["--group", "admin", "--user", "kim", "--json"];
  const { stdout } = await dbx(["token", "generate", ...who], { home: own("strict") });
  const { token } = JSON.parse(stdout);
  using hasty = await connectSocket(strict.socket_port);
  const exits: number[] = [];
  while (!exits.includes(7)) exits.push((await hasty.ask(["token", "list"], token)).exit);
  expect(exits.slice(0, 2)).toEqual([0, 0]);
}, 60_000);

describe("what makes no sense from afar is refused", () => {
  test.each(["start", "stop", "restart --port 1", "destroy --yes", "config", "config --port 1"])(
    "dbx %s",
    async (line) => {
      const [name = "", ...flags] = line.split(" ");
      expect(await client.ask([name, ...flags], admin)).toEqual({
        ...{ exit: 2, stdout: "" },
        stderr: expect.stringContaining(`dbx ${name} acts on its own machine; run it there`),
      });
    },
  );

  test.each([
    [["aggregate", "export", "--all", "--output", "all.csv"], "writes files; run it there"],
    [["aggregate", "apply", "a", "1", "x", "--payload", "@/etc/passwd"], "something on your side"],
    [["aggregate", "apply", "a", "1", "x", "--payload", "-"], "something on your side"],
    [["schema", "validate", "a", "x", "--payload", "@/etc/passwd"], "something on your side"],
    [[...get, "--config", "/etc/passwd"], "--config has no meaning here"],
    [[...get, "--url", "http://127.0.0.1:1"], "--url has no meaning here"],
    [[...get, "--ca-file=/etc/passwd"], "--ca-file has no meaning here"],
  ])("%p", async (args, words) => {
    const { exit, stdout, stderr } = await client.ask(args, admin);
    expect([exit, stdout, stderr]).toEqual([2, "", expect.stringContaining(words)]);
    expect(stderr).not.toContain("root:");
  });

  test("what asks on a terminal is told that there is none", async () => {
    const erase = await client.ask(["aggregate", "erase", "person", "p-1", "--reason", "x"], admin);
    expect(erase.exit).not.toBe(0);
    expect((await client.ask(get, admin)).exit).toBe(0);
  });
});

test("more than an answer may hold is refused, and told how to ask for less", async () => {
  const payload = JSON.stringify({ text: "x".repeat(1_000_000) });
  for (let count = 0; count < 9; count++) {
    const large = ["aggregate", "apply", "large", "l-1", "added", "--payload", payload];
    expect((await client.ask(large, admin)).exit).toBe(0);
  }
  const all = ["aggregate", "replay", "large", "l-1"];
  const { exit, stdout, stderr } = await client.ask(all, admin);
  expect({ exit, stdout }).toEqual({ exit: 6, stdout: "" });
  expect(stderr).toContain("ask for less at a time (--take, --skip) (too_large)");
  const some = await client.ask([...all, "--take", "8"], admin);
  expect(some.exit).toBe(0);
  expect(some.stdout.length).toBeGreaterThan(8_000_000);
});

describe("where it is", () => {
  test("the log, the record of the process and dbx status say", async () => {
    const port = server.socket_port;
    expect(server.log()).toContain(` socket=127.0.0.1 socket_port=${port} `);
    expect(readPid(home)).toMatchObject({ socket_port: port, socket_bind_addr: "127.0.0.1" });
    expect((await run(["status"])).stdout).toContain(`  socket: 127.0.0.1:${port}\n`);
    expect(JSON.parse((await run(["status", "--json"])).stdout)).toMatchObject({
      ...{ socket_port: port, socket_bind_addr: "127.0.0.1" },
    });
  });

  test("is warned of, where others reach it: it has no TLS", async () => {
    expect(server.log()).not.toContain("control socket");
    await using elsewhere = await beside("open", { EVENTDBX_SOCKET_BIND_ADDR: "0.0.0.0:0" });
    expect(elsewhere.log()).toContain(' warn no TLS surface="control socket" address=0.0.0.0:0 ');
  });

  test("is nowhere when it is off", async () => {
    await using off = await beside("off", { EVENTDBX_SOCKET_ENABLED: "false" });
    expect(off.log()).not.toContain("socket");
    expect(off.socket_port).toBeUndefined();
  });

  test("being taken fails the start, which names the key to change", async () => {
    const taken = `127.0.0.1:${server.socket_port}`;
    const place = own("taken");
    const env = { EVENTDBX_SOCKET_BIND_ADDR: taken };
    for (const how of [["--foreground"], []]) {
      const { stderr, code } = await dbx(["start", "--port", "0", ...how], { home: place, env });
      expect(code).toBe(7);
      expect(stderr).toContain(
        `control socket: port ${server.socket_port} on 127.0.0.1 is in use; set socket.bind_addr`,
      );
    }
    expect(existsSync(join(place, ".eventdbx/eventdbx.pid"))).toBe(false);
  }, 60_000);

  test("being taken refuses a restart, and the running server goes on", async () => {
    const place = own("restart");
    try {
      const socket_port = freePort();
      const same = { EVENTDBX_SOCKET_BIND_ADDR: `127.0.0.1:${socket_port}` };
      expect((await dbx(["start", "--port", "0"], { home: place, env: same })).code).toBe(0);
      const { pid } = readPid(place);
      const env = { EVENTDBX_SOCKET_BIND_ADDR: `127.0.0.1:${server.socket_port}` };
      const refused = await dbx(["restart"], { home: place, env });
      expect(refused.code).toBe(7);
      expect(refused.stderr).toContain("is in use; the running server goes on");
      expect(readPid(place).pid).toBe(pid);
      expect((await dbx(["restart"], { home: place, env: same })).code).toBe(0);
      expect(readPid(place).socket_port).toBe(socket_port);
    } finally {
      endDaemon(place);
    }
  }, 60_000);
});

test("a stop ends idle connections and half requests, and answers nobody half", async () => {
  await using stopping = await beside("stopping");
  using idle = await connectSocket(stopping.socket_port);
  using half = await connectSocket(stopping.socket_port);
  expect((await idle.ask(["status"])).exit).toBe(5);
  half.send(encodeRequest(["status"]).subarray(0, 20));
  stopping.kill("SIGTERM");
  await Promise.all([idle.closed, half.closed]);
  expect(await stopping.exited).toBe(0);
});

test("the compiled file answers the messages of others", async () => {
  const place = own("compiled");
  const child = Bun.spawn([await compiledDbx(), "start", "--foreground", "--port", "0"], {
    ...{ cwd: place, env: compiledEnvironment(place), stdin: "ignore" },
    ...{ stdout: "ignore", stderr: "pipe" },
  });
  try {
    let log = "";
    for await (const chunk of child.stderr) {
      log += new TextDecoder().decode(chunk);
      if (log.includes(" info ready ")) break;
    }
    const who = ["--group", "admin", "--user", "kim", "--json"];
    const { stdout } = await dbx(["token", "generate", ...who], { home: place });
    const { token } = JSON.parse(stdout);
    using remote = await connectSocket(readPid(place).socket_port);
    remote.send(
      hex(
        "0000000008000000 0000000000000100 010000001e000000 090000003a000000 090000002a000000 " +
          "090000003a000000 706c7567696e0000 6c69737400000000 2d2d6a736f6e0000",
      ),
    );
    const refused = await remote.next();
    expect([refused.exit, JSON.parse(refused.stderr).code]).toEqual([5, "unauthenticated"]);
    expect(await remote.ask(["schema", "list"], token)).toMatchObject({ exit: 0, stderr: "" });
    expect((await remote.ask(["--version"], token)).stdout).toStartWith("dbx ");
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}, 120_000);

function own(name: string): string {
  const place = join(home, name);
  mkdirSync(place, { recursive: true });
  return place;
}

const beside = (name: string, env: Record<string, string> = {}): Promise<RunningServer> =>
  startForeground({ home: own(name), env });

test("no token of a request is in the log", () => {
  const files = ["logs/dbx.log"].map((name) => join(home, ".eventdbx", name)).filter(existsSync);
  const logs = [server.log(), ...files.map((file) => readFileSync(file, "utf8"))].join("\n");
  expect(logs).not.toContain(admin);
});
