// TLS at the shared port, in front of servers of the test's own: handshakes that take too long, are
// cut in pieces or are none at all; every byte passes, in both directions, and so does each end.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import {
  load,
  openTestPort,
  prefaceText,
  textOf,
  until,
  write,
  type Peer,
  type TestPort,
} from "../support/port.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair } from "../support/tls.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));

let dir: TempDir;
let pair: { cert: string; key: string };
beforeAll(async () => {
  dir = tempDir();
  const paths = await makePair(dir.path, "port");
  pair = { cert: readFileSync(paths.cert, "utf8"), key: readFileSync(paths.key, "utf8") };
});
afterAll(() => dir[Symbol.dispose]());

const openTlsPort = (bounds: Parameters<typeof openTestPort>[0] = {}): TestPort =>
  openTestPort(bounds, "sockets", { pair: () => pair, alpn: ["http/1.1", "h2"] });

function shake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connectTls({ host: "localhost", port, ca: pair.cert, ...options }, () =>
    resolve(socket),
  );
  socket.on("error", reject);
  return promise;
}

/** What a client of TLS says first, caught on its way. */
async function helloOf(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const server = createServer((socket) =>
    socket.once("data", (piece) => resolve(Buffer.from(piece))),
  );
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ host: "127.0.0.1", port });
  client.on("error", () => {});
  const hello = await promise;
  client.destroy();
  server.close();
  return hello;
}

test.each([
  ["nothing", () => ""],
  ["the first bytes of a handshake", (hello: Buffer) => hello.subarray(0, 3)],
  ["all but the last byte of it", (hello: Buffer) => hello.subarray(0, -1)],
  ["a whole hello, and nothing after it", (hello: Buffer) => hello],
] as const)("who says %s is closed when his time is over", async (_, partOf) => {
  using port = openTlsPort({ preface_ms: 100 });
  const hello = await helloOf();
  const client = await port.connect();
  write(client, partOf(hello));
  await until(() => client.closed || client.ended);
  await until(() => port.front.figures().connections === 0);
  expect([port.http1.length, port.http2.length]).toEqual([0, 0]);
});

test("a handshake and then silence, or half a preface, ends as well", async () => {
  // Enough for a handshake on a busy machine, which must be over by then.
  using port = openTlsPort({ preface_ms: 1_500 });
  const cases = [
    { offered: [], said: "" },
    { offered: ["http/1.1"], said: "" },
    { offered: ["h2"], said: "" },
    { offered: ["h2"], said: prefaceText.slice(0, 12) },
    { offered: [], said: prefaceText.slice(0, -1) },
  ];
  const ends = cases.map(async ({ offered, said }) => {
    const list = offered.length === 0 ? {} : { ALPNProtocols: offered };
    const socket = await shake(port.front.port, list);
    const ended = new Promise((resolve) => socket.once("close", resolve));
    socket.on("end", () => socket.destroy());
    socket.resume();
    if (said !== "") socket.write(said);
    await ended;
  });
  await until(() => port.front.figures().connections === cases.length);
  await Promise.all(ends);
  await until(() => port.front.figures().connections === 0);
  expect(port.front.figures().tls_handshakes_failed).toBe(0);
  expect([port.http1.length, port.http2.length]).toEqual([0, 0]);
});

test.each([
  ["h2", prefaceText, "http2"],
  ["http/1.1", "G", "http1"],
  // Who has agreed to one and speaks the other learns it from the server that he asked for.
  ["http/1.1", prefaceText, "http1"],
  ["h2", "GET / HTTP/1.1\r\n\r\n", "http2"],
] as const)("ALPN decides: %s and %j", async (offered, text, name) => {
  using port = openTlsPort();
  const socket = await shake(port.front.port, { ALPNProtocols: [offered] });
  socket.write(text);
  await until(() => port[name][0]?.bytes === text.length);
  expect(textOf(port[name][0] as Peer)).toBe(text);
  socket.destroy();
});

test("a handshake counts as a connection, and one too many is closed at once", async () => {
  using port = openTlsPort({ connections_max: 3 });
  const silent = await Promise.all([port.connect(), port.connect(), port.connect()]);
  await until(() => port.front.figures().connections === 3);
  const fourth = await port.connect();
  await until(() => fourth.closed || fourth.ended);
  expect(port.front.figures()).toMatchObject({ connections: 3, connections_refused: 1 });
  for (const each of silent) each.socket.terminate();
  await until(() => port.front.figures().connections === 0);
  const socket = await shake(port.front.port);
  socket.destroy();
});

