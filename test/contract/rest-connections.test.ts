// Connections: reuse after every kind of refusal, bodies in pieces, many at once, two listeners,
// and the end.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientProof, serverProof } from "../../src/api/machine.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { silentLog } from "../../src/log.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../support/store.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText, type RawConnection } from "../support/server-raw.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const body = (id: string) =>
  JSON.stringify({ aggregate_type: "c", aggregate_id: id, event_type: "x", payload: { a: 1 } });

test("one connection serves on after each kind of refusal", async () => {
  using connection = await connectRaw(server.port);
  const { token } = server;
  const long = "x".repeat(4_000_000);
  const refusals: [number, string][] = [
    [401, requestText("GET", "/v1/events")],
    [401, requestText("POST", "/v1/events", { body: body("x") })],
    [401, requestText("POST", "/v1/events", { body: long, token: "nope" })],
    [404, requestText("GET", "/nope")],
    [404, requestText("POST", "/nope", { body: long })],
    [405, requestText("DELETE", "/v1/events", { token })],
    [405, requestText("PUT", "/v1/events", { token, body: body("x") })],
    [400, requestText("POST", "/v1/events", { token, body: "{" })],
    [400, requestText("POST", "/v1/events?x=1", { token, body: body("x") })],
    [
      415,
      requestText("POST", "/v1/events", { token, body: "x", headers: { "Content-Type": "a/b" } }),
    ],
    [413, requestText("POST", "/v1/events", { token, body: long })],
    [404, requestText("GET", "/v1/aggregates/no/ne", { token })],
  ];
  for (const [status, text] of refusals) {
    connection.write(text);
    const refused = await connection.read();
    expect([text.slice(0, 40), refused.status]).toEqual([text.slice(0, 40), status]);
    connection.write(requestText("POST", "/v1/events", { token, body: body("reuse") }));
    expect((await connection.read()).status).toBe(200);
  }
});

test("a body in pieces is put together", async () => {
  using connection = await connectRaw(server.port);
  const text = requestText("POST", "/v1/events", { token: server.token, body: body("pieces") });
  for (const character of text) connection.write(character);
  expect((await connection.read()).status).toBe(200);
});

test("Expect: 100-continue gets its go-ahead, then its answer", async () => {
  using connection = await connectRaw(server.port);
  const text = body("expect");
  const headers = {
    "Content-Type": "application/json",
    "Content-Length": String(text.length),
    Expect: "100-continue",
  };
  connection.write(requestText("POST", "/v1/events", { token: server.token, headers }));
  expect((await connection.read()).status).toBe(100);
  connection.write(text);
  expect((await connection.read()).status).toBe(200);
});

test("a client that goes away in the middle of its body harms nobody", async () => {
  const lines = server.lines.length;
  for (const length of [1_000, 500_000]) {
    const connection = await connectRaw(server.port);
    const headers = { "Content-Type": "application/json", "Content-Length": String(length) };
    const { token } = server;
    connection.write(`${requestText("POST", "/v1/events", { token, headers })}{"aggregate_type"`);
    const running = async () =>
      (await server.ask("GET", "/admin/status")).json.figures.http_requests_running;
    while ((await running()) < 2);
    connection[Symbol.dispose]();
    while ((await running()) > 1);
  }
  const later = server.lines.slice(lines).join("");
  expect(later).not.toContain(" error ");
  expect((await server.ask("GET", "/admin/status")).json.figures.http_body_bytes).toBe(0);
});

test("requests sent before the answer to the one before: in order or not at all", async () => {
  // Bun closes a connection on which a request arrives while the answer to another is awaited. What
  // was answered until then is in order, and what was not may have happened, once.
  using connection = await connectRaw(server.port);
  const { token } = server;
  const ids = Array.from({ length: 20 }, (_, n) => `p-${n}`);
  connection.write(
    ids.map((id) => requestText("POST", "/v1/events", { token, body: body(id) })).join(""),
  );
  for (const id of ids) {
    const answered = await connection.read().catch(() => null);
    if (answered === null) break;
    expect(JSON.parse(answered.body).aggregate_id).toBe(id);
  }
  for (const id of ids) {
    const { status, json } = await server.ask("GET", `/v1/aggregates/c/${id}`);
    if (status !== 404) expect(json.version).toBe(1);
  }
});

test("many at once: every append of one aggregate gets a version of its own", async () => {
  const answers = await Promise.all(Array.from({ length: 300 }, () => server.append("c", "many")));
  const versions = answers.map(({ json }) => json.version).sort((a, b) => a - b);
  expect(versions).toEqual(Array.from({ length: 300 }, (_, n) => n + 1));
});

