// What may be in a request body, how large it may be, and what the connection is good for
// afterwards.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

let server: TestServer;
const payload_limit = 20_000;
const append_bytes_max = 3 * payload_limit + limits.envelope_bytes_max;

beforeAll(async () => {
  server = await startTestServer({ config: { payload_limit } });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const event = (over: object = {}) => ({
  aggregate_type: "thing",
  aggregate_id: "t-1",
  event_type: "noted",
  payload: { a: 1 },
  ...over,
});
const post = (body: unknown, headers: Record<string, string> = {}) =>
  server.ask("POST", "/v1/events", { body, headers });

describe("what is no JSON", () => {
  test.each([
    ["", 0],
    ["{", 1],
    ['{"a":1,}', 7],
    ["{'a':1}", 1],
    ['{"a":01}', 5],
    ['{"a":NaN}', 5],
    ['{"a":1} x', 8],
    ['{"a":"\t"}', 6],
    ['{"a":1,"a":2}', 7],
    ['{"a":1,"\\u0061":2}', 7],
    ["nul", 0],
  ])("%j is refused with its place", async (body, offset) => {
    const { status, json } = await post(body);
    expect([status, json.code, json.details]).toEqual([400, "invalid_argument", { offset }]);
  });

  test("a lone surrogate is refused, escaped or raw", async () => {
    const escaped = await post('{"a":"\\ud800"}');
    expect([escaped.status, escaped.json.code]).toEqual([400, "invalid_argument"]);
  });

  test.each([
    ["a byte-order mark", [0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
    ["Latin-1", [0x22, 0xe9, 0x22]],
    ["an overlong slash", [0x22, 0xc0, 0xaf, 0x22]],
    ["a surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ["UTF-16", [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])("%s is refused", async (_, bytes) => {
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/events`, {
      method: "POST",
      headers: { Authorization: `Bearer ${server.token}`, "Content-Type": "application/json" },
      body: Uint8Array.from(bytes),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "invalid_argument" });
  });

  test("a payload of 128 levels is taken, one of 129 is not, whatever stands around it", async () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    const one = (levels: number) =>
      JSON.stringify(event({ payload: "here" })).replace('"here"', nested(levels));
    const batch = (levels: number) => `{"events":[${one(levels)}]}`;
    const deepest = limits.json_depth_max;
    for (const [path, bodyOf] of [
      ["/v1/events", one],
      ["/v1/events/batch", batch],
    ] as const) {
      expect((await server.ask("POST", path, { body: bodyOf(deepest) })).status).toBe(200);
      const { status, json } = await server.ask("POST", path, { body: bodyOf(deepest + 1) });
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
      expect(json.message).toContain("nested deeper than 128 levels");
    }
    expect((await post("[".repeat(30_000))).status).toBe(400);
  });
});

describe("content types", () => {
  test.each([
    "application/json",
    "application/json; charset=utf-8",
    'Application/JSON;charset="UTF-8"',
    "application/vnd.acme+json",
    "application/cloudevents+json; charset=utf8",
  ])("%s is taken", async (type) => {
    expect((await post(event(), { "Content-Type": type })).status).toBe(200);
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=latin1",
    "application/jsonp",
    "application/xml",
    "json",
  ])("%s is 415", async (type) => {
    const { status, json } = await post(event(), { "Content-Type": type });
    expect([status, json.code]).toEqual([415, "invalid_argument"]);
    expect(json.details).toEqual({ reason: "unsupported_media_type", content_type: type });
  });

  test("a body without one is 415, no body at all is just no JSON", async () => {
    using connection = await connectRaw(server.port);
    const { token } = server;
    const headers = { "Content-Length": "2" };
    connection.write(`${requestText("POST", "/v1/events", { token, headers })}{}`);
    expect((await connection.read()).status).toBe(415);
    connection.write(requestText("POST", "/v1/events", { token }));
    expect((await connection.read()).status).toBe(400);
  });
});

describe("members", () => {
  test.each([
    [{ aggregate_typ: "x" }, "/aggregate_typ", "did you mean aggregate_type?"],
    [{ expectedVersion: 1 }, "/expectedVersion", "did you mean expected_version?"],
    [{ aggregate_type: 7 }, "/aggregate_type", "must be a string"],
    [{ aggregate_id: "" }, "/aggregate_id", "must not be empty"],
    [{ aggregate_id: " x" }, "/aggregate_id", "blank"],
    [{ aggregate_id: "x\n" }, "/aggregate_id", "control"],
    [{ event_type: "x".repeat(257) }, "/event_type", "at most 256"],
    [{ note: "😀".repeat(129) }, "/note", "at most 128"],
    [{ note: 1 }, "/note", "must be one of: "],
    [{ event_id: "abc" }, "/event_id", "must look like"],
    [{ event_id: 7 }, "/event_id", "must be a string"],
    [{ expected_version: -1 }, "/expected_version", "must be an integer of at least 0"],
    [{ expected_version: 1.5 }, "/expected_version", "must be an integer of at least 0"],
    [{ expected_version: "often" }, "/expected_version", "any, no_stream, stream_exists"],
    [{ aggregate_type: undefined }, "/aggregate_type", "missing"],
    [{ payload: undefined }, "/payload", "missing"],
    [{ event_type: "$erased" }, undefined, "belong to dbx"],
  ])("%j is refused", async (over, path, words) => {
    const { status, json } = await post(event(over));
    expect([status, json.code, json.details.path]).toEqual([400, "invalid_argument", path]);
    expect(json.message).toContain(words);
  });

  test.each(["[]", "null", '"x"', "1", "true"])("a body that is %s is refused", async (body) => {
    const answers = [
      await post(body),
      await server.ask("POST", "/v1/events/batch", { body }),
      await server.ask("POST", "/admin/tokens/x/refresh", { body }),
      await server.ask("POST", "/admin/tokens/x/revoke", { body }),
    ];
    for (const { status, json } of answers)
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
  });

  test("what the path names may not stand in the body too", async () => {
    const { status, json } = await server.ask("POST", "/admin/tokens/x/refresh", {
      body: { token: "y", limit: 1 },
    });
    expect([status, json.details.path]).toEqual([400, "/token"]);
  });

  test("a fault in a batch names its event", async () => {
    const body = { events: [event(), event({ aggregate_id: 7 })] };
    const { status, json } = await server.ask("POST", "/v1/events/batch", { body });
    expect([status, json.details.path]).toEqual([400, "/events/1/aggregate_id"]);
    const many = Array.from({ length: limits.transaction_events_max + 1 }, () => event());
    const over = await server.ask("POST", "/v1/events/batch", { body: { events: many } });
    expect([over.status, over.json.details.path]).toEqual([413, "/events"]);
    const none = await server.ask("POST", "/v1/events/batch", { body: { events: [] } });
    expect([none.status, none.json.details.path]).toEqual([400, "/events"]);
  });

  test("the body of a GET is ignored", async () => {
    using connection = await connectRaw(server.port);
    const { token } = server;
    connection.write(requestText("GET", "/v1/events?take=0", { token, body: "not JSON" }));
    expect(await connection.read()).toMatchObject({ status: 200, body: "[]" });
    connection.write(requestText("GET", "/health"));
    expect((await connection.read()).status).toBe(200);
  });
});

describe("sizes", () => {
  /** A body of exactly so many bytes, most of it blanks. */
  const padded = (bytes: number) => JSON.stringify(event()).padEnd(bytes);
  const withPayload = (bytes: number) => event({ payload: "x".repeat(bytes - 2) });

  test("a body at the limit is taken, one byte more is not", async () => {
    expect((await post(padded(append_bytes_max))).status).toBe(200);
    const { status, json } = await post(padded(append_bytes_max + 1));
    expect([status, json.code]).toEqual([413, "too_large"]);
    expect(json.details).toEqual({ limit: append_bytes_max, actual: append_bytes_max + 1 });
  });

  test("a payload at its limit is taken, one byte more is not", async () => {
    expect((await post(withPayload(payload_limit))).status).toBe(200);
    const { status, json } = await post(withPayload(payload_limit + 1));
    expect([status, json.code]).toEqual([413, "too_large"]);
  });

  test("how a payload is written does not count, only what it is", async () => {
    // What clients that escape all but ASCII make of it: three bytes for each of its own.
    const escaped = (text: string) =>
      JSON.stringify(event({ payload: text })).replaceAll("é", "\\u00e9");
    const fits = "é".repeat((payload_limit - 2) / 2);
    const { status, json } = await post(escaped(fits));
    expect([status, json.payload]).toEqual([200, fits]);
    const over = await post(escaped(`${fits}x`));
    expect([over.status, over.json.code]).toEqual([413, "too_large"]);
    expect(over.json.details).toMatchObject({ limit: payload_limit, bytes: payload_limit + 1 });
    const numbers = Array.from({ length: 3_000 }, (_, index) => index);
    const indented = JSON.stringify(event({ payload: { numbers } }), null, 4);
    expect(indented.length).toBeGreaterThan(payload_limit + limits.envelope_bytes_max);
    expect((await post(indented)).status).toBe(200);
  });

  test("administration takes little, a batch takes much", async () => {
    const admin = await server.ask("POST", "/admin/tokens", {
      body: " ".repeat(limits.admin_bytes_max + 1),
    });
    expect([admin.status, admin.json.code]).toEqual([413, "too_large"]);
    const events = Array.from({ length: 100 }, () => withPayload(payload_limit));
    const batch = await server.ask("POST", "/v1/events/batch", { body: { events } });
    expect([batch.status, batch.json?.length]).toEqual([200, 100]);
    const large = await server.ask("POST", "/v1/events/batch", {
      body: " ".repeat(limits.batch_bytes_max + 1),
    });
    expect([large.status, large.json.code]).toEqual([413, "too_large"]);
  });

  test("a declared length above the limit is refused before the body is sent", async () => {
    using connection = await connectRaw(server.port);
    const headers = {
      "Content-Type": "application/json",
      "Content-Length": "1000000000000",
    };
    connection.write(requestText("POST", "/v1/events", { token: server.token, headers }));
    const { status, body } = await connection.read();
    expect([status, JSON.parse(body).code]).toEqual([413, "too_large"]);
  });

  test("chunked bodies are counted while they come, and the connection lives on", async () => {
    using connection = await connectRaw(server.port);
    const { token } = server;
    const headers = { "Content-Type": "application/json", "Transfer-Encoding": "chunked" };
    const start = requestText("POST", "/v1/events", { token, headers });
    const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
    const text = JSON.stringify(event({ payload: "Zoë 😀" }));
    const bytes = Buffer.from(text);
    connection.write(start);
    // Cut in the middle of characters as well.
    for (let at = 0; at < bytes.length; at += 3) {
      const part = bytes.subarray(at, at + 3);
      connection.write(
        Buffer.concat([Buffer.from(`${part.length}\r\n`), part, Buffer.from("\r\n")]),
      );
    }
    connection.write("0\r\n\r\n");
    const taken = await connection.read();
    expect([taken.status, JSON.parse(taken.body).payload]).toEqual([200, "Zoë 😀"]);

    connection.write(start);
    for (let sent = 0; sent <= append_bytes_max; sent += 10_000) {
      connection.write(chunk(" ".repeat(10_000)));
    }
    const refused = await connection.read();
    expect([refused.status, JSON.parse(refused.body).code]).toEqual([413, "too_large"]);
    connection.write("0\r\n\r\n");
    connection.write(requestText("POST", "/v1/events", { token, body: JSON.stringify(event()) }));
    expect((await connection.read()).status).toBe(200);
  });

  test("large bodies together have a bound, and room is given back", async () => {
    const { token } = server;
    const headers = {
      "Content-Type": "application/json",
      "Content-Length": String(limits.batch_bytes_max),
    };
    const fits = limits.bodies_bytes_max / limits.batch_bytes_max;
    const holding = await Promise.all(Array.from({ length: fits }, () => connectRaw(server.port)));
    for (const connection of holding) {
      connection.write(requestText("POST", "/v1/events/batch", { token, headers }));
    }
    const held = async () =>
      (await server.ask("GET", "/admin/status")).json.figures.http_body_bytes;
    while ((await held()) < limits.bodies_bytes_max);
    const refused = await server.ask("POST", "/v1/events/batch", {
      body: " ".repeat(limits.body_inline_bytes_max + 1),
    });
    expect([refused.status, refused.json.code]).toEqual([429, "overloaded"]);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    // Small ones go on.
    expect((await post(event())).status).toBe(200);
    for (const connection of holding) connection[Symbol.dispose]();
    while ((await held()) > 0);
  });
});

test("without a token nothing of the body is read", async () => {
  using connection = await connectRaw(server.port);
  const headers = { "Content-Type": "application/json", "Content-Length": "30000" };
  connection.write(requestText("POST", "/v1/events", { headers }));
  // Answered although not one byte of the body was sent.
  const { status, headers: answered } = await connection.read();
  expect([status, answered.get("www-authenticate")]).toEqual([401, "Bearer"]);
});
