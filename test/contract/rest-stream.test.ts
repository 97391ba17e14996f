// `GET /v1/events/stream` over real sockets: what comes, in which form, and how it ends.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { killAndResume } from "../support/live.ts";
import { upTo } from "../support/live-log.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { followBySse, openStream, type EventSourceLike, type Message } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const followers = async (of = server): Promise<number> =>
  (await of.ask("GET", "/admin/status")).json.figures.followers;

async function next({ messages }: EventSourceLike): Promise<Message> {
  const { done, value } = await messages.next();
  if (done === true) throw new Error("the stream has ended");
  return value;
}

describe("a stream", () => {
  test("is what browsers and proxies expect, and says at once where it begins", async () => {
    const { position } = (await server.append("patient", "p-1")).json;
    const stream = await openStream(server);
    expect(stream.response.status).toBe(200);
    expect(Object.fromEntries(stream.response.headers)).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
      "x-request-id": expect.any(String),
    });
    const begin = { id: String(position), type: "message", data: null, comment: true };
    expect(await next(stream)).toEqual(begin);
    stream.close();
  });

  test("gives each event as the log does, byte for byte, with its position as id", async () => {
    const after = (await server.append("exact", "e", "9007199254740993")).json.position;
    const stream = await openStream({ ...server, query: `?after=${after - 1}` });
    await server.append("exact", "e", '{"a":"line\\nbreak\\u2028 é","b":[1.10,1e400]}');
    const { text } = await server.ask("GET", `/v1/events?after=${after - 1}`);
    const [one, two] = [await next(stream), await next(stream)];
    expect(`[${one.data},${two.data}]`).toBe(text);
    expect([one.id, two.id, one.type]).toEqual([String(after), String(after + 1), "message"]);
    expect(one.data).toContain('"payload":9007199254740993');
    stream.close();
  });

  test("moves the id over what it does not show", async () => {
    const after = (await server.append("shown", "s")).json.position;
    await server.append("other", "o");
    const query = `?after=${after - 1}&aggregate_type=shown&aggregate_id=s&event_type=noted`;
    const stream = await openStream({ ...server, query });
    expect(await next(stream)).toMatchObject({ id: String(after), data: expect.any(String) });
    expect(await next(stream)).toEqual({
      ...{ id: String(after + 1), type: "message", data: null, comment: false },
    });
    stream.close();
  });

  test("goes on after Last-Event-ID, whatever the query says", async () => {
    const last = (await server.append("patient", "p-1")).json.position;
    const headers = { "Last-Event-ID": String(last - 1) };
    const stream = await openStream({ ...server, query: "?after=0", headers });
    expect((await next(stream)).id).toBe(String(last));
    stream.close();
  });

  test("shows what schemas hide to an admin who asks, and to nobody else", async () => {
    await server.ask("POST", "/admin/schemas", {
      body: { aggregate: "hidden", events: ["noted"] },
    });
    await server.ask("PATCH", "/admin/schemas/hidden", { body: { hidden: true } });
    const after = (await server.append("hidden", "h")).json.position - 1;
    const query = `?after=${after}`;
    const plain = await openStream({ ...server, query });
    expect(await next(plain)).toMatchObject({ id: String(after + 1), data: null });
    const all = await openStream({ ...server, query: `${query}&include_hidden=true` });
    expect(await next(all)).toMatchObject({ id: String(after + 1), data: expect.any(String) });
    for (const stream of [plain, all]) stream.close();
  });

  test("is answered to HEAD without being followed", async () => {
    const answer = await server.ask("HEAD", "/v1/events/stream?after=0");
    expect([answer.status, answer.text]).toEqual([200, ""]);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    while ((await followers()) > 0);
  });
});

