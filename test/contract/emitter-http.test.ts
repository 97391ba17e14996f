// Events over HTTP, against receivers of every kind on real sockets: what is reported as
// delivered was received, and what was not comes again, in order; nothing they say gets into a
// fault.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "bun:test";
import type { Socket } from "bun";
import { root } from "../../scripts/root.ts";
import type { HttpConfig } from "../../src/model/plugin.ts";
import { createHttpEmitter } from "../../src/plugins/emitters/http.ts";
import { realSystem } from "../../src/system.ts";
import {
  deliverAll,
  emission,
  emissions,
  hasty,
  never,
  payloadMark,
} from "../support/emissions.ts";
import { tempDir } from "../support/temp.ts";

const open: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

/** Answers each request with what `answer` gives; 204 without it. */
function receive(answer: (seen: Seen, count: number) => Response | Promise<Response> = good) {
  const seen: Seen[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      const one = { method, path: pathname + search, headers, body: await request.text() };
      return answer(one, seen.push(one));
    },
  });
  open.push({ close: () => server.stop(true) });
  return { address: `127.0.0.1:${server.port}`, seen };
}

const good = () => new Response(null, { status: 204 });

/** Bytes instead of answers: `answer` is told of each piece that arrives. */
function receiveBytes(answer: (socket: Socket<undefined>, connection: number) => void) {
  let connections = 0;
  const numbers = new Map<Socket<undefined>, number>();
  const server = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => void numbers.set(socket, ++connections),
      data: (socket) => answer(socket, numbers.get(socket) ?? 0),
      error: () => {},
    },
  });
  open.push({ close: () => server.stop(true) });
  return { address: `127.0.0.1:${server.port}`, connections: () => connections };
}

function emit(endpoint: string, over: Partial<HttpConfig> = {}, bounds = hasty) {
  const config: HttpConfig = { type: "http", endpoint, headers: {}, https: false, ...over };
  const emitter = createHttpEmitter(config, { now: () => "2024-12-01T17:22:43.512345Z" }, bounds);
  open.push(emitter);
  return emitter;
}

const versions = (seen: readonly Seen[]): number[] =>
  seen.map(({ body }) => JSON.parse(body).version);

test("an event is a POST with its id, its number and dbx's JSON", async () => {
  const { address, seen } = receive();
  const emitter = emit(`http://${address}/hook?team=a`, { headers: { Authorization: "Bearer x" } });
  const one = { ...emission(1), sequence: 77 };
  expect(await emitter.deliver([one], never)).toEqual({ delivered: 1, fault: null });
  expect(seen[0]).toMatchObject({ method: "POST", path: "/hook?team=a", body: one.json });
  const id = one.record.metadata.event_id;
  expect(Object.fromEntries(seen[0]?.headers ?? [])).toMatchObject({
    ...{ authorization: "Bearer x", "content-type": "application/json" },
    ...{ "idempotency-key": id, "x-dbx-event-id": id, "x-dbx-delivery": "77" },
  });
  expect(seen[0]?.headers.has("x-dbx-signature")).toBe(false);
});

test("configured headers go first, but cannot change which event it is", async () => {
  const { address, seen } = receive();
  const headers = { "Content-Type": "application/x-event", "X-Dbx-Event-Id": "no", "x-team": "a" };
  await emit(address, { headers }).deliver(emissions(1), never);
  const sent = seen[0]?.headers;
  expect(sent?.get("content-type")).toBe("application/x-event");
  expect(sent?.get("x-dbx-event-id")).toBe(emission(1).record.metadata.event_id);
  expect(sent?.get("x-team")).toBe("a");
});

test("a secret signs time and body, and is not sent", async () => {
  const { address, seen } = receive();
  await emit(address, { secret: "s3cret" }).deliver(emissions(1), never);
  const code = createHmac("sha256", "s3cret").update(`1733073763.${seen[0]?.body}`).digest("hex");
  expect(seen[0]?.headers.get("x-dbx-signature")).toBe(`t=1733073763,v1=${code}`);
  expect(JSON.stringify([...(seen[0]?.headers ?? [])])).not.toContain("s3cret");
});

