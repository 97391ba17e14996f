// Random bytes and random cuts at the shared port: however a request or a preface is split on its
// way, the answer is the one that it gets whole and without the port in between; whatever else
// comes, the connection ends and the server is well.

import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { prefaceText } from "../support/port.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));

let server: TestServer;
/** The same without a port that is shared: Bun listens itself. */
let direct: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  direct = await startTestServer({ config: { api: { rest: true, graphql: true, grpc: false } } });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await direct[Symbol.asyncDispose]();
});

/** Everything that comes back until the other side closes, or until it holds what is waited for. */
async function answerTo(
  port: number,
  pieces: readonly string[],
  isWhole: (received: string) => boolean,
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  const finish = () => resolve(received);
  const socket = await Bun.connect({
    ...{ hostname: "127.0.0.1", port },
    socket: {
      data(_, piece) {
        received += piece.toString("latin1");
        if (isWhole(received)) finish();
      },
      ...{ end: finish, close: finish, error: finish },
    },
  });
  socket.setNoDelay(true);
  for (const piece of pieces) {
    socket.write(Buffer.from(piece, "latin1"));
    socket.flush();
    // A turn of the loop for each, so that they arrive apart.
    await new Promise((next) => setImmediate(next));
  }
  const answer = await promise;
  socket.terminate();
  return answer;
}

/** The pieces of a text, cut at these parts of its length. */
function cut(text: string, places: readonly number[]): string[] {
  const at = [0, ...places.map((part) => Math.floor(part * text.length)), text.length];
  const sorted = at.toSorted((left, right) => left - right);
  return sorted.slice(1).map((end, index) => text.slice(sorted[index], end));
}

const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

/** What differs from answer to answer. */
const settled = (answer: string): string =>
  answer.replaceAll(/(?:X-Request-Id|Date): [^\r]*/gi, "").replaceAll(server.token, "token");

const kinds = {
  health: () => requestText("GET", "/health"),
  "no token": () => requestText("GET", "/v1/events"),
  events: (token: string) => requestText("GET", "/v1/events?take=3", { token }),
  "bad json": (token: string) => requestText("POST", "/v1/events", { token, body: "{" }),
  "unknown member": (token: string) =>
    requestText("POST", "/v1/events", { token, body: '{"x":1}' }),
  "no path": (token: string) => requestText("PRI", "/nope", { token }),
  post: (token: string) => requestText("POST", "/nope", { token, body: "x".repeat(70_000) }),
  "no host": () => "GET /health HTTP/1.1\r\n\r\n",
  "no version": () => "GET /health\r\n\r\n",
  "half a preface": () => `${prefaceText.slice(0, 14)}\r\nHost: x\r\n\r\n`,
};
const kind = fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[]));

/** Head and body of an answer that says how long it is. */
function isAnswer(received: string): boolean {
  const head = received.indexOf("\r\n\r\n");
  const length = /content-length: (\d+)/i.exec(received)?.[1];
  return head !== -1 && received.length >= head + 4 + Number(length ?? 0);
}

test(`a request cut anywhere is answered as it is whole and directly (SEED=${seed})`, async () => {
  const answered = new Set<string>();
  await fc.assert(
    fc.asyncProperty(kind, places, async (name, at) => {
      const write = kinds[name];
      const whole = await answerTo(direct.port, [write(direct.token)], isAnswer);
      const pieces = cut(write(server.token), at);
      expect(settled(await answerTo(server.port, pieces, isAnswer))).toBe(settled(whole));
      answered.add(whole.slice(0, 12));
    }),
    { seed, numRuns: 400, endOnFailure: true },
  );
  expect(answered.size).toBeGreaterThanOrEqual(4);
}, 60_000);

/** SETTINGS, empty; then a PING, which is answered by one with the same eight bytes. */
const ping = "\0\0\0\u0004\0\0\0\0\0\0\0\u0008\u0006\0\0\0\0\0abcdefgh";

test(`a preface cut anywhere begins HTTP/2 (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(places, async (at) => {
      const pong = (received: string) => received.includes("\u0006\u0001\0\0\0\0abcdefgh");
      const answer = await answerTo(server.port, cut(prefaceText + ping, at), pong);
      expect(pong(answer)).toBe(true);
    }),
    { seed, numRuns: 100, endOnFailure: true },
  );
}, 60_000);

test(`whatever comes first, the connection ends and the server is well (SEED=${seed})`, async () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc
      .tuple(fc.nat({ max: 24 }), fc.uint8Array({ maxLength: 32 }))
      .map(([at, bytes]) => prefaceText.slice(0, at) + Buffer.from(bytes).toString("latin1")),
    fc
      .uint8Array({ maxLength: 64 })
      .map((bytes) => prefaceText + Buffer.from(bytes).toString("latin1")),
  );
  await fc.assert(
    fc.asyncProperty(anything, places, async (text, at) => {
      // Ends by itself: what waits for more bytes has had them all when its client has left.
      const connection = await connectRaw(server.port);
      for (const piece of cut(text, at)) connection.write(Buffer.from(piece, "latin1"));
      connection.end();
      await connection.closed;
    }),
    { seed, numRuns: 300, endOnFailure: true },
  );
  let open = Infinity;
  while (open > 1) open = (await server.ask("GET", "/admin/status")).json.figures.connections;
  expect(server.lines.some((line) => / error /.test(line))).toBe(false);
}, 60_000);
