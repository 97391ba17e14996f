// Every error code is provoked over REST and compared with the table, row by row: status, headers,
// shape, and that a client reads back the very error. What all surfaces have in common is in
// test/conformance/dbx-errors.test.ts.

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { fromWire, httpReasons, statusOf, toWire } from "../../src/api/errors.ts";
import { DbxError, errorCodes, unavailable, type ErrorCode } from "../../src/model/error.ts";
import { createLog, silentLog } from "../../src/log.ts";
import { limits } from "../../src/model/limits.ts";
import { startTestServer, type Answer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

let server: TestServer;
const provoked = new Map<string, Answer>();
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Holds an answer against the row of its code. */
function expectShape(answer: Answer, code: ErrorCode, status: number = statusOf[code].http): void {
  provoked.set(`${code} ${status}`, answer);
  expect(answer.json).toEqual({
    message: expect.any(String),
    code,
    details: expect.any(Object),
  });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("content-type")).toBe("application/json");
  expect(answer.json.message).not.toBe("");
  expect(answer.headers.has("www-authenticate")).toBe(status === 401);
  expect(answer.headers.has("retry-after")).toBe(status === 429);
  expect(answer.headers.has("allow")).toBe(status === 405);
  // What a client makes of it is what the engine threw.
  const error = fromWire(answer.json);
  expect(error).toBeInstanceOf(DbxError);
  expect(toWire(error)).toEqual(answer.json);
}

const event = (over: object = {}) => ({
  aggregate_type: "thing",
  aggregate_id: "t-1",
  event_type: "noted",
  payload: {},
  ...over,
});
const append = (over: object = {}, token?: string) =>
  server.ask("POST", "/v1/events", {
    body: event(over),
    ...(token === undefined ? {} : { token }),
  });
const issue = async (body: object): Promise<{ token: string; id: string }> =>
  (await server.ask("POST", "/admin/tokens", { body: { group: "app", user: "bob", ...body } }))
    .json;

test("invalid_argument: input that does not fit", async () => {
  expectShape(await server.ask("GET", "/v1/events?take=x"), "invalid_argument");
});

test("invalid_argument: what HTTP has a status of its own for", async () => {
  expectShape(await server.ask("PUT", "/v1/events"), "invalid_argument", 405);
  const headers = { "Content-Type": "text/plain" };
  const plain = await server.ask("POST", "/v1/events", { body: "x", headers });
  expectShape(plain, "invalid_argument", 415);
});

test("unauthenticated: no token, an unknown, an expired and a revoked one", async () => {
  const messageOf = async (token: string | null) => {
    const answer = await server.ask("GET", "/v1/events", { token });
    expectShape(answer, "unauthenticated");
    return answer.json.message;
  };
  expect(await messageOf(null)).toBe("unauthorized");
  expect(await messageOf("EVT-unknown")).toBe("token not found or inactive");
  const revoked = await issue({});
  await server.ask("POST", `/admin/tokens/${revoked.id}/revoke`);
  expect(await messageOf(revoked.token)).toBe("token not found or inactive");
  const short = await issue({ expiration_secs: 1 });
  // Expiry is a matter of the clock: ask until it has passed.
  let answer = await server.ask("GET", "/v1/events?take=0", { token: short.token });
  while (answer.status === 200)
    answer = await server.ask("GET", "/v1/events?take=0", { token: short.token });
  expectShape(answer, "unauthenticated");
  expect(answer.json.message).toBe("token has expired");
});

test("permission_denied: a grant that is missing, a limit that is spent", async () => {
  const { token } = await issue({ limit: 1 });
  expectShape(await server.ask("GET", "/admin/tokens", { token }), "permission_denied");
  expect((await append({}, token)).status).toBe(200);
  const spent = await append({}, token);
  expectShape(spent, "permission_denied");
  expect(spent.json.message).toBe("token write limit reached");
});

test("not_found: a path, an aggregate, a token", async () => {
  expectShape(await server.ask("GET", "/nope"), "not_found");
  const none = await server.ask("GET", "/v1/aggregates/no/ne");
  expectShape(none, "not_found");
  expect(none.json.message).toBe("aggregate not found");
  expectShape(await server.ask("POST", "/admin/tokens/none/revoke"), "not_found");
});

test("already_exists: a name and an event id that are taken", async () => {
  const body = { aggregate_type: "thing", aggregate_id: "taken" };
  await server.ask("POST", "/v1/aggregates", { body });
  expectShape(await server.ask("POST", "/v1/aggregates", { body }), "already_exists");
  const event_id = crypto.randomUUID();
  expect((await append({ event_id })).status).toBe(200);
  expect((await append({ event_id })).status).toBe(200);
  expectShape(await append({ event_id, payload: 1 }), "already_exists");
});

test("version_conflict: says what the version is", async () => {
  const answer = await append({ aggregate_id: "fresh", expected_version: 3 });
  expectShape(answer, "version_conflict");
  expect(answer.json.details).toMatchObject({ expected: 3, actual: 0 });
});

test("version_conflict: with the status that If-Match asks for", async () => {
  const headers = { "If-Match": '"3"' };
  const body = event({ aggregate_id: "fresh" });
  const answer = await server.ask("POST", "/v1/events", { body, headers });
  expectShape(answer, "version_conflict", 412);
  expect(answer.json.details).toMatchObject({ expected: 3, actual: 0 });
});

