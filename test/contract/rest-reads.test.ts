// Reading over HTTP: which version, which instant, which aggregates; and what is answered to a
// question that is none.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { startTestServer, type Ask, type TestServer } from "../support/server.ts";

let server: TestServer;
/** `created_at` of the first event of person/p-1. */
let first = "";

const get = (path: string, options: Ask = {}) => server.ask("GET", path, options);
const query = (parts: Record<string, string>) => `?${new URLSearchParams(parts).toString()}`;
const idsOf = ({ json }: { json: { aggregate_id: string }[] }) =>
  json.map(({ aggregate_id }) => aggregate_id);

beforeAll(async () => {
  server = await startTestServer();
  const born = await server.append("person", "p-1", '{"name":"Jane","age":41}');
  first = born.json.metadata.created_at;
  await server.append("person", "p-1", '{"age":42,"tags":["x"]}');
  await server.append("person", "p-2", '{"name":"Joe","age":9007199254740993}');
  await server.append("order", "o-1", '{"name":"Jane","total":{"net":1.50}}');
  await server.append("order", "o-2", '{"ssn":"123-45"}');
  await server.append("secret", "s-1", '{"name":"Jane"}');
  await server.ask("POST", "/v1/aggregates/order/o-2/archive", { body: {} });
  for (const [aggregate, change] of [
    ["secret", { hidden: true }],
    ["order", { hidden_field: { field: "ssn", hidden: true } }],
  ] as const) {
    const ask = { control: true, body: { aggregate, events: ["noted"] } };
    expect((await server.ask("POST", "/admin/schemas", ask)).status).toBe(201);
    const changed = { control: true, body: change };
    expect((await server.ask("PATCH", `/admin/schemas/${aggregate}`, changed)).status).toBe(200);
  }
});
afterAll(() => server[Symbol.asyncDispose]());

