/**
 * Subscriptions over real connections: what comes, in which order, to whom, until when; what a slow
 * client costs; and that nothing is lost or doubled by one that is killed and comes back.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { LiveBatch } from "../../src/api/live.ts";
import { silentLog } from "../../src/log.ts";
import { createTurns } from "../../src/server/graphql/exchange.ts";
import { createExecutor } from "../../src/server/graphql/executor.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { bodyOf, post, subscribe } from "../support/graphql.ts";
import { killAndResume } from "../support/live.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { requestText } from "../support/server-raw.ts";
import { openStore, root, testConfig } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  expect(server.lines.filter((line) => / (?:error|warn) |stack/.test(line))).toEqual([]);
  await server[Symbol.asyncDispose]();
});

const all = "subscription($after: Long) { eventAppended(after: $after) { position payload } }";

async function headOf(): Promise<number> {
  const { json } = await server.ask("GET", "/v1/events");
  return json.length;
}

async function followers(): Promise<number> {
  const { figures } = await server.store.dbx.serverStatus(root, {});
  return Number(figures["followers"]);
}

/** Looks again whenever everything else had its turn. */
async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let turn = 0; turn < 100_000; turn++) {
    if (await holds()) return;
    await new Promise<void>((done) => setImmediate(done));
  }
  throw new Error("it never came to hold");
}

describe("a subscriber", () => {
  test("gets what is there, then what comes, byte for byte", async () => {
    const after = await headOf();
    await server.append("bytes", "b", '{"10":1,"9":9007199254740993}');
    const stream = await subscribe(server, all, { variables: `{"after":${after}}` });
    expect(stream.response.status).toBe(200);
    expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
    expect(stream.response.headers.get("cache-control")).toBe("no-store");
    expect(stream.response.headers.get("x-accel-buffering")).toBe("no");
    const event = (position: number, payload: string) => ({
      event: "next",
      text: `{"data":{"eventAppended":{"position":${position},"payload":${payload}}}}`,
      id: "",
    });
    expect(await stream.next()).toEqual(event(after + 1, '{"10":1,"9":9007199254740993}'));
    await server.append("bytes", "b", '[1e400,{"__proto__":0.1}]');
    expect(await stream.next()).toEqual(event(after + 2, '[1e400,{"__proto__":0.1}]'));
    stream.leave();
  });
  test("gets what he selects, with the fields that he names, by GET as well", async () => {
    const query = `subscription {
      eventAppended(aggregate_type: "chosen", event_type: "noted") { id: aggregate_id metadata {
        issued_by { user } note } } }`;
    const leaving = new AbortController();
    const path = `/graphql?query=${encodeURIComponent(query)}`;
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      headers: { Authorization: `Bearer ${server.token}`, Accept: "text/event-stream" },
      signal: leaving.signal,
    });
    const reader = response.body?.getReader();
    const read = async () => new TextDecoder().decode((await reader?.read())?.value);
    // A sign of life: from here on whatever is appended must come.
    expect(await read()).toBe(":\n\n");
    await server.append("other", "o");
    await server.append("chosen", "c");
    const data = '{"id":"c","metadata":{"issued_by":{"user":"jane"},"note":null}}';
    expect(await read()).toBe(`event: next\ndata: {"data":{"eventAppended":${data}}}\n\n`);
    leaving.abort();
    await reader?.cancel().catch(() => {});
  });
  test("who goes away while he waits is let go at once", async () => {
    await until(async () => (await followers()) === 0);
    const streams = await Promise.all([1, 2, 3].map(() => subscribe(server, all)));
    expect(await followers()).toBe(3);
    for (const { leave } of streams) leave();
    await until(async () => (await followers()) === 0);
  });
  test("whose token is revoked gets an error and the end, and no event after it", async () => {
    const { dbx } = server.store;
    const { token, id } = await dbx.issueToken(root, { group: "clerk", user: "ann" });
    const stream = await subscribe(server, all, { token });
    await server.append("revoked", "r");
    expect((await stream.next()).text).toContain('"position"');
    await dbx.revokeToken(root, { token: id });
    await server.append("revoked", "r");
    const error = await stream.next();
    expect(error.event).toBe("next");
    expect(JSON.parse(error.text).errors[0].extensions.code).toBe("unauthenticated");
    expect(await stream.next()).toEqual({ event: "complete", text: "", id: "" });
    expect(await followers()).toBe(0);
  });
});