test("aggregate_archived: the aggregate takes no more events", async () => {
  await append({ aggregate_id: "closed" });
  await server.ask("POST", "/v1/aggregates/thing/closed/archive", { body: {} });
  expectShape(await append({ aggregate_id: "closed" }), "aggregate_archived");
});

test("schema_violation: an event that its schema does not know", async () => {
  const body = { aggregate: "strict", events: ["made"] };
  expect((await server.ask("POST", "/admin/schemas", { body })).status).toBe(201);
  expectShape(await append({ aggregate_type: "strict" }), "schema_violation");
});

test("failed_precondition: nobody gave this server a configuration to read again", async () => {
  expectShape(await server.ask("POST", "/admin/config/reload"), "failed_precondition");
});

test("too_large: a body, and a payload within it", async () => {
  expectShape(await append({ payload: "x".repeat(limits.payload_bytes_default) }), "too_large");
  const body = " ".repeat(limits.batch_bytes_max + 1);
  expectShape(await server.ask("POST", "/v1/events/batch", { body }), "too_large");
});

test("overloaded: more large bodies at once than memory is set aside for", async () => {
  const headers = {
    "Content-Type": "application/json",
    "Content-Length": String(limits.batch_bytes_max),
  };
  const start = requestText("POST", "/v1/events/batch", { token: server.token, headers });
  const count = limits.bodies_bytes_max / limits.batch_bytes_max;
  const holding = await Promise.all(Array.from({ length: count }, () => connectRaw(server.port)));
  for (const connection of holding) connection.write(start);
  const held = async () => (await server.ask("GET", "/admin/status")).json.figures.http_body_bytes;
  while ((await held()) < limits.bodies_bytes_max);
  const body = " ".repeat(limits.body_inline_bytes_max + 1);
  expectShape(await server.ask("POST", "/v1/events/batch", { body }), "overloaded");
  for (const connection of holding) connection[Symbol.dispose]();
});

test("data_corrupted: verify finds a changed byte and names the faults", async () => {
  await using broken = await startTestServer();
  await broken.append("thing", "t-1", '{"a":1}');
  const raw = new Database(join(broken.directory, "dbx.db"));
  for (const { name } of raw
    .query("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    .all() as { name: string }[]) {
    raw.run(`DROP TRIGGER ${name}`);
  }
  raw.run("UPDATE event SET event_type = 'changed'");
  raw.close();
  const one = await broken.ask("GET", "/v1/aggregates/thing/t-1/verify");
  expectShape(one, "data_corrupted");
  expect(one.json.details.faults).toBeArray();
  expectShape(await broken.ask("GET", "/admin/verify"), "data_corrupted");
  expect(broken.lines.some((line) => / warn .*code=data_corrupted/.test(line))).toBe(true);
});

test("unavailable: the store is closed under the server", async () => {
  await using stopping = await startTestServer();
  await stopping.store.close();
  expectShape(await stopping.ask("POST", "/v1/events", { body: event() }), "unavailable");
});

test("internal: a defect is logged with its stack and shows nothing of it", async () => {
  await using defective = await startTestServer({
    // The one place where foreign code runs inside an operation: the reader of the configuration.
    reload: () => Promise.reject(new Error("EVT-0123456789abcdef is in the way")),
  });
  const answer = await defective.ask("POST", "/admin/config/reload");
  expectShape(answer, "internal");
  expect(answer.json.details).toEqual({});
  expect(answer.text).not.toContain("way");
  const line = defective.lines.find((each) => each.includes(" error ")) ?? "";
  expect(line).toContain("operation=reloadConfig");
  expect(line).toContain("[secret] is in the way");
  expect(line).toContain("stack=");
  expect(line).not.toContain("0123456789abcdef");
});

test("a log that cannot be written changes no answer and leaves nothing running", async () => {
  await using full = await startTestServer({
    log: createLog({
      least: "debug",
      now: () => "T",
      write: () => {
        throw new Error("ENOSPC: no space left on device, write");
      },
    }),
    reload: () => Promise.reject(new Error("defect")),
  });
  expectShape(await full.ask("POST", "/admin/config/reload"), "internal");
  const { figures } = (await full.ask("GET", "/admin/status")).json;
  // The one that asks.
  expect(figures.http_requests_running).toBe(1);
  expect(figures.http_requests_failed).toBe(1);
});

test("a request that cannot even be refused is internal, and no longer running", async () => {
  const warn = () => {
    throw new Error("defect in the log");
  };
  await using defective = await startTestServer({
    log: { ...silentLog, warn },
    reload: () => Promise.reject(unavailable("the disk is gone")),
  });
  expectShape(await defective.ask("POST", "/admin/config/reload"), "internal");
  const { figures } = (await defective.ask("GET", "/admin/status")).json;
  expect(figures.http_requests_running).toBe(1);
});

test("every row of the table was provoked", () => {
  for (const code of errorCodes) {
    expect([code, provoked.has(`${code} ${statusOf[code].http}`)]).toEqual([code, true]);
  }
  // A body that is too slow would take minutes here: test/contract/rest-slow.test.ts has it.
  for (const [reason, { code, http }] of Object.entries(httpReasons)) {
    const seen = provoked.has(`${code} ${http}`);
    expect([reason, seen]).toEqual([reason, reason !== "request_timeout"]);
  }
});
