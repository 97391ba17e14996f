// How much one address, one token and one connection may take of a server, with real sockets; and
// that none of them holds up its stop.

import { Metadata, status } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { connect as connectTcp, type Socket } from "node:net";
import { testConfig } from "../support/store.ts";
import { limits } from "../../src/model/limits.ts";
import { ask as askGrpc, bearer, connect, refusalOf, toldError } from "../support/grpc.ts";
import { openTestPort, until } from "../support/port.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

interface Caller {
  readonly socket: Socket;
  closed: boolean;
  bytes: number;
}

/** A connection from an address of loopback. */
function call(port: number, localAddress = "127.0.0.1"): Promise<Caller> {
  const socket = connectTcp({ host: "127.0.0.1", port, localAddress });
  const caller: Caller = { socket, closed: false, bytes: 0 };
  socket.on("error", () => {});
  socket.on("close", () => (caller.closed = true));
  socket.on("data", (piece) => (caller.bytes += piece.length));
  return new Promise((resolve) => socket.once("connect", () => resolve(caller)));
}

const figuresOf = async (server: TestServer) =>
  (await server.ask("GET", "/admin/status", { control: true })).json.figures;

describe("connections", () => {
  test.skipIf(process.platform !== "linux")(
    "of one address leave room for others [needs Linux]",
    async () => {
      using port = openTestPort({ address_connections_max: 2 });
      const first = await call(port.front.port);
      await call(port.front.port);
      await until(() => port.front.figures().connections === 2);
      const third = await call(port.front.port);
      await until(() => third.closed);
      const other = await call(port.front.port, "127.0.0.2");
      await until(() => port.front.figures().connections === 3);
      expect([other.closed, port.front.figures().connections_refused]).toEqual([false, 1]);
      first.socket.destroy();
      await until(() => port.front.figures().connections === 2);
      const again = await call(port.front.port);
      await until(() => port.front.figures().connections === 3);
      expect(again.closed).toBe(false);
    },
  );

  test.each([
    { api: { rest: true, graphql: true, grpc: false } },
    { grpc: { bind_addr: "127.0.0.1:0" } },
  ])("are counted and bounded also with %j", async (config) => {
    await using server = await startTestServer({ config });
    expect(server.lines.join("")).toContain("connections_max=");
    const caller = await call(server.port);
    caller.socket.write("GET /he");
    while ((await figuresOf(server)).connections !== 1) {}
    if (server.grpc_port !== null && server.grpc_port !== server.port) {
      const client = connect(`127.0.0.1:${server.grpc_port}`);
      expect(await askGrpc(client, "Health", {}, new Metadata())).toEqual({ status: "ok" });
      expect((await figuresOf(server)).connections).toBe(2);
      client.close();
    }
    caller.socket.destroy();
  });

  test("of the command line have a bound of their own", async () => {
    await using server = await startTestServer();
    const callers: Caller[] = [];
    for (let count = 0; count < limits.control_connections_max; count++) {
      callers.push(await call(server.control_port));
    }
    const beyond = await call(server.control_port);
    await until(() => beyond.closed);
    expect(callers.every(({ closed }) => !closed)).toBe(true);
    expect((await server.ask("GET", "/health")).status).toBe(200);
    for (const { socket } of callers) socket.destroy();
  });
});

describe("a token", () => {
  test("is held to its rate on every surface, the command line to none", async () => {
    await using server = await startTestServer({ config: { rate_limit: { per_token: 2 } } });
    const issued = await server.ask("POST", "/admin/tokens", {
      ...{ control: true, body: { group: "app", user: "jane" } },
    });
    const { token } = issued.json;
    const asked = ["/v1/events", "/v1/aggregates", "/v1/events?take=1", "/v1/events?take=2"];
    const answers = await Promise.all(asked.map((path) => server.ask("GET", path, { token })));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.json).toMatchObject({
      code: "overloaded",
      details: { per: "token", limit: 2 },
    });
    expect(refused[0]?.headers.get("retry-after")).toBe("1");
    // Whoever is refused is not served a bit of it.
    const drained = async (path: string, body?: object) => {
      for (;;) {
        const answer = await server.ask(body === undefined ? "GET" : "POST", path, { token, body });
        if (answer.status === 429) return answer;
      }
    };
    const query = { query: "{ __typename }" };
    const { errors } = (await drained("/graphql", query)).json;
    expect(errors[0].extensions).toMatchObject({ code: "overloaded", details: { per: "token" } });
    const stream = await server.ask("HEAD", "/v1/events/stream", { token });
    expect(stream.status).toBe(429);
    const client = connect(`127.0.0.1:${server.port}`);
    const error = await refusalOf(askGrpc(client, "ReadLog", {}, bearer(token)));
    expect([error.code, toldError(error).details.per]).toEqual([
      status.RESOURCE_EXHAUSTED,
      "token",
    ]);
    client.close();
    for (let count = 0; count < 10; count++) {
      const answer = await server.ask("GET", "/v1/events", { control: true, token });
      expect(answer.status).toBe(200);
    }
  });

  test("is held to a rate that the configuration gets while the server runs", async () => {
    let config: ReturnType<typeof testConfig> | null = null;
    await using server = await startTestServer({
      reload: async (directory) =>
        (config ??= testConfig(directory, { rate_limit: { per_token: 1 } })),
    });
    const reloaded = await server.ask("POST", "/admin/config/reload", { control: true, body: {} });
    expect(reloaded.json).toEqual({ applied: ["rate_limit.per_token"], restart: [] });
    const asked = [1, 2, 3].map(() => server.ask("GET", "/v1/events"));
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 429, 429]);
  });
});

