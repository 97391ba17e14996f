// Names and numbers go through REST unharmed: ids of every kind in paths, numbers of every length
// in payloads.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("ids", () => {
  test.each([
    "a/b",
    "/",
    "//",
    "a b",
    "a+b",
    "a%2Fb",
    "100%",
    "%",
    "?x=1&y#z",
    "Zoë Ångström",
    "😀 👩‍👩‍👧",
    "日本語",
    "e\u0301",
    "é",
    "a\\b",
    '"quoted"',
    "\ufffd",
    "events",
    "verify",
    ":id",
    "*",
    "{}",
    "__proto__",
    "constructor",
    "x".repeat(256),
    "😀".repeat(256),
  ])("%j is written, read, listed and verified", async (id) => {
    await server.append("thing", id);
    const path = `/v1/aggregates/thing/${encodeURIComponent(id)}`;
    const aggregate = await server.ask("GET", path);
    expect([aggregate.status, aggregate.json.aggregate_id]).toEqual([200, id]);
    const events = await server.ask("GET", `${path}/events`);
    expect(events.json.map((record: { aggregate_id: string }) => record.aggregate_id)).toEqual([
      id,
    ]);
    expect((await server.ask("GET", `${path}/verify`)).status).toBe(200);
  });

  test.each([".", ".."])("%j is reached by a client that sends paths as they are", async (id) => {
    await server.append("thing", id);
    for (const written of [id, id.replaceAll(".", "%2e")]) {
      using connection = await connectRaw(server.port);
      const { token } = server;
      connection.write(requestText("GET", `/v1/aggregates/thing/${written}`, { token }));
      const { status, body } = await connection.read();
      expect([status, JSON.parse(body).aggregate_id]).toEqual([200, id]);
    }
  });

  test.each(["%ff", "%zz", "%", "a%", "%4", "%c3%28", "%ed%a0%80", "%f4%90%80%80", "%zz%EF%BF%BD"])(
    "%s in a path is refused",
    async (id) => {
      const { status, json } = await server.ask("GET", `/v1/aggregates/thing/${id}`);
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
    },
  );

  test.each(["%00", "%0a", "%20a", "a%20", "x".repeat(257), "%C2%85"])(
    "%s is no name",
    async (id) => {
      const { status, json } = await server.ask("GET", `/v1/aggregates/thing/${id}`);
      expect([status, json.code, json.details.path]).toEqual([
        400,
        "invalid_argument",
        "/aggregate_id",
      ]);
    },
  );
});

describe("paths that no route has", () => {
  test.each([
    "/",
    "/nope",
    "/v1",
    "/v1/",
    "/v1/event",
    "/v1/events/",
    "/v1//events",
    "/v1/aggregates/",
    "/v1/aggregates/patient",
    "/v1/aggregates/patient/",
    "/v1/aggregates//p-001",
    "/v1/aggregates/patient/p-001/",
    "/v1/aggregates/patient//events",
    "/v1/aggregates/patient/p-001/event",
    "/V1/events",
    "/health/",
    "/admin",
    "/admin/tokens/",
    "/admin/tokens//revoke",
    "/admin/session",
  ])("%s is not found", async (path) => {
    const { status, json } = await server.ask("GET", path);
    expect([status, json.code, json.message]).toEqual([404, "not_found", "no such path"]);
  });

  test.each([
    ["PUT", "/v1/events", "POST, GET, HEAD, OPTIONS"],
    ["DELETE", "/v1/aggregates/a/b", "GET, HEAD, OPTIONS"],
    ["PATCH", "/health", "GET, HEAD, OPTIONS"],
    ["GET", "/v1/events/batch", "POST, OPTIONS"],
    ["POST", "/admin/status", "GET, HEAD, OPTIONS"],
    ["GET", "/admin/tokens/x/revoke", "POST, OPTIONS"],
  ])("%s %s names the methods there are", async (method, path, allow) => {
    const { status, json, headers } = await server.ask(method, path);
    expect([status, json.code, headers.get("allow")]).toEqual([405, "invalid_argument", allow]);
    expect(json.details).toMatchObject({ reason: "method_not_allowed", method, allow });
  });

  test("OPTIONS names the methods, without a body", async () => {
    const { status, text, headers } = await server.ask("OPTIONS", "/v1/events");
    expect([status, text, headers.get("allow")]).toEqual([204, "", "POST, GET, HEAD, OPTIONS"]);
    expect((await server.ask("OPTIONS", "/nope")).status).toBe(404);
  });

  test("HEAD answers as GET would, without the body", async () => {
    await server.append("head", "h-1");
    for (const path of ["/health", "/v1/aggregates/head/h-1", "/v1/events?take=1"]) {
      const head = await server.ask("HEAD", path);
      const get = await server.ask("GET", path);
      expect([head.status, head.text]).toEqual([200, ""]);
      expect(head.headers.get("content-length")).toBe(String(Buffer.byteLength(get.text)));
      expect(head.headers.get("content-type")).toBe("application/json");
    }
    expect((await server.ask("HEAD", "/v1/aggregates/head/none")).status).toBe(404);
    expect((await server.ask("HEAD", "/v1/events", { token: null })).status).toBe(401);
  });
});

