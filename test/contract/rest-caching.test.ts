// What a cache may keep and how it asks again: tags of aggregates, `If-None-Match`, `If-Match` with
// a whole tag, and which answers say that nobody may keep them.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startTestServer, type Ask, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  await server.append("person", "p-1", '{"name":"Jane","ssn":"123-45"}');
  await server.append("person", "p-1", '{"age":42}');
});
afterAll(() => server[Symbol.asyncDispose]());

const path = "/v1/aggregates/person/p-1";
const get = (at: string, ask: Ask = {}) => server.ask("GET", at, ask);
const tagAt = async (at: string): Promise<string> => (await get(at)).headers.get("etag") ?? "none";
const knowing = (tag: string): Ask => ({ headers: { "If-None-Match": tag } });

describe("who has an aggregate already", () => {
  test("is told so without a body, with the headers that keep it fresh", async () => {
    const fresh = await get(path);
    const tag = fresh.headers.get("etag") ?? "none";
    expect(tag).toMatch(/^"2-[\w-]{22}"$/);
    for (const header of [tag, `W/${tag}`, `"x", ${tag}`, "*"]) {
      const { status, text, headers } = await get(path, knowing(header));
      expect([header, status, text]).toEqual([header, 304, ""]);
      expect(headers.get("etag")).toBe(tag);
      expect(headers.get("cache-control")).toBe("private, no-cache");
      expect(headers.has("content-type")).toBe(false);
      expect(headers.has("x-request-id")).toBe(true);
    }
    const other = await get(path, knowing('"1", "2", x'));
    expect([other.status, other.text]).toEqual([200, fresh.text]);
  });

  test("is answered alike by HEAD", async () => {
    const tag = await tagAt(path);
    const head = await server.ask("HEAD", path);
    expect([head.status, head.text, head.headers.get("etag")]).toEqual([200, "", tag]);
    expect((await server.ask("HEAD", path, knowing(tag))).status).toBe(304);
  });

  test("still needs a token, the right path and right parameters", async () => {
    const any = knowing("*");
    expect((await get(path, { ...any, token: null })).status).toBe(401);
    expect((await get("/v1/aggregates/person/none", any)).status).toBe(404);
    expect((await get(`${path}?version=9`, any)).status).toBe(404);
    expect((await get(`${path}?x=1`, any)).status).toBe(400);
  });
});

describe("the tag changes with whatever the answer shows:", () => {
  test("the state at another version has its own, the same state the same", async () => {
    const now = await tagAt(path);
    expect(await tagAt(`${path}?version=2`)).toBe(now);
    const before = await tagAt(`${path}?version=1`);
    expect(before).toMatch(/^"1-/);
    expect((await get(`${path}?version=1`, knowing(now))).status).toBe(200);
    expect((await get(`${path}?version=1`, knowing(before))).status).toBe(304);
  });

  test("an event, archiving, and a field that is hidden from now on", async () => {
    const seen = new Set([await tagAt(path)]);
    const changed = async () => {
      const before = [...seen].join(", ");
      expect((await get(path, knowing(before))).status).toBe(200);
      seen.add(await tagAt(path));
    };
    await server.append("person", "p-1", '{"age":43}');
    await changed();
    await server.ask("POST", `${path}/archive`);
    await changed();
    const open = await tagAt(`${path}?include_hidden=true`);
    await server.ask("POST", "/admin/schemas", {
      body: { aggregate: "person", events: ["noted"] },
    });
    await server.ask("PATCH", "/admin/schemas/person", {
      body: { hidden_field: { field: "ssn", hidden: true } },
    });
    await changed();
    expect((await get(path)).text).not.toContain("123-45");
    expect(seen.size).toBe(4);
    // Whoever may see everything sees what was seen before.
    expect(await tagAt(`${path}?include_hidden=true`)).toBe(open);
    await server.ask("POST", `${path}/restore`);
  });
});

test("a tag is an expected version, whatever has changed but the events", async () => {
  const event = { aggregate_type: "person", aggregate_id: "p-1", event_type: "noted", payload: {} };
  const append = (tag: string) =>
    server.ask("POST", "/v1/events", { body: event, headers: { "If-Match": tag } });
  const tag = await tagAt(path);
  await server.ask("POST", `${path}/archive`);
  await server.ask("POST", `${path}/restore`);
  const { version } = (await append(tag)).json;
  expect(version).toBe(4);
  const late = await append(tag);
  expect([late.status, late.json.code]).toEqual([412, "version_conflict"]);
  expect((await append(`"${version}"`)).json.version).toBe(5);
  // Tags that dbx never gave, and weak ones, which RFC 9110 keeps out of If-Match.
  for (const foreign of ['"5-short"', '"abc"', `W/${await tagAt(path)}`, `${tag}, "5"`]) {
    expect([foreign, (await append(foreign)).status]).toEqual([foreign, 400]);
  }
  expect((await get(path)).json.version).toBe(5);
});

test("lists and the log have no tag, and what the administration shows is kept by nobody", async () => {
  for (const at of ["/v1/aggregates", "/v1/events", `${path}/events`]) {
    const { headers } = await get(at, knowing("*"));
    expect([headers.has("etag"), headers.has("cache-control")]).toEqual([false, false]);
  }
  for (const at of ["/admin/tokens", "/admin/schemas", "/admin/status"]) {
    expect((await get(at)).headers.get("cache-control")).toBe("no-store");
  }
});