describe("a subscription is refused before it begins", () => {
  const field = (args: string) => `subscription { eventAppended${args} { position } }`;
  const refused = [
    ["(after: 1000000)", "failed_precondition"],
    ['(aggregate_id: "a")', "invalid_argument"],
    ['(aggregate_type: " ")', "invalid_argument"],
    ["(after: -1)", "invalid_argument"],
    ["(before: 1)", "invalid_argument"],
  ] as const;
  for (const [args, code] of refused) {
    test(`${args}: ${code}`, async () => {
      const { json, status, headers } = await post(server, field(args));
      expect([status, headers.get("content-type")]).toEqual([200, "application/json"]);
      expect(json.errors[0].extensions.code).toBe(code);
      // A client that takes nothing but events gets the same in one.
      const stream = await subscribe(server, field(args));
      expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
      expect(JSON.parse((await stream.next()).text)).toEqual(json);
      expect((await stream.next()).event).toBe("complete");
      expect(await followers()).toBe(0);
    });
  }
  const conditional = [
    "{ eventAppended @skip(if: true) { position } }",
    "($b: Boolean = true) { eventAppended @include(if: $b) { position } }",
    "{ ... @skip(if: false) { eventAppended { position } } }",
    "{ ...f @include(if: true) } fragment f on Subscription { eventAppended { position } }",
    "{ ...f } fragment f on Subscription { ...f eventAppended @skip(if: true) { position } }",
  ];
  for (const query of conditional) {
    test(`whose field depends on a condition: ${query}`, async () => {
      const { json } = await post(server, `subscription ${query}`);
      expect(json.errors).toHaveLength(1);
      expect(json.errors[0].message).toContain("@skip");
      expect(json.errors[0].extensions.code).toBe("invalid_argument");
    });
  }
  test("but a condition on what it gives is taken", async () => {
    const query = "subscription { eventAppended(after: 0) { position hash @skip(if: true) } }";
    const stream = await subscribe(server, query);
    expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
    stream.leave();
  });
  test("where the client takes no events", async () => {
    const answer = await post(server, all, { headers: { Accept: "application/json" } });
    expect(answer.status).toBe(406);
    expect(answer.json.errors[0].extensions.code).toBe("invalid_argument");
    await until(async () => (await followers()) === 0);
  });
  test("to whoever may not see what he asks for", async () => {
    const { token } = await server.store.dbx.issueToken(root, { group: "clerk", user: "bob" });
    const { json } = await post(server, field("(include_hidden: true)"), { token });
    expect(json.errors[0].extensions.code).toBe("permission_denied");
  });
});

test("what a schema hides by now is in nothing that a client takes after", async () => {
  await using other = await startTestServer();
  await other.ask("POST", "/admin/schemas", { body: { aggregate: "h", events: ["noted"] } });
  for (let count = 0; count < 12; count++) await other.append("h", "h", '{"secret":"S"}');
  const actor = other.store.authenticate(other.token);
  const execute = createExecutor({
    ...other.store,
    log: silentLog,
    page_sizes: () => testConfig(other.directory),
    stopping: new AbortController().signal,
  });
  // Without a socket between, which would take some before its client does.
  const response = await execute({
    query: "subscription { eventAppended(after: 0) { payload } }",
    ...{ operationName: null, variables: null, method: "POST", accept: "text/event-stream" },
    request_id: "r-1",
    actorOf: () => actor,
    gone: new AbortController().signal,
    ended: new AbortController(),
    inTurn: createTurns(),
    waiting: 0,
    beat: () => {},
  });
  const reader = response.body!.getReader();
  const next = async () => new TextDecoder().decode((await reader.read()).value);
  expect((await next()).split("secret")).toHaveLength(13);
  await other.append("h", "h", '{"secret":"S"}');
  await other.ask("PATCH", "/admin/schemas/h", {
    body: { hidden_field: { field: "secret", hidden: true } },
  });
  expect(await next()).toContain('{"data":{"eventAppended":{"payload":{}}}}');
  await reader.cancel();
});

