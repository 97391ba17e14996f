// What calls may bring, on real connections: sizes, all together, calls without a token, halves
// of messages, silence; and that none of it keeps a server from stopping.

import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { limits } from "../../src/model/limits.ts";
import { createRates } from "../../src/server/rate.ts";
import {
  ask,
  bearer,
  connect,
  drain,
  refusalOf,
  startTestGrpc,
  toldError,
  type Loose,
  type TestGrpc,
} from "../support/grpc.ts";
import { root } from "../support/store.ts";

const event = { aggregate_type: "patient", aggregate_id: "p-001", event_type: "grew" };
const sized = (bytes: number) => ({ ...event, payload_json: JSON.stringify("x".repeat(bytes)) });
const reflection = {
  proto: "reflection",
  service: "grpc.reflection.v1.ServerReflection",
} as const;
const health = { proto: "health", service: "grpc.health.v1.Health" } as const;

/** A call by hand: the head of a message that says how long it is, then so many bytes of it. */
function half(
  session: ClientHttp2Session,
  path: string,
  message: { length: number; sent: number; token?: string },
) {
  const { length, sent, token } = message;
  const stream = session.request({
    ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  });
  const ended = new Promise<Loose>((resolve) => {
    let found: Loose = {};
    const look = (headers: Loose) => {
      found = { ...found, ...headers };
      if ("grpc-status" in found) resolve(found);
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("error", () => resolve(found));
    stream.on("close", () => resolve(found));
    stream.resume();
  });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  stream.write(Buffer.concat([head, Buffer.alloc(sent)]));
  return { stream, ended };
}

const connected = ({ address }: TestGrpc): ClientHttp2Session => {
  const session = connectHttp2(`http://${address}`);
  session.on("error", () => {});
  return session;
};

/** Until the server counts what is expected of it; a test that waits in vain runs out of time. */
async function until(served: TestGrpc, name: string, isSo: (value: number) => boolean) {
  while (!isSo(served.figures.read()[name] ?? NaN)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const codeOf = (found: Loose): [number, string] => [
  Number(found["grpc-status"]),
  JSON.parse(found["dbx-error"] ?? "{}").code,
];

describe("a message", () => {
  test("of a call that appends nothing is small, refused in our words, and logged", async () => {
    await using served = await startTestGrpc();
    const session = connected(served);
    const length = limits.grpc_small_bytes_max + 1;
    for (const path of ["/grpc.health.v1.Health/Check", "/dbx.api.EventService/ReadLog"]) {
      const found = await half(session, path, { length, sent: 0, token: served.token }).ended;
      expect(codeOf(found)).toEqual([status.RESOURCE_EXHAUSTED, "too_large"]);
      expect(served.lines.join("")).toContain(found["x-request-id"]);
    }
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const found = await half(session, path, { length, sent: 0 }).ended;
    expect(codeOf(found)).toEqual([status.RESOURCE_EXHAUSTED, "too_large"]);
    expect(served.figures.read()).toMatchObject({
      ...{ http_requests_refused: 3, grpc_message_bytes: 0, grpc_open_calls: 0 },
      grpc_refused_by_library: 0,
    });
    session.destroy();
  });

  test("is set aside before it comes, and refused beyond what all may hold", async () => {
    await using served = await startTestGrpc({ bounds: { grpc_bytes_max: 1_000_000 } });
    const session = connected(served);
    const path = "/dbx.api.EventService/AppendEvent";
    const first = half(session, path, { length: 900_000, sent: 10, token: served.token });
    await until(served, "grpc_message_bytes", (bytes) => bytes > 900_000);
    const client = connect(served.address);
    const error = await refusalOf(
      ask(client, "AppendEvent", sized(200_000), bearer(served.token, { "x-request-id": "mine" })),
    );
    expect([error.code, toldError(error).code]).toEqual([status.RESOURCE_EXHAUSTED, "overloaded"]);
    expect(served.lines.join("")).toContain("mine");
    first.stream.close();
    await until(served, "grpc_message_bytes", (bytes) => bytes === 0);
    await ask(client, "AppendEvent", sized(200_000), bearer(served.token));
    expect(served.figures.read()["grpc_message_bytes"]).toBe(0);
    client.close();
    session.destroy();
  });

  test("in halves has its time, with a token and without", async () => {
    await using served = await startTestGrpc({
      bounds: { grpc_silence_ms: 50, body_ms_max: 100 },
    });
    const session = connected(served);
    for (const path of [
      "/dbx.api.EventService/ReadLog",
      "/dbx.api.EventService/AppendEvent",
      "/dbx.api.EventService/AppendStream",
      "/grpc.health.v1.Health/Watch",
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ]) {
      const found = await half(session, path, { length: 100, sent: 10, token: served.token }).ended;
      expect([path, ...codeOf(found)]).toEqual([path, status.INVALID_ARGUMENT, "invalid_argument"]);
      expect(JSON.parse(found["dbx-error"]).details.reason).toBe("request_timeout");
    }
    session.destroy();
  });

  test("of reflection may be asked for once more, but not never", async () => {
    await using served = await startTestGrpc({ bounds: { grpc_silence_ms: 200 } });
    const client = connect(served.address, reflection);
    const stream = client["ServerReflectionInfo"](bearer(null));
    const ended = drain(stream);
    stream.write({ list_services: "" });
    const { messages, error } = await ended;
    expect([messages.length, error?.code]).toEqual([1, status.INVALID_ARGUMENT]);
    client.close();
  });
});

describe("calls without a token", () => {
  test("are few at a time on a connection, and in all", async () => {
    await using served = await startTestGrpc({
      bounds: { grpc_open_calls_each_max: 2, grpc_open_calls_max: 3 },
    });
    const clientOf = () =>
      connect(served.address, { ...health, options: { "grpc.use_local_subchannel_pool": 1 } });
    const watch = (client: Loose) => client["Watch"]({}, bearer(null));
    const clients = [clientOf(), clientOf()];
    const watching = [watch(clients[0]), watch(clients[0])];
    for (const stream of watching) stream.on("error", () => {});
    await until(served, "grpc_open_calls", (calls) => calls === 2);
    const { error } = await drain(watch(clients[0]));
    expect(error === null ? null : [error.code, toldError(error).code]).toEqual([
      status.RESOURCE_EXHAUSTED,
      "overloaded",
    ]);
    const third = watch(clients[1]);
    third.on("error", () => {});
    await until(served, "grpc_open_calls", (calls) => calls === 3);
    expect((await drain(watch(clients[1]))).error?.code).toBe(status.RESOURCE_EXHAUSTED);
    watching[0].cancel();
    await until(served, "grpc_open_calls", (calls) => calls === 2);
    expect(await ask(clients[0], "Check", {}, bearer(null))).toEqual({ status: "SERVING" });
    for (const client of clients) client.close();
  });

  test("hold no more than they may together, and leave the others their room", async () => {
    await using served = await startTestGrpc({ bounds: { grpc_open_bytes_max: 50_000 } });
    const session = connected(served);
    const path = "/grpc.health.v1.Health/Check";
    const first = half(session, path, { length: 49_000, sent: 10 });
    await until(served, "grpc_message_bytes", (bytes) => bytes > 49_000);
    const found = await half(session, path, { length: 2_000, sent: 10 }).ended;
    expect(codeOf(found)).toEqual([status.RESOURCE_EXHAUSTED, "overloaded"]);
    const client = connect(served.address);
    await ask(client, "AppendEvent", sized(200_000), bearer(served.token));
    first.stream.close();
    client.close();
    session.destroy();
  });
});

describe("a stream of appends", () => {
  test("of any length holds little, and all of it arrives", async () => {
    const bounds = { load_chars_max: 4_000, grpc_bytes_max: 100_000 };
    await using served = await startTestGrpc({ bounds });
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    for (let count = 0; count < 500; count++) stream.write({ events: [sized(2_000)] });
    stream.end();
    const { messages, error } = await ended;
    expect([error, messages.at(-1)?.acknowledged]).toEqual([null, "500"]);
    expect(served.figures.read()["grpc_message_bytes"]).toBe(0);
    client.close();
  });

  test("whose next message is too large keeps what came before it", async () => {
    await using served = await startTestGrpc({ bounds: { grpc_message_bytes_max: 10_000 } });
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    for (const bytes of [1, 2, 20_000, 3]) stream.write({ events: [sized(bytes)] });
    const { error } = await ended;
    expect(error === null ? null : toldError(error)).toMatchObject({
      code: "too_large",
      details: { index: 2, limit: 10_000 },
    });
    expect((await ask(client, "ReadLog", {}, bearer(served.token))).events).toHaveLength(2);
    client.close();
  });
});

test("what grpc-js refuses by itself is counted", async () => {
  await using served = await startTestGrpc();
  const session = connected(served);
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/dbx.api.EventService/ReadLog", te: "trailers" },
    ...{ "content-type": "application/grpc", authorization: `Bearer ${served.token}` },
    "grpc-timeout": "soon",
  });
  stream.on("error", () => {});
  stream.resume();
  await until(served, "grpc_refused_by_library", (count) => count === 1);
  session.destroy();
});

test("a token that asks too often is told when to come back, also within a stream", async () => {
  let now = 0;
  const rates = createRates({ limits: () => ({ per_token: 3 }), now: () => now });
  await using served = await startTestGrpc({ options: { rates } });
  const client = connect(served.address);
  const metadata = bearer(served.token);
  for (let count = 0; count < 3; count++) await ask(client, "ReadLog", {}, metadata);
  const error = await refusalOf(ask(client, "ReadLog", {}, metadata));
  expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
  expect(toldError(error)).toMatchObject({
    code: "overloaded",
    details: { per: "token", limit: 3, retry_after_ms: 334 },
  });
  expect(await ask(client, "Health", {}, bearer(null))).toEqual({ status: "ok" });
  now += 1_000;
  const stream = client["AppendStream"](metadata);
  const ended = drain(stream);
  for (let count = 0; count < 5; count++) stream.write({ events: [sized(1)] });
  const { error: refused } = await ended;
  // The opening was one request.
  expect(refused === null ? null : toldError(refused).details).toMatchObject({
    index: 2,
    limit: 3,
  });
  now += 1_000;
  expect((await ask(client, "ReadLog", {}, metadata)).events).toHaveLength(2);
  client.close();
});

test("a server stops soon whoever asks nothing, or takes nothing", async () => {
  const served = await startTestGrpc({ bounds: {} });
  const payload = JSON.stringify("x".repeat(1_000_000)) as never;
  for (let count = 0; count < 8; count++)
    await served.store.dbx.appendEvent(root, { ...event, payload });
  const session = connected(served);
  // Nothing more of the answer is taken than what a connection holds by itself.
  const unread = session.request({
    ...{ ":method": "POST", ":path": "/dbx.api.EventService/Subscribe" },
    ...{ "content-type": "application/grpc", authorization: `Bearer ${served.token}` },
  });
  unread.on("error", () => {});
  const answered = new Promise((resolve) => unread.once("response", resolve));
  unread.write(Buffer.from([0, 0, 0, 0, 2, 0x08, 0]));
  unread.end();
  await answered;
  const idle = connect(served.address, reflection)["ServerReflectionInfo"](bearer(null));
  const idleEnded = drain(idle);
  idle.write({ list_services: "" });
  await new Promise((resolve) => idle.once("data", resolve));
  const path = "/dbx.api.EventService/AppendEvent";
  const halved = half(session, path, { length: 1_000, sent: 10, token: served.token });
  await until(served, "grpc_message_bytes", (bytes) => bytes > 1_000);
  const before = performance.now();
  await served[Symbol.asyncDispose]();
  expect(performance.now() - before).toBeLessThan(limits.drain_ms / 2);
  expect((await idleEnded).error?.code).toBe(status.UNAVAILABLE);
  expect(codeOf(await halved.ended)).toEqual([status.UNAVAILABLE, "unavailable"]);
  session.destroy();
}, 20_000);