test("the signature is checked as the README says", async () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const [, code = ""] = /```js\n([^`]*`[^`]*`[^`]*timingSafeEqual[^`]*)```/.exec(readme) ?? [];
  using dir = tempDir();
  const path = join(dir.path, "check.mjs");
  const parts = ['import { createHmac, timingSafeEqual } from "node:crypto";'];
  parts.push("export const isGood = (signature, secret, body) => {", code, "return good; };");
  await Bun.write(path, parts.join("\n"));
  const { isGood } = await import(path);

  const { address, seen } = receive();
  const config = { type: "http", endpoint: address, headers: {}, https: false } as const;
  const emitter = createHttpEmitter({ ...config, secret: "s3cret" }, { now: realSystem.now });
  open.push(emitter);
  await emitter.deliver(emissions(1), never);
  const { body = "", headers = new Headers() } = seen[0] ?? {};
  const signature = headers.get("x-dbx-signature") ?? "";
  expect(isGood(signature, "s3cret", body)).toBe(true);
  expect(isGood(signature, "other", body)).toBe(false);
  expect(isGood(signature, "s3cret", `${body} `)).toBe(false);
  expect(isGood(signature.replace(/t=\d/, "t=9"), "s3cret", body)).toBe(false);
  expect(isGood(signature.slice(0, -2), "s3cret", body)).toBe(false);
});

describe("the endpoint is completed", () => {
  const cases: [string, boolean, string][] = [
    ["example.invalid/a", false, "http://example.invalid/a"],
    ["example.invalid/a", true, "https://example.invalid/a"],
    ["  http://example.invalid/a ", true, "http://example.invalid/a"],
    ["https://example.invalid", false, "https://example.invalid/"],
    ["http://jane:pass@example.invalid/?key=hidden", false, "http://example.invalid/"],
  ];
  for (const [endpoint, https, shown] of cases) {
    test(`${endpoint} with https ${https}`, async () => {
      const stopped = AbortSignal.abort();
      const { fault } = await emit(endpoint, { https }).deliver(emissions(1), stopped);
      expect(fault?.message).toBe(`${shown} did not answer (ABORT_ERR)`);
    });
  }
  test("and refused where it is none", () => {
    expect(() => emit("http://:70000:x")).toThrow("the endpoint is no URL");
  });
});

test("a name and a password of the endpoint are sent as such", async () => {
  const { address, seen } = receive();
  await emit(`http://jane:p%40ss@${address}/`).deliver(emissions(1), never);
  expect(seen[0]?.headers.get("authorization")).toBe(`Basic ${btoa("jane:p@ss")}`);
});

test("events go over one connection, one after the other", async () => {
  const text = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  const receiver = receiveBytes((socket) => void socket.write(text));
  expect(await deliverAll(emit(receiver.address), emissions(40), { attempts: 0 })).toEqual([]);
  expect(receiver.connections()).toBe(1);
});

test("the first event that is refused ends the call, and comes again before later ones", async () => {
  const { address, seen } = receive((_, count) =>
    count === 3 ? new Response("no", { status: 500 }) : good(),
  );
  const emitter = emit(address);
  expect(await emitter.deliver(emissions(5), never)).toEqual({
    delivered: 2,
    fault: {
      message: `http plugin request failed (500 Internal Server Error) at http://${address}/`,
      reached: true,
    },
  });
  expect(await emitter.deliver(emissions(3, { first: 3 }), never)).toMatchObject({ delivered: 3 });
  expect(versions(seen)).toEqual([1, 2, 3, 3, 4, 5]);
});