test("a query asked for as events is one event", async () => {
  const stream = await subscribe(server, "{ __typename }");
  expect((await stream.next()).text).toBe('{"data":{"__typename":"Query"}}');
  expect((await stream.next()).event).toBe("complete");
});

test("a server that stops ends its subscriptions with an error, and quickly", async () => {
  await using other = await startTestServer();
  const streams = await Promise.all([1, 2, 3].map(() => subscribe(other, all)));
  const started = performance.now();
  const stopped = other.stop();
  for (const stream of streams) {
    expect(JSON.parse((await stream.next()).text).errors[0].extensions.code).toBe("unavailable");
    expect((await stream.next()).event).toBe("complete");
  }
  await stopped;
  // Running requests would be granted eight seconds.
  expect(performance.now() - started).toBeLessThan(4_000);
});

test("a client that takes nothing stops our reading, and costs the writer nothing", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path, { config: { storage: { durability: "normal" } } });
  let handed = 0;
  const counted: typeof store.live.followLog = async function* (...args) {
    for await (const batch of store.live.followLog(...args)) {
      handed += (batch satisfies LiveBatch).records.length;
      yield batch;
    }
  };
  const slow = await startServer({
    opened: { ...store, live: { followLog: counted } },
    config: testConfig(dir.path),
    log: silentLog,
    system: realSystem,
    version: "test",
    commands: null,
  });
  const { token } = await store.dbx.issueToken(root, { group: "admin", user: "jane" });
  const payload = `"${"x".repeat(200_000)}"` as Awaited<
    ReturnType<typeof store.dbx.appendEvent>
  >["payload"];
  const key = { aggregate_type: "slow", aggregate_id: "s", event_type: "x" };
  const events = 600;
  for (let count = 0; count < events; count++) {
    await store.dbx.appendEvent(root, { ...key, payload });
  }
  const begun = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: slow.port,
    socket: {
      data(open) {
        open.pause();
        begun.resolve();
      },
    },
  });
  const query = "subscription { eventAppended(after: 0) { position payload } }";
  socket.write(requestText("POST", "/graphql", { token, body: bodyOf(query) }));
  await begun.promise;
  let last = -1;
  let still = 0;
  // What lies between fills up: buffers of sockets, on both sides.
  await until(() => {
    still = handed === last ? still + 1 : 0;
    last = handed;
    return still > 5_000;
  });
  // 120 MB wait for a client that took one piece; a sixth is on its way, at most.
  expect(handed).toBeLessThan(events / 6);
  const record = await store.dbx.appendEvent(root, { ...key, payload });
  expect(record.position).toBe(events + 1);
  socket.terminate();
  await slow.stop();
}, 60_000);

test("one that is killed and resumed 50 times under load sees each event once", async () => {
  const aggregate = { aggregate_type: "killed", event_type: "x" };
  let turn = 0;
  const start = await headOf();
  const { seen, appended } = await killAndResume({
    async *open(after, signal) {
      const query = `subscription($after: Long) {
        eventAppended(after: $after, aggregate_type: "killed") { position } }`;
      const variables = `{"after":${Math.max(after, start)}}`;
      const stream = await subscribe(server, query, { variables, signal });
      while (!signal.aborted) {
        const { text } = await stream.next();
        yield JSON.parse(text).data.eventAppended.position;
      }
    },
    async append(event_id) {
      const aggregate_id = `k-${++turn % 7}`;
      const input = { ...aggregate, aggregate_id, event_id, payload: turn };
      const { json } = await post(
        server,
        "mutation($i: AppendEventInput!) { appendEvent(input: $i) { position } }",
        { variables: JSON.stringify({ i: input }) },
      );
      return json.data.appendEvent.position;
    },
  });
  expect(appended.length).toBeGreaterThan(500);
  expect(seen).toEqual(appended);
  await until(async () => (await followers()) === 0);
}, 120_000);
