// Pages of other origins: what a browser is told before it asks and with each answer, and that a
// server nobody configured for it says nothing at all.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { Config } from "../../src/model/config.ts";
import { dbx } from "../support/cli.ts";
import { startTestServer, type Answer, type Ask, type TestServer } from "../support/server.ts";
import { tempDir } from "../support/temp.ts";

const page = "https://app.example.com";
const stranger = "https://evil.example";

let closed: TestServer;
let listed: TestServer;
let everybody: TestServer;
beforeAll(async () => {
  closed = await startTestServer();
  listed = await startTestServer({ config: { cors: { origins: `${page}, http://[::1]:3000` } } });
  everybody = await startTestServer({ config: { cors: { origins: "*" } } });
});
afterAll(async () => {
  for (const server of [closed, listed, everybody]) await server[Symbol.asyncDispose]();
});

/** Every header that has to do with it. */
const corsOf = ({ headers }: Answer): Record<string, string> =>
  Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith("access-control-") || name === "vary"),
  );
const from = (origin: string, ask: Ask = {}): Ask => ({
  ...ask,
  headers: { ...ask.headers, Origin: origin },
});
const preflight = (origin: string): Ask => ({
  token: null,
  headers: { Origin: origin, "Access-Control-Request-Method": "POST" },
});

/** Answers of every kind: success, nothing, and refusals from all layers. */
const requests: readonly (readonly [string, string, number, Ask])[] = [
  ["GET", "/health", 200, { token: null }],
  ["GET", "/v1/events", 200, {}],
  ["GET", "/v1/events", 401, { token: null }],
  ["GET", "/v1/events?take=x", 400, {}],
  ["GET", "/v1/aggregates/no/ne", 404, {}],
  ["GET", "/nope", 404, {}],
  ["DELETE", "/v1/events", 405, {}],
  ["POST", "/v1/events", 415, { body: "x", headers: { "Content-Type": "text/plain" } }],
  ["OPTIONS", "/v1/events", 204, {}],
  ["GET", "/openapi.json", 200, { token: null }],
  ["HEAD", "/docs", 200, { token: null }],
  ["POST", "/graphql", 200, { body: { query: "{ health { status } }" } }],
  ["POST", "/graphql", 401, { body: { query: "{ health { status } }" }, token: null }],
  ["HEAD", "/v1/events/stream", 200, {}],
  ["GET", "/v1/events/stream?after=9", 409, {}],
];
const shared = {
  "access-control-allow-origin": page,
  "access-control-expose-headers": "ETag, X-Next-Cursor, X-Request-Id, Retry-After",
};

describe("without cors.origins", () => {
  test.each(requests)("%s %s (%i) says nothing of it", async (method, path, status, ask) => {
    const answer = await closed.ask(method, path, from(page, ask));
    expect(answer.status).toBe(status);
    const { vary = "", ...others } = corsOf(answer);
    expect(others).toEqual({});
    expect(vary).not.toContain("Origin");
  });
  test("a preflight is a request without a token", async () => {
    expect((await closed.ask("OPTIONS", "/v1/events", preflight(page))).status).toBe(401);
  });
});