describe("what an answer means", () => {
  const cases: [number, Record<string, string>, string, boolean][] = [
    [400, {}, "400 Bad Request", true],
    [401, {}, "401 Unauthorized", false],
    [422, {}, "422 Unprocessable Entity", true],
    [429, { "retry-after": "30" }, "429 Too Many Requests, retry after 30 s", false],
    [503, { "retry-after": payloadMark }, "503 Service Unavailable", false],
    [599, {}, "599", true],
    [302, { location: "/new?key=hidden" }, "302 Found, points to http://HOST/new", false],
    [
      307,
      { location: "https://a:b@x.invalid/y#z" },
      "307 Temporary Redirect, points to https://x.invalid/y",
      false,
    ],
    [308, { location: "http://[" }, "308 Permanent Redirect", false],
  ];
  for (const [status, headers, words, reached] of cases) {
    test(`${status} ${JSON.stringify(headers)}`, async () => {
      const { address, seen } = receive(
        ({ body }) => new Response(body, { status, headers, statusText: payloadMark }),
      );
      const { delivered, fault } = await emit(address).deliver(emissions(2), never);
      const shown = words.replace("HOST", address);
      expect({ delivered, fault }).toEqual({
        delivered: 0,
        fault: { message: `http plugin request failed (${shown}) at http://${address}/`, reached },
      });
      // Nobody followed, nobody tried again by himself.
      expect(seen).toHaveLength(1);
    });
  }
});

test("nobody there is told, and the events arrive once somebody is", async () => {
  const { address, seen } = receive();
  const [port] = [address.split(":")[1]];
  await open.pop()?.close();
  const emitter = emit(address);
  expect(await emitter.deliver(emissions(2), never)).toEqual({
    delivered: 0,
    fault: { message: `http://${address}/ did not answer (ECONNREFUSED)`, reached: false },
  });
  const again = Bun.serve({ hostname: "127.0.0.1", port: Number(port), fetch: good });
  open.push({ close: () => again.stop(true) });
  expect(await emitter.deliver(emissions(2), never)).toEqual({ delivered: 2, fault: null });
  expect(seen).toEqual([]);
});

describe("an answer that is none", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  const cases: [string, (socket: Socket<undefined>) => void, string | null][] = [
    ["never comes", () => {}, "ETIMEDOUT"],
    ["comes a byte at a time", (socket) => drip(socket, head, "a"), "ETIMEDOUT"],
    ["is no HTTP", (socket) => void socket.write("\x00\x01{}\r\n\r\n"), "HPE_INVALID_CONSTANT"],
    ["is cut off in its head", (socket) => void socket.end(head), "ECONNRESET"],
    ["has an endless head", (socket) => flood(socket, `${head}x: `), "HPE_HEADER_OVERFLOW"],
    ["is a reset", (socket) => socket.terminate(), "ECONNRESET"],
    // Its head is there: the event has arrived.
    ["has an endless body", (socket) => flood(socket, `${head}content-length: 9e9\r\n\r\n`), null],
    ["never ends", (socket) => void socket.write(`${head}content-length: 9\r\n\r\nabc`), null],
    [
      "is cut off in its body",
      (socket) => void socket.end(`${head}content-length: 9\r\n\r\nabc`),
      null,
    ],
  ];
  for (const [name, answer, failed] of cases) {
    test(name, async () => {
      const { address } = receiveBytes(answer);
      const result = await emit(address).deliver(emissions(1), never);
      if (failed === null) return expect(result).toEqual({ delivered: 1, fault: null });
      const message = `http://${address}/ did not answer (${failed})`;
      expect(result).toEqual({ delivered: 0, fault: { message, reached: false } });
    });
  }
});

test("an endless answer is cut off long before its time is up", async () => {
  const head = "HTTP/1.1 200 OK\r\ncontent-length: 9e9\r\n\r\n";
  const { address } = receiveBytes((socket) => flood(socket, head));
  const bounds = { ...hasty, plugin_request_ms: 600_000 };
  expect(await emit(address, {}, bounds).deliver(emissions(1), never)).toMatchObject({
    delivered: 1,
  });
});

