// The surfaces of one real server and where they are reached: on one port, apart, or not at all;
// what a start that fails leaves behind; how all of them end together.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect as connectHttp2 } from "node:http2";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { silentLog } from "../../src/log.ts";
import { DbxError } from "../../src/model/error.ts";
import type { Config } from "../../src/model/config.ts";
import { makeDirectory, makePlaces } from "../../src/server/places.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { freePort } from "../support/free-port.ts";
import { grpcHealth, prefaceText } from "../support/port.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";
import { testConfig } from "../support/store.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const off = { rest: false, graphql: false, grpc: false };
const gRpcAt = (bind_addr: string): Partial<Config> => ({ grpc: { bind_addr } });

describe("one port", () => {
  test("speaks HTTP/1.1 and gRPC, to clients of both at once", async () => {
    expect(server.grpc_port).toBe(server.port);
    const asked = Array.from({ length: 20 }, async (_, index) =>
      index % 2 === 0
        ? grpcHealth(server.port)
        : String((await server.ask("GET", "/health", { token: null })).status),
    );
    const answers = await Promise.all(asked);
    expect(answers).toEqual(answers.map((_, index) => (index % 2 === 0 ? "status 0" : "200")));
  });

  test("is counted in the status of the server", async () => {
    const idle = await connectRaw(server.port);
    const read = async () => (await server.ask("GET", "/admin/status")).json.figures;
    const { connections, connections_refused } = await read();
    expect([connections >= 2, connections_refused]).toEqual([true, 0]);
    idle[Symbol.dispose]();
    let now = connections;
    while (now >= connections) now = (await read()).connections;
  });

  test("says in the log what is served and where", () => {
    const line = server.lines.find((each) => each.includes("listening")) ?? "";
    expect(line).toContain(`port=${server.port} surfaces=rest,graphql,grpc grpc=127.0.0.1`);
    expect(line).toContain(`grpc_port=${server.port}`);
  });
});

test("two hundred clients that vanish in the middle of things leave nothing behind", async () => {
  const { port, token } = server;
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const figures = async () => (await server.ask("GET", "/admin/status")).json.figures;
  const before = { connections: (await figures()).connections, open: descriptors() };
  const json = { "Content-Type": "application/json", "Content-Length": "1000" };
  const beginnings = [
    "",
    prefaceText.slice(0, 12),
    prefaceText,
    "GET /v1/events HTTP/1.1\r\nHost: x",
    `${requestText("POST", "/v1/events", { token, headers: json })}{"aggregate_type"`,
    requestText("GET", "/v1/events/stream?after=0", { token }),
  ];
  const clients = await Promise.all(Array.from({ length: 200 }, () => connectRaw(port)));
  clients.forEach((client, index) => client.write(beginnings[index % beginnings.length] ?? ""));
  while ((await figures()).connections < before.connections + 200);
  // A sixth of them have an append that waits for its body; one more is the question itself.
  while ((await figures()).http_requests_running < 30);
  for (const client of clients) client[Symbol.dispose]();
  while ((await figures()).connections > before.connections + 1);
  while ((await figures()).http_requests_running > 1);
  while (descriptors() > before.open + 3) await figures();
});

describe("surfaces", () => {
  // /v1 with a token, /graphql, and what is there always.
  test.each([
    ["none", off, 404, 404, null],
    ["rest", { ...off, rest: true }, 200, 404, null],
    ["graphql", { ...off, graphql: true }, 404, 200, null],
    ["grpc", { ...off, grpc: true }, 404, 404, "status 0"],
  ] as const)("%s alone", async (_, api, rest, graphql, grpc) => {
    await using alone = await startTestServer({ config: { api } });
    const status = async (path: string, body?: unknown) =>
      (await alone.ask(body === undefined ? "GET" : "POST", path, { body })).status;
    expect(await status("/v1/events")).toBe(rest);
    expect(await status("/graphql", { query: "{ __typename }" })).toBe(graphql);
    for (const path of ["/health", "/admin/status", "/openapi.json", "/docs"]) {
      expect([
        path,
        (
          await fetch(`http://127.0.0.1:${alone.port}${path}`, {
            headers: { Authorization: `Bearer ${alone.token}` },
          })
        ).status,
      ]).toEqual([path, 200]);
    }
    expect(alone.grpc_port === null).toBe(grpc === null);
    if (grpc === null) expect(await grpcHealth(alone.port)).toStartWith("no gRPC");
    else expect(await grpcHealth(alone.port)).toBe(grpc);
  });

  test("gRPC off: a client of HTTP/2 is closed, whoever comes after it is served", async () => {
    await using plain = await startTestServer({ config: { api: { ...off, rest: true } } });
    using connection = await connectRaw(plain.port);
    connection.write(prefaceText);
    await connection.closed;
    expect((await plain.ask("GET", "/health")).status).toBe(200);
  });
});

