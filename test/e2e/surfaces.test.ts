// Which surfaces a server has and where, as its operator chooses and sees it: flags, environment
// and file, status, log, refused starts and restarts, and what a killed server leaves behind.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, http, pidFile, readPid, startForeground } from "../support/cli.ts";
import { freePort } from "../support/free-port.ts";
import { grpcHealth } from "../support/port.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });
const statusJson = async () => JSON.parse((await run(["status", "--json"])).stdout);

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

describe("chosen by flags", () => {
  test.each([
    [[], ["rest", "graphql", "grpc"]],
    [["--api", "rest"], ["rest"]],
    [["--api", "graphql"], ["graphql"]],
    [["--api", "grpc"], ["grpc"]],
    [
      ["--api", "all"],
      ["rest", "graphql", "grpc"],
    ],
    [["--no-rest", "--no-grpc"], ["graphql"]],
    [["--no-graphql"], ["rest", "grpc"]],
  ])("%p serves %p", async (args, served) => {
    await using server = await startForeground({ home, args });
    const { port } = server;
    const has = (name: string) => served.includes(name);
    expect(server.log()).toMatch(
      new RegExp(` listening .*port=${port} surfaces=${served.join(",")} `),
    );
    const json = await statusJson();
    expect(json.surfaces).toEqual(served);
    expect(json.grpc_port).toBe(has("grpc") ? port : undefined);
    const { stdout } = await run(["status"]);
    expect(stdout).toContain(`  surfaces: ${served.join(", ")}\n`);
    expect(stdout.includes(`  grpc: on port ${port}, shared with HTTP\n`)).toBe(has("grpc"));
    // 401 is there, 404 is not.
    expect((await http(port, "/v1/events")).status).toBe(401);
    const { token } = JSON.parse(
      (await run(["token", "generate", "--group", "app", "--user", "u", "--json"])).stdout,
    );
    const headers = { Authorization: `Bearer ${token}` };
    const rest = await fetch(`http://127.0.0.1:${port}/v1/events`, { headers });
    expect(rest.status).toBe(has("rest") ? 200 : 404);
    expect((await http(port, "/graphql")).status === 404).toBe(!has("graphql"));
    expect((await grpcHealth(port)) === "status 0").toBe(has("grpc"));
  });

  test("are kept, and a later start has them without flags", async () => {
    await run(["start", "--port", "0", "--api", "grpc"]);
    await run(["stop"]);
    await run(["start"]);
    expect((await statusJson()).surfaces).toEqual(["grpc"]);
  });
});

describe("gRPC on an address of its own", () => {
  test("is where the environment says, and status says where", async () => {
    const EVENTDBX_GRPC_BIND_ADDR = "127.0.0.1:0";
    await using server = await startForeground({ home, env: { EVENTDBX_GRPC_BIND_ADDR } });
    const { grpc_port } = await statusJson();
    expect(grpc_port).not.toBe(server.port);
    expect(await grpcHealth(grpc_port)).toBe("status 0");
    expect(await grpcHealth(server.port)).toStartWith("no gRPC");
    expect((await run(["status"])).stdout).toContain(`  grpc: 127.0.0.1:${grpc_port}\n`);
  });

  test.each([
    "7071",
    "127.0.0.1",
    "127.0.0.1:",
    ":7071",
    "::1:7071",
    "127.0.0.1:70710",
    "a b:1",
    "http://127.0.0.1:1",
    "127.0.0.1:-1",
    "[::1:7071",
    "localhost:grpc",
  ])("%p is refused with an example", async (bind_addr) => {
    mkdirSync(join(home, ".eventdbx"));
    writeFileSync(join(home, ".eventdbx/config.toml"), `[grpc]\nbind_addr = "${bind_addr}"\n`);
    const { stderr, code } = await run(["start", "--port", "0"]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      "config.toml, line 2: grpc.bind_addr must be host:port, such as 127.0.0.1:7071 or [::1]:7071",
    );
  });

  test("with the port of HTTP is HTTP's, which is said where another host was asked for", async () => {
    const port = freePort();
    const EVENTDBX_GRPC_BIND_ADDR = `127.0.0.1:${port}`;
    const args = ["--port", String(port)];
    expect((await run(["start", ...args], { EVENTDBX_GRPC_BIND_ADDR })).code).toBe(0);
    expect(await grpcHealth(port)).toBe("status 0");
    expect(readFileSync(join(home, ".eventdbx/logs/dbx.log"), "utf8")).toContain(
      ` warn gRPC shares the port of HTTP asked=127.0.0.1:${port} address=0.0.0.0\n`,
    );
  });

  test("that is taken fails the start, and leaves nothing behind", async () => {
    using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const port = freePort();
    const env = { EVENTDBX_GRPC_BIND_ADDR: `127.0.0.1:${taken.port}` };
    for (const how of [["--foreground"], []]) {
      const { stderr, code } = await run(["start", "--port", String(port), ...how], env);
      expect([how, code]).toEqual([how, 7]);
      const problem = `port ${taken.port} on 127.0.0.1 is in use; set grpc.bind_addr`;
      expect(stderr).toContain(problem);
    }
    expect((await run(["status"])).code).toBe(3);
    // Nothing was kept of a start that failed: neither flags nor a listener.
    await run(["start", "--port", String(port)]);
    expect((await statusJson()).port).toBe(port);
  });

  test("that is taken refuses a restart, and the running server goes on", async () => {
    await run(["start", "--port", "0"]);
    const { pid } = readPid(home);
    using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const env = { EVENTDBX_GRPC_BIND_ADDR: `127.0.0.1:${taken.port}` };
    const refused = await run(["restart"], env);
    expect(refused.stderr).toContain(
      `port ${taken.port} on 127.0.0.1 is in use; the running server goes on`,
    );
    expect(refused.code).toBe(7);
    expect((await statusJson()).pid).toBe(pid);
  });

  test("that the server has already is no obstacle to a restart", async () => {
    const env = { EVENTDBX_GRPC_BIND_ADDR: `127.0.0.1:${freePort()}` };
    const args = ["--port", String(freePort())];
    await run(["start", ...args], env);
    const before = await statusJson();
    expect((await run(["restart", ...args], env)).code).toBe(0);
    const after = await statusJson();
    expect([after.pid === before.pid, after.grpc_port]).toEqual([false, before.grpc_port]);
  });
});

test("the record of an older server does not say what it serves, and nobody minds", async () => {
  await run(["start", "--port", "0"]);
  const { surfaces: _, grpc_port: __, ...older } = JSON.parse(readFileSync(pidFile(home), "utf8"));
  writeFileSync(pidFile(home), JSON.stringify(older));
  const { stdout, code } = await run(["status"]);
  expect([code, stdout.includes("surfaces")]).toEqual([0, false]);
});

test("the sockets of a killed server are in nobody's way; a server that ends removes its own", async () => {
  const TMPDIR = join(home, "tmp");
  mkdirSync(TMPDIR);
  const sockets = () => readdirSync(TMPDIR).filter((name) => name.startsWith("dbx-port-"));
  {
    await using killed = await startForeground({ home, env: { TMPDIR } });
    killed.kill("SIGKILL");
    await killed.exited;
  }
  // Of the public port and of the machine's own.
  const left = sockets();
  expect(left).toHaveLength(2);
  await using server = await startForeground({ home, env: { TMPDIR } });
  expect(await http(server.port, "/health")).toMatchObject({ status: 200 });
  expect(await grpcHealth(server.port)).toBe("status 0");
  expect(sockets()).toHaveLength(4);
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
  expect(sockets()).toEqual(left);
});
