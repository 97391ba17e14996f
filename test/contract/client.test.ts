// The HTTP client is Dbx like the engine: same answers, same errors, same exact numbers. A real
// server on free ports; strangers on the port are real listeners too.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createClient, type Client } from "../../src/client/http.ts";
import { buySession } from "../../src/client/machine.ts";
import { operations } from "../../src/api/operations.ts";
import { grants, type Actor } from "../../src/model/actor.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let client: Client;
const nobody: Actor = { group: "x", user: "x", grants: [], scope: null, token_id: null };
const admin: Actor = { group: "admin", user: "test", grants, scope: null, token_id: null };
const clientFor = (token: string, port = server.control_port) =>
  createClient({ host: "127.0.0.1", port, token, idle_ms_max: 5_000 });

beforeAll(async () => {
  server = await startTestServer();
  client = clientFor(server.token);
});
afterAll(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
});

const event = (id: string, payload: string) => ({
  aggregate_type: "pa/tient ?#%",
  aggregate_id: id,
  event_type: "made",
  payload: canonicalize(payload),
});
const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof DbxError ? error.code : String(error)),
  );

const numbers =
  '{"a":18446744073709551617,"b":[0.10000000000000000000000000001,1e400],"__proto__":{"x":-0.5}}';

describe("answers", () => {
  test("are those of the engine, for every query", async () => {
    const { dbx } = client;
    const engine = server.store.dbx;
    const key = { aggregate_type: "pa/tient ?#%", aggregate_id: "ä/1" };
    const record = await dbx.appendEvent(nobody, event("ä/1", numbers));
    expect(record.payload).toBe(canonicalize(numbers));
    await dbx.appendEvents(nobody, {
      events: [event("b", "1"), event("ä/1", '{"c":"\\u0000\\n"}')],
    });
    expect(await dbx.createAggregate(nobody, { ...key, aggregate_id: "empty" })).toMatchObject({
      version: 0,
      state: "{}",
    });
    expect(await dbx.health(nobody, {})).toEqual({ status: "ok" });
    expect(await dbx.getAggregate(nobody, key)).toEqual(await engine.getAggregate(admin, key));
    expect(await dbx.listEvents(nobody, key)).toEqual(await engine.listEvents(admin, key));
    const page = { ...key, skip: 1, take: 1 };
    expect(await dbx.listEvents(nobody, page)).toEqual(await engine.listEvents(admin, page));
    expect(await dbx.readLog(nobody, { after: 1, take: 9 })).toEqual(
      await engine.readLog(admin, { after: 1, take: 9 }),
    );
    const verified = await dbx.verifyAggregate(nobody, key);
    expect(verified).toEqual(await engine.verifyAggregate(admin, key));
    expect(await dbx.verifyLog(nobody, {})).toEqual(await engine.verifyLog(admin, {}));
    const { version, position, aggregates } = await dbx.serverStatus(nobody, {});
    expect({ position, aggregates }).toEqual({ position: 3, aggregates: 3 });
    expect(version).toBeString();
  });

  test("an id may look like a path", async () => {
    for (const id of [".", "..", "../..", "a//b", "%2F", "a?b#c"]) {
      await client.dbx.appendEvent(nobody, { ...event(id, "{}"), aggregate_type: "odd" });
      const key = { aggregate_type: "odd", aggregate_id: id };
      expect(await client.dbx.getAggregate(nobody, key)).toMatchObject({ ...key, version: 1 });
      expect(await client.dbx.listEvents(nobody, key)).toHaveLength(1);
    }
  });

  test("lists carry their cursor, and null at the end", async () => {
    const first = await client.dbx.listAggregates(nobody, { take: 2 });
    expect(first).toEqual(await server.store.dbx.listAggregates(admin, { take: 2 }));
    const cursor = first.next_cursor ?? "";
    const rest = await client.dbx.listAggregates(nobody, { cursor, take: 100 });
    const counts = [first.aggregates.length, rest.aggregates.length];
    expect([...counts, rest.next_cursor]).toEqual([2, 7, null]);
  });

  test("the deepest payload there may be comes back in every answer", async () => {
    const { dbx } = client;
    const { json_depth_max: levels } = limits;
    const list = "[".repeat(levels) + "]".repeat(levels);
    const deep = { ...event("d", list), aggregate_type: "deep" };
    const key = { aggregate_type: "deep", aggregate_id: "d" };
    const record = await dbx.appendEvent(nobody, deep);
    expect(record.payload).toBe(deep.payload);
    const [second] = await dbx.appendEvents(nobody, { events: [deep] });
    expect(await dbx.listEvents(nobody, key)).toMatchObject([record, { ...second }]);
    expect(await dbx.readLog(nobody, { after: record.position - 1 })).toHaveLength(2);
    // The state has it as a member, one level further down.
    expect(String((await dbx.getAggregate(nobody, key)).state)).toBe(`{"_value":${list}}`);
    expect((await dbx.listAggregates(nobody, {})).aggregates).toContainEqual(
      await server.store.dbx.getAggregate(admin, key),
    );
  });

  test("tokens live their life", async () => {
    const { dbx } = client;
    const issued = await dbx.issueToken(nobody, { group: "app", user: "u", limit: 1 });
    const { token: value, ...shown } = issued;
    const listed = (await dbx.listTokens(nobody, {})).find(({ id }) => id === issued.id);
    expect(listed).toEqual(shown);
    const own = clientFor(value);
    await own.dbx.appendEvent(nobody, event("t", "{}"));
    expect(await codeOf(own.dbx.appendEvent(nobody, event("t", "{}")))).toBe("permission_denied");
    expect(await codeOf(own.dbx.listTokens(nobody, {}))).toBe("permission_denied");
    const refreshed = await dbx.refreshToken(nobody, { token: issued.id, limit: 5 });
    expect(refreshed).toMatchObject({ remaining_writes: 5 });
    await own.dbx.appendEvent(nobody, event("t", "{}"));
    expect(await dbx.revokeToken(nobody, { token: value })).toBeNull();
    expect(await codeOf(own.dbx.health(nobody, {}))).toBe("none");
    expect(await codeOf(own.dbx.listEvents(nobody, keyOf("t")))).toBe("unauthenticated");
    own.close();
  });

  test("every operation of the table can be asked", () => {
    expect(Object.keys(client.dbx).sort()).toEqual(Object.keys(operations).sort());
  });
});

