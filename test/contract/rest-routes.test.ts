// Every route of the REST surface on a live server, and the rules that hold for all of them.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readDocument } from "../../src/storage/documents.ts";
import { join } from "node:path";
import { routes } from "../../src/api/routes.ts";
import { foreignEventOf } from "../../src/model/imported.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import { append, event as foreign, transaction } from "../support/storage.ts";
import { testConfig } from "../support/store.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
/** `METHOD path` of each route that a test of this file was answered with success by. */
const answered = new Set<string>();

beforeAll(async () => {
  server = await startTestServer({
    reload: async (directory) => testConfig(directory, { page_limit: 500, memory_threshold: 5 }),
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const ask: TestServer["ask"] = async (method, path, options) => {
  const answer = await server.ask(method, path, options);
  const bare = path.split("?")[0] ?? "";
  for (const route of routes) {
    const pattern = new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
    if (route.method === method && pattern.test(bare) && answer.status === route.status)
      answered.add(`${route.method} ${route.path}`);
  }
  return answer;
};

test("health needs no token and says ok", async () => {
  const { status, json, headers } = await ask("GET", "/health", { token: null });
  expect(status).toBe(200);
  expect(json).toEqual({ status: "ok" });
  expect(headers.get("content-type")).toBe("application/json");
});

describe("the examples of the owner's page", () => {
  const event = {
    aggregate_type: "patient",
    aggregate_id: "p-001",
    event_type: "patient-updated",
    payload: { status: "inactive", meta: { source: "api" } },
  };

  test("POST /v1/events answers the record with its actor, hash and root", async () => {
    const { status, json } = await ask("POST", "/v1/events", { body: event });
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual([
      "aggregate_type",
      "aggregate_id",
      "event_type",
      "payload",
      "metadata",
      "version",
      "hash",
      "merkle_root",
      "position",
    ]);
    expect(json).toMatchObject({ ...event, version: 1 });
    expect(json.metadata.issued_by).toEqual({ group: "admin", user: "jane" });
    expect(json.metadata.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(json.metadata.event_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(json.hash).toMatch(/^[0-9a-f]{64}$/);
  });

  test("the second example archives via API and the state shows both", async () => {
    const payload = { status: "inactive", comment: "Archived via API" };
    const second = await ask("POST", "/v1/events", { body: { ...event, payload } });
    expect(second.json.version).toBe(2);
    const { status, json } = await ask("GET", "/v1/aggregates/patient/p-001");
    expect(status).toBe(200);
    expect(json).toEqual({
      aggregate_type: "patient",
      aggregate_id: "p-001",
      version: 2,
      state: { comment: "Archived via API", meta: { source: "api" }, status: "inactive" },
      merkle_root: second.json.merkle_root,
      archived: false,
    });
  });

  test("the first ten events come back in order", async () => {
    const { json } = await ask("GET", "/v1/aggregates/patient/p-001/events?skip=0&take=10");
    expect(json.map((record: { version: number }) => record.version)).toEqual([1, 2]);
  });

  test("the list of aggregates is an array", async () => {
    const { json } = await ask("GET", "/v1/aggregates");
    expect(json.map((each: { aggregate_id: string }) => each.aggregate_id)).toContain("p-001");
  });

  test("verify computes the root that the aggregate shows", async () => {
    const { status, json } = await ask("GET", "/v1/aggregates/patient/p-001/verify");
    const aggregate = await ask("GET", "/v1/aggregates/patient/p-001");
    expect(status).toBe(200);
    expect(json.merkle_root).toBe(aggregate.json.merkle_root);
  });
});

test("events of another node are taken over once", async () => {
  const origin = createMemoryStorage({ sealing: "none" });
  await append(origin, [transaction([foreign({ aggregate_type: "abroad", aggregate_id: "1" })])]);
  const events = (await origin.readLog({ after: 0, limit: 1 }))
    .map(foreignEventOf)
    .map((one) => ({ ...one, payload: JSON.parse(one.payload) }));
  const first = await ask("POST", "/v1/events/import", { body: { events } });
  expect(first).toMatchObject({ status: 200, json: { imported: 1, known: 0 } });
  const again = await ask("POST", "/v1/events/import", { body: { events } });
  expect(again.json).toMatchObject({ imported: 0, known: 1 });
});

test("a batch is appended whole or not at all", async () => {
  const entry = (id: string, over = {}) => ({
    aggregate_type: "batch",
    aggregate_id: id,
    event_type: "added",
    payload: { n: 1 },
    ...over,
  });
  const good = await ask("POST", "/v1/events/batch", {
    body: { events: [entry("a"), entry("b")] },
  });
  expect(good.status).toBe(200);
  expect(
    good.json.map((record: { aggregate_id: string; version: number }) => [
      record.aggregate_id,
      record.version,
    ]),
  ).toEqual([
    ["a", 1],
    ["b", 1],
  ]);
  const bad = await ask("POST", "/v1/events/batch", {
    body: { events: [entry("a"), entry("b", { expected_version: 7 })] },
  });
  expect(bad.status).toBe(409);
  expect(bad.json).toMatchObject({ code: "version_conflict", details: { actual: 1, index: 1 } });
  expect((await ask("GET", "/v1/aggregates/batch/a")).json.version).toBe(1);
});

test("an aggregate without events can be made once", async () => {
  const body = { aggregate_type: "empty", aggregate_id: "e-1" };
  const made = await ask("POST", "/v1/aggregates", { body });
  expect(made.status).toBe(201);
  expect(made.json).toMatchObject({ ...body, version: 0, state: {}, archived: false });
  expect((await ask("POST", "/v1/aggregates", { body })).status).toBe(409);
});

describe("If-Match", () => {
  const body = { aggregate_type: "match", aggregate_id: "m", event_type: "x", payload: 1 };
  const append = (match: string, over: object = {}) =>
    ask("POST", "/v1/events", { body: { ...body, ...over }, headers: { "If-Match": match } });

  test("is the expected version, and the ETag of an aggregate begins with its version", async () => {
    expect((await append("*")).status).toBe(412);
    expect((await append('"0"')).status).toBe(200);
    expect((await append("*")).status).toBe(200);
    const { headers } = await ask("GET", "/v1/aggregates/match/m");
    expect(headers.get("etag")).toMatch(/^"2-/);
    const etag = headers.get("etag") ?? "";
    expect((await append(etag)).json.version).toBe(3);
    const late = await append(etag);
    expect([late.status, late.json.details.actual]).toEqual([412, 3]);
    // The same refusal without the header keeps its usual status.
    const plain = await ask("POST", "/v1/events", { body: { ...body, expected_version: 2 } });
    expect(plain.status).toBe(409);
  });

  test.each(["x", '"1", "2"', 'W/"1"', "-1", "01", "9007199254740992", '"1"x'])(
    "%j is refused",
    async (match) => {
      const { status, json } = await append(match);
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
    },
  );

  test("is refused where it would say nothing, and where it would be misunderstood", async () => {
    const headers = { "If-Match": '"3"' };
    const before = (await ask("GET", "/v1/events?take=1000")).json.length;
    for (const [path, given] of [
      ["/v1/events/batch", { events: [{ ...body, expected_version: 99 }] }],
      ["/v1/events/batch", { events: [body] }],
      ["/v1/aggregates", { aggregate_type: "match", aggregate_id: "new" }],
      ["/admin/tokens", { group: "app", user: "u" }],
      ["/admin/tokens/x/revoke", {}],
    ] as const) {
      const { status, json } = await ask("POST", path, { body: given, headers });
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
      expect(json.details).toEqual({ header: "If-Match" });
      expect(json.message).toContain("expected_version");
    }
    expect((await ask("GET", "/v1/events?take=1000")).json).toHaveLength(before);
    expect((await ask("GET", "/v1/aggregates/match/new")).status).toBe(404);
    // What an event of a batch expects itself is a conflict like any other.
    const events = [{ ...body, expected_version: 99 }];
    const conflict = await ask("POST", "/v1/events/batch", { body: { events } });
    expect([conflict.status, conflict.json.details.reason]).toEqual([409, undefined]);
  });

  test("none yet is what If-None-Match: * expects; nothing else of it can be said", async () => {
    const first = (header: Record<string, string>) =>
      ask("POST", "/v1/events", { body: { ...body, aggregate_id: "first" }, headers: header });
    expect((await first({ "If-None-Match": "*" })).json.version).toBe(1);
    const again = await first({ "If-None-Match": "*" });
    expect([again.status, again.json.details.actual]).toEqual([412, 1]);
    for (const headers of [
      { "If-None-Match": '"1"' },
      { "If-None-Match": "*", "If-Match": '"1"' },
    ]) {
      const { status, json } = await first(headers);
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
    }
    expect((await first({})).json.version).toBe(2);
  });

  test("deleting takes no condition", async () => {
    for (const header of ["If-Match", "If-None-Match"]) {
      const path = "/admin/schemas/none/events/none";
      const { status, json } = await ask("DELETE", path, { headers: { [header]: "*" } });
      expect([status, json.details]).toEqual([400, { header }]);
    }
  });

  test("beside expected_version it is refused, and a bad body keeps its own fault", async () => {
    const both = await append('"3"', { expected_version: 3 });
    expect([both.status, both.json.details.path]).toEqual([400, "/expected_version"]);
    expect((await append('"3"', { aggregate_id: 7 })).json.details.path).toBe("/aggregate_id");
    const list = await ask("POST", "/v1/events", { body: "[]", headers: { "If-Match": "*" } });
    expect(list.json.message).toBe("the input must be an object");
  });
});

test("the log comes in order of position, from after the one that was asked for", async () => {
  const all = await ask("GET", "/v1/events");
  const positions = all.json.map((record: { position: number }) => record.position);
  expect(positions).toEqual(positions.map((_: number, index: number) => index + 1));
  const rest = await ask("GET", "/v1/events?after=2&take=1");
  expect(rest.json.map((record: { position: number }) => record.position)).toEqual([3]);
});

test("a token is issued, listed without its value, refreshed and revoked", async () => {
  const body = { group: "app", user: "bob", limit: 3, expiration_secs: 60 };
  const issued = await ask("POST", "/admin/tokens", { body });
  expect(issued.status).toBe(201);
  expect(issued.headers.get("cache-control")).toBe("no-store");
  const { token, id } = issued.json;
  const listed = await ask("GET", "/admin/tokens");
  expect(listed.json.some((each: { id: string }) => each.id === id)).toBe(true);
  expect(listed.text).not.toContain(token);
  const path = `/admin/tokens/${id}`;
  const refreshed = await ask("POST", `${path}/refresh`, { body: { limit: 9 } });
  expect(refreshed.json).toMatchObject({ id, limit: 9, remaining_writes: 9 });
  const revoked = await ask("POST", `${path}/revoke`);
  expect([revoked.status, revoked.text]).toEqual([204, ""]);
  const refused = await ask("GET", "/v1/aggregates", { token });
  expect([refused.status, refused.json.message]).toEqual([401, "token not found or inactive"]);
  const file = await readDocument(join(server.directory, "tokens.json"));
  expect(file).not.toContain(token);
});

test("verifying everything answers what was recomputed", async () => {
  const { status, json } = await ask("GET", "/admin/verify");
  const log = await ask("GET", "/v1/events");
  expect(status).toBe(200);
  expect(json.position).toBe(log.json.length);
  expect(json.log_root).toMatch(/^[0-9a-f]{64}$/);
});

test("status counts requests and what was refused", async () => {
  const before = (await ask("GET", "/admin/status")).json.figures;
  await ask("GET", "/nowhere");
  const after = (await ask("GET", "/admin/status")).json.figures;
  expect(after.http_requests - before.http_requests).toBe(2);
  expect(after.http_requests_refused - before.http_requests_refused).toBe(1);
  expect(after.http_requests_running).toBe(1);
  expect(after.http_body_bytes).toBe(0);
});

test("a reload says what holds at once and what needs a restart", async () => {
  const { status, json } = await ask("POST", "/admin/config/reload");
  expect(status).toBe(200);
  expect(json).toEqual({ applied: ["page_limit"], restart: ["memory_threshold"] });
});

test("schemas are declared, changed, tried and shown", async () => {
  const body = { aggregate: "schema", events: ["made", "gone"] };
  const made = await ask("POST", "/admin/schemas", { body });
  expect([made.status, made.json.aggregate]).toEqual([201, "schema"]);
  const changed = await ask("PATCH", "/admin/schemas/schema", { body: { locked: true } });
  expect([changed.status, changed.json.locked]).toEqual([200, true]);
  const left = await ask("DELETE", "/admin/schemas/schema/events/gone");
  expect([left.status, Object.keys(left.json.events)]).toEqual([200, ["made"]]);
  await ask("PATCH", "/admin/schemas/schema", { body: { locked: false } });
  const tried = await ask("POST", "/admin/schemas/schema/validate", {
    body: { event: "made", payload: {} },
  });
  expect(tried.json).toEqual({ aggregate: "schema", event: "made", validation: "ok" });
  const shown = await ask("GET", "/admin/schemas/schema");
  expect((await ask("GET", "/admin/schemas")).json).toEqual([shown.json]);
});

test("plugins are made, tried, replayed to and removed; their queue is shown", async () => {
  const at = "/admin/plugins/audit";
  const config = { type: "log", level: "info", template: null };
  expect((await server.ask("PUT", at, { body: { config } })).status).toBe(201);
  const again = await ask("PUT", at, { body: { name: "audit", enabled: true, config } });
  expect([again.status, again.json.created, again.json.enabled]).toEqual([200, false, true]);
  expect((await ask("PUT", at, { body: { name: "other", config } })).status).toBe(400);
  expect((await ask("GET", "/admin/plugins")).json).toMatchObject([{ name: "audit", config }]);
  const tested = await ask("POST", "/admin/plugins/test");
  expect(tested.json).toEqual([{ name: "audit", type: "log", ok: true, error: null }]);
  await server.append("plugged", "p-1");
  const replayed = await ask("POST", `${at}/replay`, { body: { aggregate_type: "plugged" } });
  expect(replayed.json).toMatchObject({ delivered: 1, aggregates: 1, next: null, error: null });
  expect((await ask("GET", "/admin/queue")).json).toMatchObject({ pending: 0, deliveries: [] });
  expect((await ask("POST", "/admin/queue/clear")).json).toEqual({ cleared: 0 });
  expect((await ask("POST", "/admin/queue/retry")).json).toMatchObject({ succeeded: 0 });
  expect((await ask("DELETE", at)).status).toBe(409);
  expect((await ask("POST", `${at}/enable`)).json.enabled).toBe(true);
  expect((await ask("POST", `${at}/disable`)).json.state).toBe("disabled");
  expect([(await ask("DELETE", at)).status, (await ask("DELETE", at)).status]).toEqual([204, 404]);
});

test("aggregates are kept, archived, restored, removed and exported, and the trail says so", async () => {
  const at = "/v1/aggregates/life/l-1";
  const event = { aggregate_type: "life", aggregate_id: "l-1", event_type: "made", payload: {} };
  await ask("POST", "/v1/events", { body: event });
  const kept = await ask("POST", `${at}/snapshots`, { body: { comment: "kept" } });
  expect([kept.status, kept.json.version, kept.json.comment]).toEqual([201, 1, "kept"]);
  // Nothing can be read again by the tag of a snapshot.
  expect(kept.headers.get("etag")).toBeNull();
  const archived = await ask("POST", `${at}/archive`, { body: { comment: "done" } });
  expect([archived.status, archived.json.archived]).toEqual([200, true]);
  expect((await ask("POST", "/v1/events", { body: event })).json.code).toBe("aggregate_archived");
  const restored = await ask("POST", `${at}/restore`);
  expect([restored.status, restored.json.archived]).toEqual([200, false]);
  expect((await ask("POST", `${at}/remove`)).status).toBe(409);
  const empty = { aggregate_type: "life", aggregate_id: "l-2" };
  await ask("POST", "/v1/aggregates", { body: empty });
  expect((await ask("POST", "/v1/aggregates/life/l-2/remove")).json).toEqual(empty);
  const exported = await ask("GET", "/v1/export?type=life");
  expect(exported.json.map((each: { aggregate_id: string }) => each.aggregate_id)).toEqual(["l-1"]);
  const trail = (await ask("GET", "/admin/audit")).json;
  expect(trail.slice(-5).map(({ action }: { action: string }) => action)).toEqual([
    ...["snapshot", "archive", "restore", "create", "remove"],
  ]);
  expect(trail.at(-4)).toMatchObject({ comment: "done", issued_by: { group: "admin" } });
});

test("events are staged, listed, taken out and committed", async () => {
  const body = {
    aggregate_type: "stage",
    aggregate_id: "1",
    event_type: "made",
    payload: { n: 1 },
  };
  const staged = await ask("POST", "/v1/staged", { body });
  expect(staged.status).toBe(201);
  await ask("POST", "/v1/staged", { body });
  const { event_id } = staged.json;
  const discarded = await ask("POST", "/v1/staged/discard", { body: { event_id } });
  expect(discarded.json).toEqual([staged.json]);
  const rest = (await ask("GET", "/v1/staged")).json;
  const committed = (await ask("POST", "/v1/staged/commit")).json;
  expect(committed).toMatchObject([{ version: 1, metadata: { event_id: rest[0].event_id } }]);
  expect((await ask("GET", "/v1/staged")).json).toEqual([]);
});

test("an encrypted store erases, and the machine's own command line rotates its key", async () => {
  const data_encryption_key = Buffer.alloc(32, 1).toString("base64");
  await using sealed = await startTestServer({ config: { data_encryption_key } });
  const plain = server;
  server = sealed;
  await sealed.append("person", "p-1", '{"name":"Jane"}');
  const erased = await ask("POST", "/v1/aggregates/person/p-1/erase", { body: { reason: "x" } });
  expect(erased.json).toMatchObject({ event_type: "$erased", payload: { through: 1 } });
  const body = { data_encryption_key: Buffer.alloc(32, 2).toString("base64") };
  expect((await ask("POST", "/admin/key/rotate", { body })).status).toBe(403);
  const { token } = sealed.store.openSession("jane");
  expect((await ask("POST", "/admin/key/rotate", { body, token })).json).toEqual({ keys: 2 });
  server = plain;
});

test("every route was answered with success by a test above", () => {
  // Those about nodes are in test/replication: nodes-http and remote-admin.
  const missing = routes
    .filter(({ path }) => !/^\/admin\/(nodes|remotes|schemas\/apply)/.test(path))
    .map(({ method, path }) => `${method} ${path}`)
    .filter((route) => !answered.has(route));
  expect(missing).toEqual([]);
});