/** Writes what a slow receiver would. */
function drip(socket: Socket<undefined>, head: string, text: string): void {
  socket.write(head);
  const timer = setInterval(() => (socket.readyState > 0 ? socket.write(text) : stop()), 20);
  const stop = () => clearInterval(timer);
}

function flood(socket: Socket<undefined>, head: string): void {
  drip(socket, head.replace("9e9", "9000000000"), "x".repeat(50_000));
}

test("a receiver that closes after each answer gets each event once", async () => {
  let answers = 0;
  const receiver = receiveBytes((socket) => {
    answers++;
    socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  });
  expect(await deliverAll(emit(receiver.address), emissions(10), { attempts: 0 })).toEqual([]);
  expect([answers, receiver.connections()]).toEqual([10, 10]);
});

test("a kept connection that is closed instead of answered is tried once more", async () => {
  const receiver = receiveBytes((socket, connection) => {
    if (connection === 1 && used++ === 1) socket.terminate();
    else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  });
  let used = 0;
  expect(await deliverAll(emit(receiver.address), emissions(3), { attempts: 0 })).toEqual([]);
  expect(receiver.connections()).toBe(2);
});

test("calls at a time are as many as there are lanes, and share as many connections", async () => {
  let running = 0;
  let most = 0;
  const { address, seen } = receive(async () => {
    most = Math.max(most, ++running);
    await new Promise((done) => setImmediate(done));
    running--;
    return good();
  });
  const emitter = emit(address);
  const calls = Array.from({ length: 40 }, (_, index) =>
    emitter.deliver(emissions(3, { first: index * 3 }), never),
  );
  for (const { delivered } of await Promise.all(calls)) expect(delivered).toBe(3);
  expect(seen).toHaveLength(120);
  expect(most).toBeLessThanOrEqual(hasty.plugin_http_lanes);
});

describe("waiting ends at once", () => {
  test("by the signal", async () => {
    const stop = new AbortController();
    const { address } = receiveBytes(() => stop.abort());
    const emitter = emit(address);
    expect(await emitter.deliver(emissions(2), stop.signal)).toEqual({
      delivered: 0,
      fault: { message: `http://${address}/ did not answer (ABORT_ERR)`, reached: false },
    });
  });
  test("by closing", async () => {
    const { address } = receiveBytes(() => void emitter.close());
    const emitter = emit(address);
    expect(await emitter.deliver(emissions(1), never)).toMatchObject({ delivered: 0 });
  });
});

test("a header that HTTP cannot carry fails the delivery, and does not show", async () => {
  const { address } = receive();
  const headers = { "x-key": "hidden\r\nx-other: 1" };
  expect(await emit(address, { headers }).deliver(emissions(1), never)).toEqual({
    delivered: 0,
    fault: { message: `http://${address}/ did not answer (ERR_INVALID_REQUEST)`, reached: false },
  });
});

describe("a check asks with HEAD and the configured headers", () => {
  for (const status of [200, 204, 405, 501]) {
    test(`${status} is an answer of somebody who is there`, async () => {
      const { address, seen } = receive(() => new Response(null, { status }));
      await emit(address, { headers: { "x-team": "a" } }).check(never);
      expect(seen[0]).toMatchObject({ method: "HEAD", body: "" });
      expect(seen[0]?.headers.get("x-team")).toBe("a");
    });
  }
  for (const [status, words] of [
    [302, "302 Found, points to http://x.invalid/y"],
    [404, "404 Not Found"],
    [500, "500 Internal Server Error"],
  ] as const) {
    test(`${status} is not`, async () => {
      const headers = { location: "http://x.invalid/y?key=hidden" };
      const { address } = receive(
        () => new Response(null, { status, headers: status === 302 ? headers : {} }),
      );
      await expect(emit(address).check(never)).rejects.toMatchObject({
        code: "unavailable",
        message: `http plugin readiness check failed (${words}) at http://${address}/`,
      });
    });
  }
});