const keyOf = (aggregate_id: string) => ({ aggregate_type: "pa/tient ?#%", aggregate_id });

describe("errors", () => {
  test("are the engine's own, with message and details", async () => {
    const wanted = { ...event("e", "{}"), expected_version: 7 };
    const here = await server.store.dbx.appendEvent(admin, wanted).catch((error: unknown) => error);
    const there = await client.dbx.appendEvent(nobody, wanted).catch((error: unknown) => error);
    if (!(here instanceof DbxError) || !(there instanceof DbxError)) throw new Error("no conflict");
    expect(there.code).toBe("version_conflict");
    expect({ ...there, message: there.message }).toEqual({ ...here, message: here.message });
    expect(await codeOf(client.dbx.getAggregate(nobody, keyOf("none")))).toBe("not_found");
    expect(await codeOf(clientFor("EVT-no").dbx.listTokens(nobody, {}))).toBe("unauthenticated");
  });

  test("nobody there, somebody else there, and silence are all unavailable", async () => {
    const dead = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = dead;
    const silent = createClient({ host: "127.0.0.1", port, token: "t", idle_ms_max: 100 });
    expect(await codeOf(silent.dbx.health(nobody, {}))).toBe("unavailable");
    silent.close();
    dead.stop(true);
    expect(await codeOf(clientFor("t", port).dbx.health(nobody, {}))).toBe("unavailable");
    using other = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response("<h1>hello</h1>", { status: 502 }),
    });
    const stranger = await clientFor("t", other.port)
      .dbx.health(nobody, {})
      .catch((error: unknown) => error);
    expect(stranger).toMatchObject({ code: "unavailable", details: { status: 502 } });
  });
});

describe("a machine session", () => {
  const buy = (over: { port?: number; machineKey?: Uint8Array; nonce?: Uint8Array }) =>
    buySession({
      host: "127.0.0.1",
      port: over.port ?? server.control_port,
      machineKey: over.machineKey ?? server.store.machineKey ?? new Uint8Array(32),
      user: "jürgen",
      nonce: over.nonce ?? crypto.getRandomValues(new Uint8Array(32)),
      idle_ms_max: 2_000,
    });

  test("acts as cli with every grant", async () => {
    const session = clientFor((await buy({})) ?? "none");
    const record = await session.dbx.appendEvent(nobody, event("s", "{}"));
    expect(record.metadata.issued_by).toEqual({ group: "cli", user: "cli:jürgen" });
    expect(await session.dbx.listTokens(nobody, {})).toBeArray();
    session.close();
  });

  test("is for those who know the secret, once per nonce, and on the control port only", async () => {
    expect(await codeOf(buy({ machineKey: new Uint8Array(32) }))).toBe("unauthenticated");
    const nonce = crypto.getRandomValues(new Uint8Array(32));
    await buy({ nonce });
    expect(await codeOf(buy({ nonce }))).toBe("unauthenticated");
    expect(await codeOf(buy({ port: server.port }))).toBe("unauthenticated");
  });

  test("is not bought from a server that cannot prove itself", async () => {
    const token = "EVT-stolen";
    using liar = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => Response.json({ token, expires_at: "2030", proof: "0".repeat(64) }),
    });
    expect(await buy({ port: liar.port ?? 0 })).toBe(null);
  });

  test.each([
    ["overloaded", 429],
    ["unavailable", 503],
  ])("is refused in the server's own words when it is %s", async (code, status) => {
    const body = { code, message: "come back later", details: { asked: 1 } };
    using busy = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => Response.json(body, { status }),
    });
    const refusal = await buy({ port: busy.port ?? 0 }).catch((error: unknown) => error);
    expect(refusal).toMatchObject(body);
  });

  test.each([
    ["a page", "<h1>hello</h1>", 200],
    ["other JSON", "{}", 200],
    ["an error of another shape", '{"error":"no"}', 503],
  ])("is not expected from somebody who answers with %s", async (_name, text, status) => {
    using other = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(text, { status }),
    });
    expect(await buy({ port: other.port ?? 0 })).toBe(null);
  });
});

test("a proxy in the environment never sees a request", async () => {
  let seen = 0;
  using proxy = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      seen++;
      return new Response("proxied", { status: 502 });
    },
  });
  const script =
    `import { createClient } from ${JSON.stringify(import.meta.resolve("../../src/client/http.ts"))};` +
    `const { dbx } = createClient({ host: "127.0.0.1", port: ${server.port}, token: "t", idle_ms_max: 5000 });` +
    `console.log(JSON.stringify(await dbx.health({}, {})));process.exit(0);`;
  const url = `http://127.0.0.1:${proxy.port}`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { PATH: process.env["PATH"] ?? "", HTTP_PROXY: url, http_proxy: url, ALL_PROXY: url },
  });
  expect(await child.stdout.text()).toBe('{"status":"ok"}\n');
  expect(seen).toBe(0);
});