describe("a stream that cannot begin is refused as any request is", () => {
  const refusals: [string, { headers?: Record<string, string>; token?: null }, number, object][] = [
    ["", { token: null }, 401, { code: "unauthenticated" }],
    ["?after=x", { token: null }, 401, { code: "unauthenticated" }],
    ["?after=x", {}, 400, { code: "invalid_argument", details: { path: "/after" } }],
    ["?after=-1", {}, 400, { code: "invalid_argument", details: { path: "/after" } }],
    [
      "?after=x",
      { headers: { "Last-Event-ID": "1" } },
      400,
      { code: "invalid_argument", details: { path: "/after" } },
    ],
    ["?take=1", {}, 400, { code: "invalid_argument", details: { path: "/take" } }],
    ["?aggregate_id=p", {}, 400, { code: "invalid_argument", details: { path: "/aggregate_id" } }],
    ["?after=999999", {}, 409, { code: "failed_precondition", details: { after: 999_999 } }],
    ...["x", "-1", "1.5", "01", "1e3", "9007199254740993"].map(
      (id): [string, { headers: Record<string, string> }, number, object] => [
        "?after=0",
        { headers: { "Last-Event-ID": id } },
        400,
        { code: "invalid_argument", details: { header: "Last-Event-ID" } },
      ],
    ),
  ];
  test.each(refusals)("%p %p is a %p", async (query, ask, status, error) => {
    const answer = await server.ask("GET", `/v1/events/stream${query}`, ask);
    expect([answer.status, answer.json]).toMatchObject([status, error]);
    expect(answer.headers.get("content-type")).toBe("application/json");
  });

  test("so is asking for what is hidden, without the grant", async () => {
    const body = { group: "nurse", user: "jane" };
    const { token } = (await server.ask("POST", "/admin/tokens", { body })).json;
    const path = "/v1/events/stream?include_hidden=true";
    const answer = await server.ask("GET", path, { token });
    expect([answer.status, answer.json.code]).toEqual([403, "permission_denied"]);
  });

  test("none of them is followed", async () => {
    while ((await followers()) > 0);
  });
});

test("the log is read by type, aggregate and event type, too", async () => {
  await using own = await startTestServer();
  for (const id of ["1", "2", "1", "3"]) await own.append("patient", id);
  await own.append("order", "1");
  const positions = async (query: string) =>
    (await own.ask("GET", `/v1/events?${query}`)).json.map(
      (event: { position: number }) => event.position,
    );
  expect(await positions("aggregate_type=patient&after=1")).toEqual([2, 3, 4]);
  expect(await positions("aggregate_type=patient&aggregate_id=1")).toEqual([1, 3]);
  expect(await positions("aggregate_type=patient&aggregate_id=1&after=1&take=1")).toEqual([3]);
  expect(await positions("event_type=noted&take=2&after=3")).toEqual([4, 5]);
  expect(await positions("aggregate_type=order&event_type=other")).toEqual([]);
  const refused = await own.ask("GET", "/v1/events?aggregate_id=1");
  expect([refused.status, refused.json.details]).toEqual([400, { path: "/aggregate_id" }]);
});

describe("a stream ends", () => {
  test("when its token is revoked, with the reason and without a further event", async () => {
    const body = { group: "nurse", user: "jane" };
    const { token, id } = (await server.ask("POST", "/admin/tokens", { body })).json;
    const stream = await openStream({ port: server.port, token });
    await next(stream);
    await server.ask("POST", `/admin/tokens/${id}/revoke`);
    await server.append("patient", "p-1");
    const { type, data } = await next(stream);
    expect([type, JSON.parse(data ?? "")]).toMatchObject(["error", { code: "unauthenticated" }]);
    expect((await stream.messages.next()).done).toBe(true);
  });

  test("when its client goes away, waiting or not", async () => {
    while ((await followers()) > 0);
    const streams = await Promise.all(upTo(20).map(() => openStream(server)));
    expect(await followers()).toBe(20);
    await Promise.all(streams.slice(10).map(next));
    for (const stream of streams) stream.close();
    while ((await followers()) > 0);
  });

  test("when the server stops, at once and with the reason", async () => {
    const own = await startTestServer();
    const streams = await Promise.all(upTo(5).map(() => openStream(own)));
    await Promise.all(streams.map(next));
    const started = performance.now();
    const stopped = own.stop();
    for (const stream of streams) {
      const { type, data } = await next(stream);
      expect([type, JSON.parse(data ?? "")]).toMatchObject([
        "error",
        { code: "unavailable", message: "dbx is stopping" },
      ]);
      expect((await stream.messages.next()).done).toBe(true);
    }
    await stopped;
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(own.lines.some((line) => line.includes("requests cut off"))).toBe(false);
    await own[Symbol.asyncDispose]();
  });
});

test("a follower that is killed 50 times under load sees every position once, in order", async () => {
  await using own = await startTestServer();
  const { seen, appended } = await killAndResume({
    open: followBySse(() => own),
    append: async (event_id) => {
      const event = { aggregate_type: "load", aggregate_id: "l", event_type: "x", payload: 1 };
      const answer = await own.ask("POST", "/v1/events", { body: { ...event, event_id } });
      if (answer.status !== 200) throw new Error(answer.text);
      return answer.json.position;
    },
  });
  expect(seen).toEqual(upTo(seen.length));
  expect(appended).toEqual(seen);
  expect(seen.length).toBeGreaterThan(500);
  while ((await followers(own)) > 0);
}, 60_000);