describe("odd request lines", () => {
  const answerTo = async (line: string, host: string | null = "x") => {
    using connection = await connectRaw(server.port);
    const fields = host === null ? "" : `Host: ${host}\r\n`;
    connection.write(`${line}\r\n${fields}Authorization: Bearer ${server.token}\r\n\r\n`);
    const { status, body } = await connection.read();
    return [status, body === "" ? null : (JSON.parse(body).code ?? "ok")];
  };

  test.each([
    ["GET /v1/events?take=0 HTTP/1.0", null, 200, "ok"],
    ["GET /v1/events?take=0 HTTP/1.1", "a b", 200, "ok"],
    ["GET /nope HTTP/1.1", "a/b?c", 404, "not_found"],
    ["GET http://other.example/v1/events?take=0 HTTP/1.1", "x", 200, "ok"],
    ["GET /v1/x/../events HTTP/1.1", "x", 404, "not_found"],
    ["GET /v1/x/../aggregates/a/%zz HTTP/1.1", "x", 404, "not_found"],
    ["TRACE /v1/events HTTP/1.1", "x", 405, "invalid_argument"],
    ["PROPFIND /v1/events HTTP/1.1", "x", 405, "invalid_argument"],
    ["CONNECT a:1 HTTP/1.1", "x", 404, "not_found"],
    // What Bun's parser turns away has no body.
    ["OPTIONS * HTTP/1.1", "x", 400, null],
    ["GET /v1/events HTTP/1.1", null, 400, null],
    [`GET /${"x".repeat(20_000)} HTTP/1.1`, "x", 431, null],
  ])("%# is answered", async (line, host, status, code) => {
    expect([line, ...(await answerTo(line, host))]).toEqual([line, status, code]);
  });
});

describe("numbers", () => {
  test.each([
    ["9007199254740993", "9007199254740993"],
    ["18446744073709551615", "18446744073709551615"],
    ["-9223372036854775808", "-9223372036854775808"],
    ["0.1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890"],
    ["1e400", "1e400"],
    ["2e-324", "2e-324"],
    ["1.0", "1"],
    ["-0", "0"],
    ["1E5", "100000"],
    ["1e21", "1e+21"],
    ["3.14159265358979323846264338327950288419716939937510", undefined],
  ])("%s comes back exact", async (sent, kept = sent) => {
    const id = `n-${sent}`.slice(0, 60);
    const record = await server.append("number", id, `{"b":[${sent}],"a":${sent}}`);
    const payload = `"payload":{"a":${kept},"b":[${kept}]}`;
    expect(record.text).toContain(payload);
    const path = `/v1/aggregates/number/${encodeURIComponent(id)}`;
    expect((await server.ask("GET", `${path}/events`)).text).toContain(payload);
    expect((await server.ask("GET", path)).text).toContain(`"state":{"a":"${kept}","b":[${kept}]}`);
    expect((await server.ask("GET", "/v1/events?take=1000")).text).toContain(payload);
  });

  test("a batch keeps them too, and any JSON value is a payload", async () => {
    const payloads = ["9007199254740993", "null", '"text"', "[]", "false", '{"__proto__":1}'];
    const events = payloads.map(
      (payload) =>
        `{"aggregate_type":"any","aggregate_id":"a","event_type":"x","payload": ${payload} }`,
    );
    const body = `{"events":[${events.join()}]}`;
    const { status, text } = await server.ask("POST", "/v1/events/batch", { body });
    expect(status).toBe(200);
    for (const payload of payloads) expect(text).toContain(`"payload":${payload},`);
  });
});