describe("an address of its own for gRPC", () => {
  test.each(["127.0.0.1:0", "[::1]:0"])(
    "%s takes a free port; HTTP speaks HTTP only",
    async (at) => {
      await using apart = await startTestServer({ config: gRpcAt(at) });
      const { port, grpc_port } = apart;
      expect([grpc_port === null, grpc_port === port]).toEqual([false, false]);
      expect(await grpcHealth(grpc_port ?? 0, at.replace(":0", ""))).toBe("status 0");
      expect((await apart.ask("GET", "/health")).status).toBe(200);
      using connection = await connectRaw(port);
      connection.write(prefaceText);
      await connection.closed;
    },
  );

  test("with the port of HTTP it is shared, whatever host stands there", async () => {
    const port = freePort();
    await using both = await startTestServer({
      config: { port, ...gRpcAt(`192.0.2.1:${port}`) },
    });
    expect([both.port, both.grpc_port]).toEqual([port, port]);
    const line = both.lines.find((each) => each.includes(" listening ")) ?? "";
    expect(line).toContain(` grpc=127.0.0.1 grpc_port=${port} `);
    expect(await grpcHealth(port)).toBe("status 0");
  });

  test.each([
    ["that is taken", (port: number) => `127.0.0.1:${port}`, "unavailable"],
    ["of another machine", () => "192.0.2.1:7071", "invalid_argument"],
  ] as const)("one %s fails the start, and nothing is left listening", async (_, at, code) => {
    const port = freePort();
    const bind_addr = at(server.port);
    const starting = startServer({
      opened: server.store,
      config: testConfig(server.directory, { port, ...gRpcAt(bind_addr) }),
      log: silentLog,
      system: realSystem,
      version: "test",
      commands: null,
    });
    const error = await starting.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof DbxError)) throw error;
    expect([error.code, error.message.includes(bind_addr)]).toEqual([code, true]);
    expect(connectRaw(port)).rejects.toThrow();
  });
});

describe("stopping", () => {
  test("lets what runs finish on every surface, ends what idles, and leaves no socket", async () => {
    const stopping = await startTestServer();
    const { port, token } = stopping;
    const idle = await connectRaw(port);
    const silent = await connectRaw(port);
    idle.write(requestText("GET", "/health"));
    await idle.read();
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const ended = Promise.withResolvers<void>();
    session.on("close", ended.resolve);
    session.on("error", () => ended.resolve());
    await new Promise((resolve) => session.once("connect", resolve));
    const running = await connectRaw(port);
    const body = '{"aggregate_type":"a","aggregate_id":"1","event_type":"x","payload":{}}';
    const request = requestText("POST", "/v1/events", { token, body });
    running.write(request.slice(0, -5));
    const count = async () =>
      (await stopping.ask("GET", "/admin/status")).json.figures.http_requests_running;
    while ((await count()) < 2);

    const stopped = stopping.stop();
    await Promise.all([idle.closed, silent.closed, ended.promise]);
    expect(connectRaw(port)).rejects.toThrow();
    running.write(request.slice(-5));
    expect((await running.read()).status).toBe(200);
    await stopped;
    await running.closed;
    await stopping[Symbol.asyncDispose]();
  });
});

/** With this as the directory for temporary files. */
function inDirectory<T>(directory: string, run: () => T): T {
  const { TMPDIR } = process.env;
  process.env["TMPDIR"] = directory;
  try {
    return run();
  } finally {
    if (TMPDIR === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = TMPDIR;
  }
}

describe("the sockets behind the port", () => {
  test("lie where nobody else may go, and are removed", () => {
    const places = makePlaces("linux");
    if (!("unix" in places.http1)) throw new Error("no socket");
    const directory = dirname(places.http1.unix);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    places.remove();
    expect(existsSync(directory)).toBe(false);
    places.remove();
  });

  test("have a path that fits, however long that of the temporary directory is", () => {
    const places = inDirectory(`/tmp/${"x".repeat(90)}`, () => makePlaces("linux"));
    if (!("unix" in places.http1)) throw new Error("no socket");
    expect(places.http1.unix.length).toBeLessThan(104);
    places.remove();
  });

  test.each(["/nowhere/at/all", "relative", "/etc/hostname"])(
    "lie in /tmp where TMPDIR is %s",
    (TMPDIR) => {
      const places = inDirectory(TMPDIR, () => makePlaces("linux"));
      if (!("unix" in places.http1)) throw new Error("no socket");
      expect(places.http1.unix).toStartWith("/tmp/dbx-port-");
      places.remove();
    },
  );

  test("cannot be made where nothing may be written: the start says where it tried", () => {
    expect(() => makeDirectory(["/nowhere", "/etc/hostname"])).toThrow(
      expect.objectContaining({
        code: "unavailable",
        message: expect.stringContaining("/etc/hostname"),
      }),
    );
  });

  test("are ports on loopback where there are none", () => {
    const { http1, http2 } = makePlaces("win32");
    expect([http1, http2]).toEqual([
      { hostname: "127.0.0.1", port: 0 },
      { hostname: "127.0.0.1", port: 0 },
    ]);
  });
});