test("requests at a time have a bound, and health answers beyond it", async () => {
  await using busy = await startTestServer({ least: "info" });
  const text = requestText("POST", "/v1/events", { token: busy.token, body: body("busy") });
  const holding: RawConnection[] = [];
  for (let count = 0; count < limits.requests_running_max; count++) {
    const connection = await connectRaw(busy.port);
    connection.write(text.slice(0, -1));
    holding.push(connection);
  }
  // One too many: each asks until the ones before it have all been counted.
  let answer = await busy.ask("GET", "/v1/events?take=0");
  while (answer.status === 200) answer = await busy.ask("GET", "/v1/events?take=0");
  expect([answer.status, answer.json.code]).toEqual([429, "overloaded"]);
  expect(answer.json.details).toEqual({
    running: limits.requests_running_max + 1,
    limit: limits.requests_running_max,
  });
  expect((await busy.ask("GET", "/v1/events", { token: null })).status).toBe(401);
  expect((await busy.ask("GET", "/health")).status).toBe(200);

  for (const connection of holding) connection.write(text.slice(-1));
  const answers = await Promise.all(holding.map((connection) => connection.read()));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  for (const connection of holding) connection[Symbol.dispose]();
  expect((await busy.ask("GET", "/v1/aggregates/c/busy")).json.version).toBe(answers.length);
}, 30_000);

