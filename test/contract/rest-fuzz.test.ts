// Random requests, most of them malformed: always an answer, always the one error shape, never a
// 500, and the server is well afterwards. What is not even HTTP is turned away by Bun's parser with
// a bare status line.

import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { fromWire } from "../../src/api/errors.ts";
import { routes } from "../../src/api/routes.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw } from "../support/server-raw.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));
/** What Bun's parser answers by itself, without a body. */
const parserStatus = [400, 408, 411, 431, 501, 505];

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Runs as often on every machine; the seed is in the name of what fails. */
const runs = (numRuns: number) => ({
  seed,
  numRuns,
  endOnFailure: true,
});

const segment = fc.oneof(
  fc.constantFrom("patient", "p-001", "..", "%2F", "%ff", "%", "", "%00", "a+b", "é", "events"),
  fc.string({ unit: "binary", maxLength: 8 }).map((text) => {
    try {
      return encodeURIComponent(text);
    } catch {
      return "%ED%A0%80"; // A lone surrogate has no encoding; this is what it would be.
    }
  }),
);
const path = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(...routes.map((route) => route.path)),
      fc.array(segment, { maxLength: 3 }),
    )
    .map(([pattern, parts]) => pattern.replaceAll(/\{\w+\}/g, () => parts.shift() ?? "x")),
  fc.array(segment, { maxLength: 5 }).map((parts) => `/${parts.join("/")}`),
);
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant("") },
  { weight: 1, arbitrary: fc.constantFrom("?", "?&&", "?take", "?take=1&take=1", "?=1", "?%zz") },
  fc
    .tuple(
      fc.constantFrom("skip", "take", "after", "cursor", "x", "__proto__", "constructor"),
      fc.oneof(fc.integer(), fc.double(), fc.constantFrom("", "1e9", "9007199254740993", "%ff")),
    )
    .map(([name, value]) => `?${name}=${value}`),
);

const event = fc.record(
  {
    aggregate_type: fc.oneof(fc.constantFrom("patient", ""), fc.string({ unit: "binary" })),
    aggregate_id: fc.oneof(fc.constantFrom("p-001", " "), fc.string(), fc.integer()),
    event_type: fc.oneof(fc.constant("noted"), fc.string(), fc.constant(null)),
    payload: fc.jsonValue(),
    note: fc.oneof(fc.string({ maxLength: 200 }), fc.constant(null), fc.integer()),
    event_id: fc.oneof(fc.uuid(), fc.string()),
    expected_version: fc.oneof(fc.integer(), fc.constantFrom("any", "no_stream", "x"), fc.double()),
    __proto__x: fc.constant(1),
  },
  { requiredKeys: ["aggregate_type", "payload"] },
);
const json = fc.oneof(
  event.map((value) => JSON.stringify(value)),
  fc.array(event, { maxLength: 3 }).map((events) => JSON.stringify({ events })),
  fc.jsonValue().map((value) => JSON.stringify(value)),
);
const body = fc.oneof(
  json,
  // One byte of something right made wrong.
  fc.tuple(json, fc.nat(), fc.string({ unit: "binary", maxLength: 2 })).map(([text, at, put]) => {
    const cut = at % (text.length + 1);
    return text.slice(0, cut) + put + text.slice(cut + 1);
  }),
  fc.string({ unit: "binary" }),
);
const contentType = fc.oneof(
  { weight: 4, arbitrary: fc.constant("application/json") },
  { weight: 1, arbitrary: fc.constantFrom("text/plain", "application/json; charset=x", ";", "") },
);
const method = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("GET", "POST") },
  { weight: 1, arbitrary: fc.constantFrom("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") },
);

test(`any request gets an answer in shape (SEED=${seed})`, async () => {
  let connection = await connectRaw(server.port);
  await fc.assert(
    fc.asyncProperty(
      fc.record({ method, path, query, body, contentType, authorized: fc.integer({ max: 9 }) }),
      async ({ method, path, query, body, contentType, authorized }) => {
        const bytes = Buffer.from(body);
        const head = [
          `${method} ${path}${query} HTTP/1.1`,
          "Host: 127.0.0.1",
          ...(authorized > 0 ? [`Authorization: Bearer ${server.token}`] : []),
          ...(contentType === "" ? [] : [`Content-Type: ${contentType}`]),
          ...(method === "GET" || method === "HEAD" ? [] : [`Content-Length: ${bytes.length}`]),
        ];
        const sends = method === "GET" || method === "HEAD" ? Buffer.alloc(0) : bytes;
        connection.write(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), sends]));
        const answer = await connection.read({ head: method === "HEAD" });
        expect(answer.status).toBeLessThan(500);
        if (method === "HEAD" || answer.status === 204) return;
        if (answer.headers.get("connection") === "close") {
          // Not HTTP enough for the parser; the next one needs a new connection.
          expect(parserStatus).toContain(answer.status);
          connection[Symbol.dispose]();
          connection = await connectRaw(server.port);
          return;
        }
        expect(answer.headers.get("content-type")).toBe("application/json");
        const value = JSON.parse(answer.body);
        if (answer.status < 400) return;
        expect(Object.keys(value)).toEqual(["message", "code", "details"]);
        expect(fromWire(value)?.code).toBe(value.code);
      },
    ),
    runs(3_000),
  );
  connection[Symbol.dispose]();
}, 60_000);

test(`random bytes never hurt the server (SEED=${seed})`, async () => {
  const line = fc.constantFrom(
    "GET /health HTTP/1.1",
    "POST /v1/events HTTP/1.1",
    "Host: x",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Authorization: Bearer",
    "Expect: 100-continue",
    "Connection: close",
    " folded: x",
    "nonsense",
    "",
    "0",
    "5;ext=1",
    "fffffffffffffffff",
  );
  const garbage = fc.oneof(
    fc.array(line, { maxLength: 8 }).map((lines) => Buffer.from(`${lines.join("\r\n")}\r\n\r\n`)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(garbage, { minLength: 1, maxLength: 3 }), async (parts) => {
      using connection = await connectRaw(server.port);
      for (const part of parts) connection.write(part);
      connection.end();
      await connection.closed;
    }),
    runs(500),
  );
  expect((await server.ask("GET", "/health")).status).toBe(200);
}, 60_000);

test("nothing of it was a defect, and the store is whole", async () => {
  expect(server.lines.filter((line) => line.includes(" error "))).toEqual([]);
  const { json } = await server.ask("GET", "/admin/status");
  expect([json.figures.http_requests_failed, json.figures.http_requests_running]).toEqual([0, 1]);
  expect((await server.ask("GET", "/admin/verify")).status).toBe(200);
});