describe("with a list of origins", () => {
  test.each(requests)(
    "%s %s (%i) may be read by one of them",
    async (method, path, status, ask) => {
      const answer = await listed.ask(method, path, from(page, ask));
      expect(answer.status).toBe(status);
      const { vary = "", ...others } = corsOf(answer);
      expect(others).toEqual(shared);
      expect(vary).toContain("Origin");
    },
  );
  test.each([stranger, "null", `${page}/`, `${page}.evil.example`, page.toUpperCase(), ""])(
    "the origin %j may read nothing, and caches keep that apart",
    async (origin) => {
      const answer = await listed.ask("GET", "/v1/events", from(origin));
      expect([answer.status, corsOf(answer)]).toEqual([200, { vary: "Origin" }]);
      const asked = await listed.ask("OPTIONS", "/v1/events", preflight(origin));
      expect([asked.status, corsOf(asked)]).toEqual([401, { vary: "Origin" }]);
    },
  );
  test("a live stream may be read by one of them", async () => {
    const { port, token } = listed;
    const gone = new AbortController();
    const { status, headers } = await fetch(`http://127.0.0.1:${port}/v1/events/stream`, {
      headers: { Authorization: `Bearer ${token}`, Origin: page },
      signal: gone.signal,
    });
    expect([status, headers.get("access-control-allow-origin")]).toEqual([200, page]);
    gone.abort();
  });
  test("who is no browser is told nothing but to keep answers apart", async () => {
    expect(corsOf(await listed.ask("GET", "/v1/events"))).toEqual({ vary: "Origin" });
  });
  test.each([
    ["/v1/events", "POST, GET, HEAD, OPTIONS"],
    ["/v1/aggregates/a/b", "GET, HEAD, OPTIONS"],
    ["/admin/schemas/x", "GET, HEAD, PATCH, OPTIONS"],
    ["/health", "GET, HEAD, OPTIONS"],
    ["/openapi.json", "GET, HEAD, OPTIONS"],
  ])("a preflight of %s needs no token and names %s", async (path, methods) => {
    const { status, headers, ...rest } = await listed.ask("OPTIONS", path, preflight(page));
    expect([status, rest.text]).toEqual([204, ""]);
    expect(corsOf({ status, headers, ...rest })).toEqual({
      ...shared,
      vary: "Origin",
      "access-control-allow-methods": methods,
      "access-control-allow-headers":
        "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, X-Request-Id",
      "access-control-max-age": "7200",
    });
  });
  test("a preflight of no path is refused, and the page may read why", async () => {
    const answer = await listed.ask("OPTIONS", "/nope", preflight(page));
    expect([answer.status, corsOf(answer)["access-control-allow-origin"]]).toEqual([404, page]);
  });
  test("the listener of this machine's command line takes no part", async () => {
    const answer = await listed.ask("GET", "/health", from(page, { control: true }));
    expect(corsOf(answer)).toEqual({});
  });
});

describe("for all", () => {
  test.each(requests)("%s %s (%i) may be read by any", async (method, path, status, ask) => {
    for (const origin of [page, stranger, "null"]) {
      const answer = await everybody.ask(method, path, from(origin, ask));
      expect(answer.status).toBe(status);
      const { vary = "", ...others } = corsOf(answer);
      expect(others).toEqual({ ...shared, "access-control-allow-origin": "*" });
      expect(vary).not.toContain("Origin");
    }
  });
});

describe("cors.origins", () => {
  const schema = Config.properties.cors.properties.origins;
  test.each([
    "*",
    page,
    `${page},http://localhost:3000`,
    `${page} , null`,
    "http://[::1]:3000",
    "http://a:443",
    "https://a:4430",
    "chrome-extension://abcdef",
  ])("takes %j", (origins) => expect(Value.Check(schema, origins)).toBe(true));
  test.each([
    "",
    "app.example.com",
    `${page}/`,
    `${page}/path`,
    `${page}:443`,
    `http://a:80,${page}`,
    "https://App.example.com",
    "https://*.example.com",
    `*, ${page}`,
    `${page},`,
    `${page} http://b`,
    "https://a:0",
    "//a",
  ])("refuses %j, which no browser sends", (origins) =>
    expect(Value.Check(schema, origins)).toBe(false),
  );
  test("comes from the environment, and a wrong one is named", async () => {
    using home = tempDir();
    const config = (origins: string) =>
      dbx(["config"], { home: home.path, env: { EVENTDBX_CORS_ORIGINS: origins } });
    expect((await config(page)).stdout).toContain(page);
    const { code, stderr } = await config(`${page}/`);
    expect(code).toBe(2);
    expect(stderr).toContain("EVENTDBX_CORS_ORIGINS");
    expect(stderr).toContain("such as https://app.example.com");
  });
});
