// Pages of lists over REST: how they are cut, continued and bounded, and which queries are refused.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let ask: TestServer["ask"];

beforeAll(async () => {
  server = await startTestServer();
  ask = server.ask;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("pages", () => {
  beforeAll(async () => {
    for (const id of ["c", "a", "b", "e", "d"]) await server.append("page", id);
    for (let n = 0; n < 4; n++) await server.append("page", "a");
  });
  const ids = (json: { aggregate_type: string; aggregate_id: string }[]) =>
    json.filter((each) => each.aggregate_type === "page").map((each) => each.aggregate_id);

  test("aggregates come by type, then id, and cursors walk them all", async () => {
    const seen: string[] = [];
    let cursor: string | null = "";
    for (let pages = 0; cursor !== null && pages < 50; pages++) {
      const from: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const page = await ask("GET", `/v1/aggregates?take=2${from}`);
      expect(page.json.length).toBeLessThanOrEqual(2);
      seen.push(...ids(page.json));
      cursor = page.headers.get("x-next-cursor");
    }
    expect(cursor).toBeNull();
    expect(seen).toEqual(["a", "b", "c", "d", "e"]);
  });

  test("take=0 is an empty page, a page past the end too", async () => {
    for (const path of [
      "/v1/aggregates?take=0",
      "/v1/aggregates?skip=1000",
      "/v1/aggregates/page/a/events?take=0",
      "/v1/aggregates/page/a/events?skip=9007199254740991",
      "/v1/events?take=0",
      "/v1/events?after=9007199254740991",
    ]) {
      const { status, text } = await ask("GET", path);
      expect([path, status, text]).toEqual([path, 200, "[]"]);
    }
  });

  test("take above the cap is the cap, missing it is the usual", async () => {
    await using small = await startTestServer({ config: { page_limit: 3, list_page_size: 2 } });
    for (let n = 0; n < 5; n++) await small.append("t", `id-${n}`);
    for (let n = 0; n < 4; n++) await small.append("t", "id-0");
    const length = async (path: string) => (await small.ask("GET", path)).json.length;
    expect(await length("/v1/aggregates")).toBe(2);
    expect(await length("/v1/aggregates?take=9007199254740991")).toBe(3);
    expect(await length("/v1/aggregates/t/id-0/events")).toBe(3);
    expect(await length("/v1/aggregates/t/id-0/events?take=4")).toBe(3);
    expect(await length("/v1/events")).toBe(3);
    expect(await length("/v1/events?after=3&take=4")).toBe(3);
  });

  test("skip passes over the first ones", async () => {
    const { json } = await ask("GET", "/v1/aggregates/page/a/events?skip=3&take=1");
    expect(json.map((record: { version: number }) => record.version)).toEqual([4]);
  });

  test.each([
    ["take=-1", "take"],
    ["take=1.5", "take"],
    ["take=abc", "take"],
    ["take=", "take"],
    ["take", "take"],
    ["take=9007199254740992", "take"],
    ["take=1e3", "take"],
    ["take=%2B1", "take"],
    ["take=01", "take"],
    ["skip=-0", "skip"],
    ["skip=0x10", "skip"],
    ["take=1&take=2", "take"],
    ["take=1&ta%6be=1", "take"],
    ["tkae=1", "tkae"],
    ["cursor=nonsense", "cursor"],
    ["cursor=", "cursor"],
    ["__proto__=1", "__proto__"],
  ])("?%s is refused and %s named", async (query, name) => {
    const { status, json } = await ask("GET", `/v1/aggregates?${query}`);
    expect([status, json.code]).toEqual([400, "invalid_argument"]);
    expect(json.message).toContain(name);
  });

  test("broken encoding in a query is refused", async () => {
    for (const query of ["take=%zz", "%ff=1", "take=%"]) {
      const { status, json } = await ask("GET", `/v1/aggregates?${query}`);
      expect([status, json.code]).toEqual([400, "invalid_argument"]);
    }
  });

  test("a POST takes no query", async () => {
    const { status, json } = await ask("POST", "/v1/events?take=1", { body: {} });
    expect([status, json.code]).toEqual([400, "invalid_argument"]);
    expect(json.message).toContain("take");
  });
});