test(`garbage is closed, and whoever comes next is served (SEED=${seed})`, async () => {
  const bytesOf = (index: number, length: number): Buffer =>
    Buffer.concat(
      Array.from({ length: Math.ceil(length / 32) }, (_, block) =>
        createHash("sha256").update(`${seed} ${index} ${block}`).digest(),
      ),
    ).subarray(0, length);
  const hello = await helloOf();
  using port = openTlsPort({ preface_ms: 1_500 });
  const clients = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const client = await port.connect();
      const noise = bytesOf(index, 1 + index * 7);
      const damaged = Buffer.from(hello);
      damaged[noise.readUInt8(0) % damaged.length] = index;
      write(client, index % 2 === 0 ? noise : Buffer.concat([damaged, noise]));
      return client;
    }),
  );
  await until(() => clients.every(({ closed, ended }) => closed || ended));
  await until(() => port.front.figures().connections === 0);
  expect([port.http1.length, port.http2.length]).toEqual([0, 0]);
  expect(port.front.figures().tls_handshakes_failed).toBeGreaterThan(0);
  const socket = await shake(port.front.port);
  socket.write("GET");
  await until(() => port.http1[0]?.bytes === 3);
  socket.destroy();
});

test("a handshake byte by byte is a handshake", async () => {
  using port = openTlsPort();
  const toFront: Socket[] = [];
  const relay = createServer((client) => {
    const front = connectTcp({ host: "127.0.0.1", port: port.front.port, noDelay: true });
    toFront.push(front);
    let last = Promise.resolve();
    client.on("data", (piece) => {
      for (const byte of Buffer.from(piece)) {
        last = last.then(() => {
          front.write(Buffer.of(byte));
          return new Promise<void>((resolve) => setImmediate(resolve));
        });
      }
    });
    front.on("data", (piece) => client.write(piece));
    front.on("error", () => client.destroy());
    client.on("error", () => front.destroy());
  });
  await new Promise<void>((done) => relay.listen(0, "127.0.0.1", done));
  const socket = await shake((relay.address() as AddressInfo).port, { ALPNProtocols: ["h2"] });
  socket.write(prefaceText);
  await until(() => port.http2[0]?.bytes === prefaceText.length);
  socket.destroy();
  for (const front of toFront) front.destroy();
  relay.close();
});

test("megabytes pass in both directions, in order, to one who is slow", async () => {
  using port = openTlsPort();
  const socket = await shake(port.front.port);
  const sent = randomBytes(8 << 20);
  socket.write("G");
  await until(() => port.http1.length === 1);
  const server = port.http1[0] as Peer;
  // What the server says waits, bounded, for a client that does not listen yet.
  socket.pause();
  load(server, sent);
  socket.write(sent);
  await until(() => server.bytes === sent.length + 1);
  expect(Buffer.concat(server.pieces).subarray(1).equals(sent)).toBe(true);
  expect(server.unsent.length).toBeGreaterThan(0);
  const received: Buffer[] = [];
  socket.on("data", (piece) => received.push(Buffer.from(piece)));
  socket.resume();
  await until(() => received.reduce((sum, { length }) => sum + length, 0) === sent.length);
  expect(Buffer.concat(received).equals(sent)).toBe(true);
  socket.destroy();
});

test("who has asked and says no more gets his answer, and each end is passed on", async () => {
  using port = openTlsPort();
  const socket = await shake(port.front.port, { allowHalfOpen: true } as ConnectionOptions);
  const received: Buffer[] = [];
  socket.on("data", (piece) => received.push(Buffer.from(piece)));
  const ended = new Promise((resolve) => socket.once("end", resolve));
  socket.end("GET / HTTP/1.1\r\n\r\n");
  await until(() => port.http1[0]?.ended === true);
  const server = port.http1[0] as Peer;
  write(server, "the answer");
  server.socket.end();
  await ended;
  expect(Buffer.concat(received).toString()).toBe("the answer");
  await until(() => port.front.figures().connections === 0);
});

test("a client that vanishes ends the connection to its server", async () => {
  using port = openTlsPort();
  const socket = await shake(port.front.port);
  socket.write("G");
  await until(() => port.http1.length === 1);
  socket.destroy();
  await until(() => port.http1[0]?.ended === true || port.http1[0]?.closed === true);
});
