// Clients that are too slow for their own good: they end after a bounded time, and what they held
// is given back. The bounds are handed in small here; the server uses those of model/limits.ts.

import { expect, test } from "bun:test";
import { toWire, httpStatusOf } from "../../src/api/errors.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { createBodies } from "../../src/server/body.ts";
import { startTestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

const request = (body: ReadableStream<Uint8Array>, length?: number) =>
  new Request("http://localhost/", {
    method: "POST",
    body,
    ...(length === undefined ? {} : { headers: { "Content-Length": String(length) } }),
  });
const never = () =>
  new ReadableStream<Uint8Array>({ start: (stream) => stream.enqueue(new Uint8Array(10)) });

const errorOf = async (read: () => Promise<Uint8Array> | Uint8Array): Promise<DbxError> => {
  try {
    await read();
  } catch (error) {
    if (error instanceof DbxError) return error;
    throw error;
  }
  throw new Error("the body was taken");
};

test("a body that never ends is given up with 408, and its room is free again", async () => {
  const bodies = createBodies({ body_ms_max: 20, bytes_max: 1_000_000 });
  for (const length of [undefined, limits.body_inline_bytes_max + 1]) {
    const error = await errorOf(() => bodies.read(request(never(), length), { bytes_max: 1e6 }));
    expect([error.code, httpStatusOf(toWire(error))]).toEqual(["invalid_argument", 408]);
    expect(bodies.held()).toBe(0);
  }
});

test("room is set aside by declared length, and for chunks as they come", async () => {
  const bodies = createBodies({ body_ms_max: 10_000, bytes_max: 100_000 });
  const ended = Promise.withResolvers<void>();
  const slow = new ReadableStream<Uint8Array>({
    async pull(stream) {
      await ended.promise;
      stream.enqueue(new Uint8Array(70_000));
      stream.close();
    },
  });
  const reading = bodies.read(request(slow, 70_000), { bytes_max: 80_000 });
  expect(bodies.held()).toBe(70_000);
  const declared = await errorOf(() =>
    bodies.read(request(never(), 70_000), { bytes_max: 80_000 }),
  );
  expect([declared.code, bodies.held()]).toEqual(["overloaded", 70_000]);
  const chunks = new ReadableStream<Uint8Array>({
    pull: (stream) => stream.enqueue(new Uint8Array(20_000)),
  });
  const chunked = await errorOf(() => bodies.read(request(chunks), { bytes_max: 80_000 }));
  expect([chunked.code, bodies.held()]).toEqual(["overloaded", 70_000]);
  ended.resolve();
  expect((await reading).length).toBe(70_000);
  expect(bodies.held()).toBe(0);
});

test(
  "a request that never ends is cut off when stopping has taken long enough",
  async () => {
    const server = await startTestServer();
    const connection = await connectRaw(server.port);
    const body = "x".repeat(limits.body_inline_bytes_max + 1);
    const whole = requestText("POST", "/v1/events", { token: server.token, body });
    connection.write(whole.slice(0, -1));
    const running = async () =>
      (await server.ask("GET", "/admin/status")).json.figures.http_requests_running;
    while ((await running()) < 2);
    const started = performance.now();
    await Promise.all([server.stop(), connection.closed]);
    const ms = performance.now() - started;
    expect(ms).toBeGreaterThan(limits.drain_ms - 100);
    expect(ms).toBeLessThan(limits.drain_ms + 5_000);
    expect(server.lines.some((line) => line.includes("requests cut off"))).toBe(true);
    await server[Symbol.asyncDispose]();
  },
  limits.drain_ms + 20_000,
);

test.each([
  ["chunked", { "Transfer-Encoding": "chunked" }],
  ["of a declared length", { "Content-Length": "30" }],
])("a token revoked while its body is held back is good for nothing: %s", async (_, length) => {
  await using server = await startTestServer();
  using connection = await connectRaw(server.port);
  const issued = await server.ask("POST", "/admin/tokens", { body: { group: "admin", user: "x" } });
  const { token, id } = issued.json;
  const whole = '{"group":"admin","user":"y"}  ';
  const chunked = "Transfer-Encoding" in length;
  const chunk = (text: string) => (chunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
  const headers = { "Content-Type": "application/json", ...length };
  connection.write(requestText("POST", "/admin/tokens", { token, headers }));
  connection.write(chunk(whole.slice(0, 10)));
  const running = async () =>
    (await server.ask("GET", "/admin/status")).json.figures.http_requests_running;
  // This request and the one that waits for its body.
  while ((await running()) < 2);
  expect((await server.ask("POST", `/admin/tokens/${id}/revoke`)).status).toBe(204);
  connection.write(chunk(whole.slice(10)) + (chunked ? "0\r\n\r\n" : ""));
  const { status, body: answered } = await connection.read();
  expect([status, JSON.parse(answered).code]).toEqual([401, "unauthenticated"]);
  const users = (await server.ask("GET", "/admin/tokens")).json.map(
    ({ user }: { user: string }) => user,
  );
  expect(users).toEqual(["jane", "x"]);
});
