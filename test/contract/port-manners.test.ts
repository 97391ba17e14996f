// The shared port between clients and servers that behave badly: every byte arrives, in order,
// nobody waits for a stranger, memory and descriptors have a bound and are given back. Behind it
// are servers of the test's own.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { limits } from "../../src/model/limits.ts";
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

const hello = "GET / HTTP/1.1\r\n\r\n";

test.each([
  ["HTTP/1.1", hello, "http1"],
  ["a method that begins like the preface", "PRIVATE / HTTP/1.1\r\n", "http1"],
  ["the method of the preface with HTTP/1.1", "PRI * HTTP/1.1\r\n\r\n", "http1"],
  ["a preface with one wrong byte, the last", `${prefaceText.slice(0, -1)}\r`, "http1"],
  ["no text at all", "\u0000\u0001\u0002", "http1"],
  ["the beginning of TLS", "\u0016\u0003\u0001", "http1"],
  ["the preface", prefaceText, "http2"],
  ["the preface and frames behind it", `${prefaceText}\0\0\0\u0004\0\0\0\0\0`, "http2"],
] as const)("%s goes to the right server, in one piece or byte by byte", async (_, text, name) => {
  using port = openTestPort();
  const { server } = await port.joined(text);
  expect([port[name].includes(server), textOf(server)]).toEqual([true, text]);

  const slow = await port.connect();
  slow.socket.setNoDelay(true);
  for (const byte of text) {
    write(slow, byte);
    // A turn of the loop for each, so that they arrive one by one.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => port[name].length === 2 && port[name][1]?.bytes === text.length);
  expect(textOf(port[name][1] ?? slow)).toBe(text);
  expect(port.http1.length + port.http2.length).toBe(2);
});

test("servers behind it may listen on loopback, as they do where there are no sockets", async () => {
  using port = openTestPort({}, "loopback");
  for (const [text, peers] of [
    [hello, port.http1],
    [prefaceText, port.http2],
  ] as const) {
    const { client, server } = await port.joined(text);
    expect([peers.includes(server), textOf(server)]).toEqual([true, text]);
    write(server, "answer");
    server.socket.end();
    await until(() => client.ended || client.closed);
    expect(textOf(client)).toBe("answer");
  }
});

test("who does not say what he speaks is ended in time, however busily he does not say it", async () => {
  using port = openTestPort({ preface_ms: 100 });
  const { client, server } = await port.joined(hello);
  const [silent, half, busy] = [await port.connect(), await port.connect(), await port.connect()];
  write(half, prefaceText.slice(0, -1));
  let sent = 0;
  const drip = setInterval(() => write(busy, prefaceText.charAt(sent++)), 20);
  await until(() => [silent, half, busy].every(({ ended, closed }) => ended || closed));
  clearInterval(drip);
  expect([sent < 24, port.http2.length]).toEqual([true, 0]);
  await until(() => port.front.figures().connections === 1);
  write(server, "still here");
  await until(() => textOf(client) === "still here");
});

test("a client that ends before it has said anything leaves nothing behind", async () => {
  using port = openTestPort();
  const client = await port.connect();
  write(client, "P");
  client.socket.shutdown();
  await until(() => client.ended || client.closed);
  expect([port.http1.length, port.http2.length]).toEqual([0, 0]);
  await until(() => port.front.figures().connections === 0);
});

test("connections have a bound; those beyond are closed, counted and told of once", async () => {
  using port = openTestPort({ connections_max: 3 });
  const { client, server } = await port.joined(hello);
  const others = [await port.connect(), await port.connect()];
  for (let count = 1; count <= 20; count++) {
    const refused = await port.connect();
    await until(() => refused.closed || refused.ended);
    expect(port.front.figures()).toEqual({ connections: 3, connections_refused: count });
  }
  const told = port.lines.filter((line) => line.includes("connection refused"));
  expect(told).toHaveLength(1);
  expect(told[0]).toContain("address=127.0.0.1 limit=3 refused=1");
  write(server, "unharmed");
  await until(() => textOf(client) === "unharmed");

  others[0]?.socket.terminate();
  await until(() => port.front.figures().connections === 2);
  await port.joined(hello);
  expect(port.front.figures()).toEqual({ connections: 3, connections_refused: 20 });
});

test("a server that is gone is an error once, and then a line a second at most", async () => {
  using port = openTestPort();
  port.stopServers();
  for (let count = 1; count <= 20; count++) {
    const client = await port.connect();
    write(client, hello);
    await until(() => client.closed || client.ended);
  }
  const told = port.lines.filter((line) => line.includes("behind the port"));
  expect(told).toHaveLength(2);
  expect(told[0]).toContain(" error the socket behind the port is gone");
  expect(told[1]).toContain(" warn no server behind the port ");
  expect(port.front.figures().connections).toBe(0);
});

test("a client that has sent everything still gets its answer", async () => {
  using port = openTestPort();
  // Once while it is joined already, once with its end right behind the request.
  const { client, server } = await port.joined(prefaceText);
  client.socket.shutdown();
  const hasty = await port.connect();
  write(hasty, hello);
  hasty.socket.shutdown();
  await until(() => port.http1.length === 1 && port.http1[0]?.ended === true && server.ended);
  const asked = port.http1[0];
  if (asked === undefined) throw new Error("no connection");
  expect(textOf(asked)).toBe(hello);
  for (const peer of [server, asked]) {
    write(peer, "the answer");
    peer.socket.end();
  }
  await until(() => [client, hasty].every(({ ended, closed }) => ended || closed));
  expect([client, hasty].map(textOf)).toEqual(["the answer", "the answer"]);
  await until(() => port.front.figures().connections === 0);
});

/** So many answers of somebody else go by: he is not held up, and whatever else goes on settles. */
async function answers(port: TestPort, wanted: number): Promise<void> {
  const { client, server } = await port.joined(hello);
  for (let count = 1; count <= wanted; count++) {
    write(server, "x");
    await until(() => client.bytes === count);
  }
}

const large = 100_000_000;
/** Every position has bytes of its own, so that nothing can be lost, doubled or swapped unseen. */
const numbered = (): Uint8Array =>
  new Uint8Array(Uint32Array.from({ length: large / 4 }, (_, index) => index).buffer);
/** What the kernel may hold for four sockets, and a piece that was being read; measured 7 MB. */
const kernel_bytes_max = 24_000_000;

test.each(["answer", "upload"] as const)(
  "100 MB of %s to somebody who does not read stay with the sender, and then all arrive",
  async (direction) => {
    using port = openTestPort();
    const { client, server } = await port.joined(hello);
    const [from, to] = direction === "answer" ? [server, client] : [client, server];
    const before = to.bytes;
    to.socket.pause();
    const bytes = numbered();
    const rss = process.memoryUsage.rss();
    load(from, bytes);
    await answers(port, 1_000);
    expect(large - from.unsent.length).toBeLessThan(limits.splice_bytes_max + kernel_bytes_max);
    expect(process.memoryUsage.rss() - rss).toBeLessThan(large);
    to.socket.resume();
    await until(() => to.bytes - before === large);
    const received = Buffer.concat(to.pieces).subarray(before);
    expect(received.equals(bytes)).toBe(true);
  },
  30_000,
);

test("a slow reader gets all that was sent before the server ended", async () => {
  using port = openTestPort();
  const { client, server } = await port.joined(hello);
  client.socket.pause();
  const bytes = numbered().subarray(0, 20_000_000);
  load(server, bytes);
  const drained = until(() => server.unsent.length === 0).then(() => server.socket.end());
  client.socket.resume();
  await drained;
  await until(() => client.ended || client.closed);
  expect(Buffer.concat(client.pieces).equals(bytes)).toBe(true);
});

test("who takes nothing of an answer whose server has ended is given up", async () => {
  // Bun looks at such times every four seconds.
  using port = openTestPort({ stall_seconds_max: 1 });
  const { client, server } = await port.joined(hello);
  client.socket.pause();
  load(server, numbered());
  await answers(port, 100);
  expect(server.unsent.length).toBeGreaterThan(0);
  server.unsent = new Uint8Array();
  server.socket.end();
  await answers(port, 100);
  // The two of `answers` are still there.
  expect(port.front.figures().connections).toBe(3);
  await until(() => port.front.figures().connections === 2);
}, 20_000);

test.each(["terminate", "end"] as const)(
  "two hundred clients that vanish at once (%s) take their connections with them",
  async (how) => {
    using port = openTestPort();
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    const clients: Peer[] = [];
    for (let count = 0; count < 200; count++) clients.push(await port.connect());
    // A quarter has said nothing, a quarter half a preface, half of them wait for an answer.
    clients.forEach((client, index) => {
      if (index % 4 === 1) write(client, prefaceText.slice(0, 9));
      if (index % 4 > 1) write(client, index % 4 === 2 ? hello : prefaceText);
    });
    await until(() => port.http1.length === 50 && port.http2.length === 50);
    for (const client of clients) client.socket[how]();
    // Servers end with their clients; these do so when they are told.
    await until(() => [...port.http1, ...port.http2].every((peer) => peer.ended || peer.closed));
    for (const peer of [...port.http1, ...port.http2]) peer.socket.end();
    await until(() => port.front.figures().connections === 0 && descriptors() <= before);
    const { client, server } = await port.joined(hello);
    write(server, "well");
    await until(() => textOf(client) === "well");
  },
);

test("a client that vanishes while its bytes wait is noticed", async () => {
  using port = openTestPort();
  const { client, server } = await port.joined(hello);
  server.socket.pause();
  load(client, new Uint8Array(50_000_000));
  await answers(port, 100);
  client.socket.terminate();
  await until(() => port.front.figures().connections === 1);
});

test("a server that vanishes ends its clients, and one that is not there any more does too", async () => {
  using port = openTestPort();
  const { client, server } = await port.joined(prefaceText);
  server.socket.terminate();
  await until(() => client.ended || client.closed);
  port.stopServers();
  const late = await port.connect();
  write(late, hello);
  await until(() => late.ended || late.closed);
  expect(port.lines.some((line) => line.includes("no server behind the port"))).toBe(true);
  await until(() => port.front.figures().connections === 0);
});

test("closing ends who asked nothing, lets the others finish, and takes nobody new", async () => {
  using port = openTestPort();
  const { client, server } = await port.joined(hello);
  const silent = await port.connect();
  let over = false;
  const closed = port.front.close().then(() => (over = true));
  await until(() => silent.ended || silent.closed);
  expect(port.connect()).rejects.toThrow();
  write(server, "the last");
  await until(() => textOf(client) === "the last");
  expect(over).toBe(false);
  server.socket.end();
  await closed;
  expect(client.ended || client.closed || textOf(client) === "the last").toBe(true);
  await port.front.close();
});

test("cutting ends whoever is left", async () => {
  using port = openTestPort();
  const { client } = await port.joined(prefaceText);
  const closed = port.front.close();
  port.front.cut();
  await closed;
  await until(() => client.ended || client.closed);
});