test.skipIf(process.platform !== "linux")(
  "an address is held to its rate, whichever connection it asks on, no other is [needs Linux]",
  async () => {
    await using server = await startTestServer({ config: { rate_limit: { per_address: 20 } } });
    const statuses: number[] = [];
    for (let count = 0; count < 40; count++) {
      statuses.push((await server.ask("GET", "/health")).status);
    }
    expect(statuses[0]).toBe(200);
    expect(statuses).toContain(429);
    const other = await call(server.port, "127.0.0.2");
    let text = "";
    other.socket.on("data", (piece) => (text += piece.toString()));
    other.socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    await until(() => text.includes("\r\n\r\n"));
    expect(text).toStartWith("HTTP/1.1 200");
    other.socket.destroy();
    const caller = await call(server.port, "127.0.0.3");
    const request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = "";
    caller.socket.on("data", (piece) => (answers += piece.toString()));
    for (let count = 0; count < 40; count++) {
      const before = answers.length;
      caller.socket.write(request);
      await until(() => answers.length > before && answers.endsWith("}"));
    }
    expect(answers).toContain("HTTP/1.1 429");
    expect(answers).toContain('"per":"address"');
    caller.socket.destroy();
    expect((await server.ask("GET", "/health", { control: true })).status).toBe(200);
  },
);

test("who makes a connection for each request gets every one of the rate, then a 429", async () => {
  // One a second, so that the test cannot be slow enough for another one to be due.
  await using server = await startTestServer({ config: { rate_limit: { per_address: 1 } } });
  const asked = ["/health", "/v1/aggregates", "/health", "/nowhere"];
  const answers: string[] = [];
  for (const path of asked) {
    const { socket } = await call(server.port);
    let text = "";
    socket.on("data", (piece) => (text += piece.toString()));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await until(() => text.includes("\r\n\r\n") || socket.destroyed);
    socket.destroy();
    answers.push(text);
  }
  expect(answers[0]).toStartWith("HTTP/1.1 200");
  const late = answers.slice(1).filter((text) => text.startsWith("HTTP/1.1 429"));
  expect(late.length).toBeGreaterThan(0);
  for (const text of late) expect(text.toLowerCase()).toContain("\r\nretry-after: 1\r\n");
  expect(answers.filter((text) => text === "")).toEqual([]);
});

test("an address is held to its rate on gRPC, with a token and without", async () => {
  await using server = await startTestServer({ config: { rate_limit: { per_address: 20 } } });
  const client = connect(`127.0.0.1:${server.port}`);
  for (const [name, metadata] of [
    ["Health", bearer(null)],
    ["ReadLog", bearer(server.token)],
  ] as const) {
    const asked = Array.from({ length: 40 }, () => refusalOf(askGrpc(client, name, {}, metadata)));
    const outcomes = await Promise.allSettled(asked);
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === "fulfilled" ? [toldError(outcome.value)] : [],
    );
    // The first ones may also be too many without a token at a time.
    const ours = refused.filter(
      ({ code, details }) => code === "overloaded" && details.per === "address",
    );
    expect(ours.length).toBeGreaterThan(0);
  }
  client.close();
});

test("half a head, and a stream that nobody reads, do not hold up a stop", async () => {
  const server = await startTestServer();
  const text = JSON.stringify({ text: "x".repeat(500_000) });
  for (let count = 0; count < 16; count++) await server.append("large", "l-1", text);
  const half = await call(server.port);
  half.socket.write("GET /health HTTP/1.1\r\nHost: ");
  const unread = await call(server.port);
  unread.socket.pause();
  const head = `Host: x\r\nAuthorization: Bearer ${server.token}\r\n\r\n`;
  unread.socket.write(`GET /v1/events/stream?after=0 HTTP/1.1\r\n${head}`);
  while ((await figuresOf(server)).connections < 2) {}
  const before = performance.now();
  await server[Symbol.asyncDispose]();
  expect(performance.now() - before).toBeLessThan(limits.drain_ms / 2);
  half.socket.destroy();
  unread.socket.destroy();
}, 20_000);
