// What a node tells of itself, over HTTP as an administrator asks for it.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const ask = async (path: string, body: object) => {
  const { status, json } = await server.ask("POST", path, { body });
  expect([path, status]).toEqual([path, 200]);
  return json;
};

const at = { aggregate_type: "node", aggregate_id: "n-1" };

test("positions, roots and events of an aggregate are those that were appended", async () => {
  const { json } = await server.append(at.aggregate_type, at.aggregate_id, '{"n":1}');
  expect(await ask("/admin/nodes/positions", { take: 10 })).toEqual([
    { ...at, version: 1, merkle_root: json.merkle_root, archived: false, erased: 0 },
  ]);
  const of = [0, 1, 2].map((version) => ({ ...at, version }));
  const roots = await ask("/admin/nodes/roots", { of });
  expect(roots.slice(1)).toEqual([json.merkle_root, null]);
  expect(await ask("/admin/nodes/events", { ...at, after: 0, take: 10 })).toMatchObject([
    { ...at, version: 1, payload: { n: 1 }, hash: json.hash },
  ]);
});

test("schemas are put in place and removed together", async () => {
  await server.ask("POST", "/admin/schemas", { body: { aggregate: "old", events: ["made"] } });
  const { json } = await server.ask("GET", "/admin/schemas");
  const body = { schemas: [{ ...json[0], aggregate: "new" }], remove: ["old"] };
  expect(await ask("/admin/schemas/apply", body)).toEqual({ schemas: 1 });
  const after = await server.ask("GET", "/admin/schemas");
  expect(after.json).toMatchObject([{ aggregate: "new" }]);
});