describe("one aggregate", () => {
  test("at a version, with that version in its ETag", async () => {
    const then = await get("/v1/aggregates/person/p-1?version=1");
    expect(then.status).toBe(200);
    expect(then.json).toMatchObject({ version: 1, state: { name: "Jane", age: "41" } });
    expect(then.headers.get("etag")).toMatch(/^"1-/);
    const none = await get("/v1/aggregates/person/p-1?version=0");
    expect(none.json).toMatchObject({ version: 0, state: {} });
    const now = await get("/v1/aggregates/person/p-1");
    expect((await get("/v1/aggregates/person/p-1?version=2")).text).toBe(now.text);
  });

  test("at an instant, in any zone", async () => {
    const at = (instant: string) => get(`/v1/aggregates/person/p-1${query({ at: instant })}`);
    expect((await at(first)).json).toMatchObject({ version: 1, state: { age: "41" } });
    const shifted = new Date(Date.parse(first) + 3_600_000).toISOString().slice(0, 19);
    const zoned = `${shifted}${first.slice(19, -1)}+01:00`;
    expect((await at(zoned)).json).toMatchObject({ version: 1 });
    expect((await at("9999-12-31T23:59:59Z")).json).toMatchObject({ version: 2 });
  });

  const refusals: readonly [string, number, string, string][] = [
    ["?version=3", 404, "not_found", "person/p-1 has no version 3; it is at version 2"],
    ["?version=-1", 400, "invalid_argument", "version must be an integer of at least 0"],
    ["?version=one", 400, "invalid_argument", "version must be an integer of at least 0"],
    ["?at=2024-02-30T00:00:00Z", 400, "invalid_argument", "at must be an instant"],
    ["?at=2024-02-28T00:00:00+01:00", 400, "invalid_argument", "+ is written %2B"],
    ["?at=2024-02-28T00:00:00Z&version=1", 400, "invalid_argument", "at and version"],
    ["?at=1970-01-01T00:00:00Z", 404, "not_found", "aggregate not found"],
    ["?filter=a=1", 400, "invalid_argument", "unknown member filter"],
  ];
  test.each(refusals)("%s is refused with %i", async (asked, status, code, words) => {
    const refused = await get(`/v1/aggregates/person/p-1${asked}`);
    expect(refused.status).toBe(status);
    expect(refused.json.code).toBe(code);
    expect(refused.json.message).toContain(words);
  });
});

describe("a list", () => {
  const lists: readonly [Record<string, string>, string[]][] = [
    [{}, ["o-1", "o-2", "p-1", "p-2"]],
    [{ type: "person" }, ["p-1", "p-2"]],
    [{ type: "nobody" }, []],
    [{ type: "secret" }, []],
    [{ archived: "true" }, ["o-2"]],
    [{ archived: "false" }, ["o-1", "p-1", "p-2"]],
    [{ filter: 'name = "Jane"' }, ["o-1", "p-1"]],
    [{ filter: 'name = "Jane" AND NOT tags CONTAINS "x"' }, ["o-1"]],
    [{ filter: "total.net >= 1.5" }, ["o-1"]],
    [{ filter: "age = 9007199254740993" }, ["p-2"]],
    [{ filter: "age = 9007199254740992" }, []],
    [{ filter: "EXISTS ssn" }, []],
    [{ filter: "name IN ('Jane')", type: "person", archived: "false" }, ["p-1"]],
    [{ at: "1970-01-01T00:00:00Z" }, []],
    [{ filter: "name = 'Jane'", include_hidden: "true" }, ["o-1", "p-1", "s-1"]],
    [{ filter: "EXISTS ssn", include_hidden: "true" }, ["o-2"]],
  ];
  test.each(lists)("%j", async (parts, ids) => {
    const answer = await get(`/v1/aggregates${query(parts)}`);
    expect(answer.status).toBe(200);
    expect(idsOf(answer)).toEqual(ids);
    expect(answer.headers.get("x-next-cursor")).toBeNull();
  });

  test("at an instant is the database as it was then", async () => {
    const then = await get(`/v1/aggregates${query({ at: first })}`);
    expect(then.json).toMatchObject([{ aggregate_id: "p-1", version: 1, state: { age: "41" } }]);
    const asked = query({ at: first, filter: "age = 42" });
    expect((await get(`/v1/aggregates${asked}`)).json).toEqual([]);
  });

  test("a filter that is none says where", async () => {
    const refused = await get(`/v1/aggregates${query({ filter: "name == 'Jane'" })}`);
    expect(refused.status).toBe(400);
    expect(refused.json).toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/^filter at character 7: expected .*, found "= 'Jane'"$/),
      details: { path: "/filter", offset: 6 },
    });
    expect((await get("/v1/aggregates?filter=")).json.message).toBe("filter must not be empty");
    const most = limits.filter_chars_max;
    const long = await get(`/v1/aggregates${query({ filter: " ".repeat(most + 1) })}`);
    expect(long.status).toBe(400);
    expect(long.json.message).toBe(
      `filter must have at most ${most} characters, but has ${most + 1}`,
    );
  });

  test("goes on by its cursor, filter and all, while aggregates are added", async () => {
    for (let n = 0; n < 25; n++) await server.append("walk", `w-${n + 10}`, `{"even":${n % 2}}`);
    const seen: string[] = [];
    let added = 0;
    for (let cursor: string | null = ""; cursor !== null;) {
      const parts = { type: "walk", filter: "even = 0", take: "3" };
      const page = await get(
        `/v1/aggregates${query({ ...parts, ...(cursor === "" ? {} : { cursor }) })}`,
      );
      seen.push(...idsOf(page));
      cursor = page.headers.get("x-next-cursor");
      if (cursor !== null) expect(page.json).toHaveLength(3);
      // Before every place that the walk has reached, so none of these is seen.
      await server.append("walk", `a-${added++}`, '{"even":0}');
    }
    expect(seen).toEqual(Array.from({ length: 13 }, (_, n) => `w-${n * 2 + 10}`));
  });
});

describe("what is hidden", () => {
  test("is not found, and its events are in no log", async () => {
    for (const path of ["", "/events", "/verify", "?version=1"]) {
      const answer = await get(`/v1/aggregates/secret/s-1${path}`);
      expect(answer.status).toBe(404);
      expect(answer.json.message).toBe("aggregate not found");
    }
    expect((await get("/v1/events")).text).not.toContain('"secret"');
    expect((await get("/v1/events")).text).not.toContain("123-45");
    expect((await get("/v1/aggregates/order/o-2/events")).json).toMatchObject([{ payload: {} }]);
  });

  test("is shown to an admin who asks, and to nobody else", async () => {
    const control = true;
    const issued = await server.ask("POST", "/admin/tokens", {
      ...{ control, body: { group: "app", user: "joe" } },
    });
    const { token } = issued.json;
    for (const path of [
      ...["/v1/aggregates?", "/v1/events?", "/v1/aggregates/secret/s-1?"],
      ...["/v1/aggregates/secret/s-1/events?", "/v1/aggregates/secret/s-1/verify?"],
    ]) {
      const asked = `${path}include_hidden=true`;
      expect((await get(asked)).status).toBe(200);
      const refused = await get(asked, { token });
      expect({ asked, status: refused.status }).toEqual({ asked, status: 403 });
      expect((await get(`${path}include_hidden=yes`)).status).toBe(400);
    }
    expect((await get("/v1/export")).text).toContain("123-45");
    const exported = await get("/v1/export", { token });
    expect(exported.status).toBe(200);
    expect(exported.text).not.toContain("123-45");
    expect(exported.text).not.toContain('"secret"');
  });
});