describe("request ids", () => {
  test("the client's own comes back and stands in the log", async () => {
    const headers = { "X-Request-Id": "abc-123" };
    const answer = await server.ask("GET", "/v1/events?take=x", { headers });
    expect(answer.headers.get("x-request-id")).toBe("abc-123");
    expect(server.lines.at(-1)).toContain("request_id=abc-123 operation=readLog status=400");
  });

  test.each(["a b", "x".repeat(129), "tab\there", "é"])("%j is replaced", async (id) => {
    const { headers } = await server.ask("GET", "/health", { headers: { "X-Request-Id": id } });
    expect(headers.get("x-request-id")).toMatch(/^[0-9a-z]+-[0-9a-z]+$/);
  });

  test("no header breaks out of its line of the log, and no token gets in", async () => {
    const headers = { "X-Request-Id": `a="b"${server.token}` };
    await server.ask("GET", "/health", { headers });
    const line = server.lines.at(-1) ?? "";
    expect(line.split("\n")).toHaveLength(2);
    expect(server.lines.join("")).not.toContain(server.token);
  });

  test("every answer has one, and says not to guess its type", async () => {
    const ids = new Set<string | null>();
    for (const path of ["/health", "/nope", "/v1/events", "/v1/events?x"]) {
      const { headers } = await server.ask("GET", path);
      ids.add(headers.get("x-request-id"));
      expect(headers.get("x-request-id")).toMatch(/^[0-9a-z]+-[0-9a-z]+$/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
    expect(ids.size).toBe(4);
  });
});

describe("bearer tokens", () => {
  test.each(["Bearer ", "bearer ", "BEARER ", "Bearer   "])("%j is a scheme", async (scheme) => {
    const headers = { Authorization: `${scheme}${server.token}` };
    expect((await server.ask("GET", "/v1/events?take=0", { token: null, headers })).status).toBe(
      200,
    );
  });

  test.each([
    ["nothing", null],
    ["no scheme", (token: string) => token],
    ["another scheme", (token: string) => `Basic ${token}`],
    ["no blank", (token: string) => `Bearer${token}`],
    ["two tokens", (token: string) => `Bearer ${token} ${token}`],
    ["two schemes", (token: string) => `Bearer ${token}, Bearer ${token}`],
    ["no token", () => "Bearer "],
    ["a quoted token", (token: string) => `Bearer "${token}"`],
  ])("%s is 401", async (_, write) => {
    const headers = write === null ? {} : { Authorization: write(server.token) };
    const answer = await server.ask("GET", "/v1/events", { token: null, headers });
    expect([answer.status, answer.json.code, answer.json.message]).toEqual([
      401,
      "unauthenticated",
      "unauthorized",
    ]);
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
  });

  test("401 comes before 400, 400 before 403, 403 before 404", async () => {
    const { token: reader } = (
      await server.ask("POST", "/admin/tokens", { body: { group: "app", user: "bob" } })
    ).json;
    const status = async (token: string | null, path: string) =>
      (await server.ask("POST", path, { token, body: { nonsense: 1 } })).status;
    expect(await status(null, "/admin/tokens/none/refresh")).toBe(401);
    expect(await status(reader, "/admin/tokens/none/refresh")).toBe(400);
    const right = { body: { limit: 1 } };
    const path = "/admin/tokens/none/refresh";
    expect((await server.ask("POST", path, { token: reader, ...right })).status).toBe(403);
    expect((await server.ask("POST", path, right)).status).toBe(404);
  });

  test("what is behind tokens does not even say which paths there are", async () => {
    for (const path of ["/v1/nope", "/admin/nope", "/admin/session"]) {
      expect((await server.ask("GET", path, { token: null })).status).toBe(401);
    }
    expect((await server.ask("DELETE", "/v1/events", { token: null })).status).toBe(401);
    expect((await server.ask("GET", "/nope", { token: null })).status).toBe(404);
  });
});

describe("the control listener", () => {
  const session = (over: object = {}, control = true) => {
    const nonce = crypto.getRandomValues(new Uint8Array(32)).toHex();
    const key = server.store.machineKey ?? new Uint8Array();
    const proof = clientProof(key, { nonce, user: "ann" });
    const asked = { nonce, user: "ann", proof, ...over };
    const answer = server.ask("POST", "/admin/session", { token: null, body: asked, control });
    return { asked, answer, key };
  };

  test("a proof buys a token that may do everything, and is answered by a proof", async () => {
    const { asked, answer, key } = session();
    const { status, json } = await answer;
    expect(status).toBe(200);
    const { token } = json;
    expect(json.proof).toBe(serverProof(key, { nonce: asked.nonce, token }));
    expect((await server.ask("GET", "/admin/tokens", { token })).status).toBe(200);
    const record = await server.ask("POST", "/v1/events", { token, body: body("session") });
    expect(record.json.metadata.issued_by).toEqual({ group: "cli", user: "cli:ann" });
  });

  test("a wrong proof, another's proof and a used one buy nothing", async () => {
    for (const over of [{ proof: "0".repeat(64) }, { user: "bob" }, { nonce: "0".repeat(64) }]) {
      expect((await session(over).answer).status).toBe(401);
    }
    const { asked, answer } = session();
    expect((await answer).status).toBe(200);
    expect((await session(asked).answer).status).toBe(401);
    expect((await session({ proof: "short" }).answer).status).toBe(400);
  });

  test("the public listener opens no sessions", async () => {
    expect((await session({}, false).answer).status).toBe(401);
  });

  test("it has every route when the REST surface is off, and asks for tokens", async () => {
    await using closed = await startTestServer({
      config: { api: { rest: false, graphql: true, grpc: true } },
    });
    expect((await closed.ask("GET", "/v1/events")).status).toBe(404);
    expect((await closed.ask("GET", "/health")).status).toBe(200);
    expect((await closed.ask("GET", "/admin/tokens")).status).toBe(200);
    expect((await closed.ask("GET", "/v1/events", { control: true })).status).toBe(200);
    const none = await closed.ask("GET", "/v1/events", { control: true, token: null });
    expect(none.status).toBe(401);
  });
});

describe("addresses", () => {
  const start = async (config: { port: number; bind_addr: string }) => {
    try {
      const started = await startServer({
        opened: server.store,
        config: testConfig(server.directory, config),
        log: silentLog,
        system: realSystem,
        version: "test",
        commands: null,
      });
      await started.stop();
      return null;
    } catch (error) {
      if (error instanceof DbxError) return error;
      throw error;
    }
  };

  test("a port in use is unavailable, by name", async () => {
    const error = await start({ port: server.port, bind_addr: "127.0.0.1" });
    expect(error?.code).toBe("unavailable");
    expect(error?.message).toContain(`port ${server.port} on 127.0.0.1`);
  });

  test.each(["999.1.1.1", "203.0.113.7", "nobody.invalid"])(
    "%s is no address",
    async (bind_addr) => {
      const error = await start({ port: 0, bind_addr });
      expect(error?.code).toBe("invalid_argument");
      expect(error?.message).toContain(bind_addr);
    },
  );

  test("IPv6 may stand in brackets", async () => {
    expect(await start({ port: 0, bind_addr: "[::1]" })).toBeNull();
  });
});

describe("stopping", () => {
  test("finishes what is running, refuses what comes, closes what is idle", async () => {
    const stopping = await startTestServer();
    const { token, port } = stopping;
    const idle = await connectRaw(port);
    idle.write(requestText("GET", "/health"));
    expect((await idle.read()).status).toBe(200);
    const running = await connectRaw(port);
    const text = body("last");
    const request = requestText("POST", "/v1/events", { token, body: text });
    running.write(request.slice(0, -5));
    const count = async () =>
      (await stopping.ask("GET", "/admin/status")).json.figures.http_requests_running;
    while ((await count()) < 2);

    const stopped = stopping.stop();
    await idle.closed;
    expect(connectRaw(port)).rejects.toThrow();
    running.write(request.slice(-5));
    expect((await running.read()).status).toBe(200);
    await stopped;
    await running.closed;
    await stopping.stop();
    await stopping[Symbol.asyncDispose]();
  });
});
