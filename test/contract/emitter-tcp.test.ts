// Events over TCP, against receivers of every kind on real sockets: what is reported as delivered
// was received, and what was not comes again, in order.

import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "bun:test";
import { createTcpEmitter } from "../../src/plugins/emitters/tcp.ts";
import { freePort } from "../support/free-port.ts";
import {
  deliverAll,
  emission,
  emissions,
  firstSeen,
  hasty,
  never,
  payloadMark,
} from "../support/emissions.ts";

interface Receiver {
  readonly port: number;
  readonly sockets: Socket[];
  /** Versions of the events whose lines came whole. */
  readonly seen: number[];
  readonly close: () => Promise<void>;
}

const open: { close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** `take` is told of each line, and of each new connection with null. */
async function receive(
  take: (socket: Socket, line: string | null, connection: number) => void = () => {},
  { port = 0, readsOn = false } = {},
): Promise<Receiver> {
  const sockets: Socket[] = [];
  const seen: number[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = sockets.push(socket);
    let rest = "";
    socket.setEncoding("utf8");
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    take(socket, null, connection);
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (socket.destroyed || (socket.writableEnded && !readsOn)) return;
        seen.push(JSON.parse(line).version);
        take(socket, line, connection);
      }
    });
  });
  await listen(server, port);
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  const receiver = { port: portOf(server), sockets, seen, close };
  open.push(receiver);
  return receiver;
}

const listen = (server: Server, port: number) =>
  new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

function emit(port: number, bounds = hasty) {
  const emitter = createTcpEmitter({ type: "tcp", host: "127.0.0.1", port }, bounds);
  open.push(emitter);
  return emitter;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const refused = (port: number) => `tcp 127.0.0.1:${port} cannot be connected to (ECONNREFUSED)`;

test("events are lines of JSON, all over one connection", async () => {
  const lines: string[] = [];
  const receiver = await receive((_, line) => line !== null && lines.push(line));
  const emitter = emit(receiver.port);
  const all = emissions(3_000);
  expect(await emitter.deliver(all.slice(0, 2_000), never)).toEqual({
    delivered: 2_000,
    fault: null,
  });
  expect(await deliverAll(emitter, all.slice(2_000), { attempts: 0 })).toEqual([]);
  expect(lines).toEqual(all.map(({ json }) => json));
  expect(receiver.sockets).toHaveLength(1);
});

test("large events arrive as they are, whatever the pieces", async () => {
  const lines: string[] = [];
  const receiver = await receive((_, line) => line !== null && lines.push(line));
  const large = {
    ...emission(1),
    json: JSON.stringify({ version: 1, text: "é😀".repeat(300_000) }),
  };
  expect(await deliverAll(emit(receiver.port), [large, emission(2)], { attempts: 0 })).toEqual([]);
  expect(lines).toEqual([large.json, emission(2).json]);
});

test("nobody there is told, and the events arrive once somebody is", async () => {
  const port = freePort();
  const emitter = emit(port);
  expect(await emitter.deliver(emissions(5), never)).toEqual({
    delivered: 0,
    fault: { message: refused(port), reached: false },
  });
  const receiver = await receive(() => {}, { port });
  expect(await deliverAll(emitter, emissions(5), { attempts: 0 })).toEqual([]);
  expect(receiver.seen).toEqual(upTo(5));
});

test("a receiver that dies in the middle gets everything it may not have, again", async () => {
  const receiver = await receive((socket, line, connection) => {
    if (connection === 1 && receiver.seen.length === 3) socket.resetAndDestroy();
    if (connection === 2 && line !== null) socket.resetAndDestroy();
  });
  const faults = await deliverAll(emit(receiver.port), emissions(100), { attempts: 2 });
  expect(faults).toEqual([`tcp 127.0.0.1:${receiver.port} ended the connection (ECONNRESET)`]);
  expect(receiver.seen).toEqual([1, 2, 3, 1, ...upTo(100)]);
});

test("a receiver that closes after each event gets each", async () => {
  const receiver = await receive((socket, line) => line !== null && socket.destroySoon());
  const emitter = emit(receiver.port);
  expect(await deliverAll(emitter, emissions(20), { attempts: 0 })).toEqual([]);
  expect(firstSeen(receiver.seen)).toEqual(upTo(20));
  // It was found out once; from then on each event has a connection of its own.
  expect(receiver.sockets).toHaveLength(21);
  expect(emitter.events_max).toBe(hasty.plugin_tcp_events_alone);
});

test("what a receiver did not read before it closed is never reported as delivered", async () => {
  const receiver = await receive((socket, line) => line === null && socket.destroySoon());
  for (const count of [1, 1, 3]) {
    const { delivered, fault } = await emit(receiver.port).deliver(emissions(count), never);
    expect(delivered).toBe(0);
    expect(fault).toMatchObject({ reached: false });
  }
  expect(receiver.seen).toEqual([]);
});

test("a receiver that will write no more but reads on gets everything", async () => {
  const receiver = await receive((socket, line) => line === null && socket.end(), {
    readsOn: true,
  });
  expect(await deliverAll(emit(receiver.port), emissions(5), { attempts: 0 })).toEqual([]);
  expect(firstSeen(receiver.seen)).toEqual(upTo(5));
});

test("a kept connection that ended meanwhile is replaced without a fault", async () => {
  const receiver = await receive();
  const emitter = emit(receiver.port);
  expect(await deliverAll(emitter, emissions(2), { attempts: 0 })).toEqual([]);
  const [first] = receiver.sockets;
  const ended = new Promise((done) => first?.once("close", done));
  first?.end();
  await ended;
  expect(await deliverAll(emitter, emissions(3, { first: 3 }), { attempts: 0 })).toEqual([]);
  expect(receiver.seen).toEqual(upTo(5));
  expect(receiver.sockets).toHaveLength(2);
});

test("a receiver that takes nothing is given up, and nothing counts as delivered", async () => {
  const receiver = await receive((socket) => socket.pause());
  const large = { ...emission(1), json: `"${"x".repeat(20_000_000)}"` };
  const emitter = emit(receiver.port);
  expect(await emitter.deliver([large, emission(2)], never)).toEqual({
    delivered: 0,
    fault: { message: `tcp 127.0.0.1:${receiver.port} takes nothing`, reached: false },
  });
});

test("a slow receiver gets everything in order", async () => {
  const receiver = await receive((socket, line) => {
    if (line === null || receiver.seen.length % 100 !== 0) return;
    socket.pause();
    setTimeout(() => socket.resume(), 5);
  });
  const all = emissions(2_000).map((one) => ({
    ...one,
    json: JSON.stringify({ version: one.sequence, text: "x".repeat(2_000) }),
  }));
  expect(await deliverAll(emit(receiver.port), all, { attempts: 0 })).toEqual([]);
  expect(receiver.seen).toEqual(upTo(2_000));
});

test("what a receiver writes is read and means nothing", async () => {
  const receiver = await receive((socket, line) => {
    if (line !== null) socket.write(`{"error":"no"}\0\xff${"x".repeat(1_000_000)}`);
  });
  expect(await deliverAll(emit(receiver.port), emissions(20), { attempts: 0 })).toEqual([]);
  expect(receiver.seen).toEqual(upTo(20));
});

describe("waiting ends at once", () => {
  const large = { ...emission(1), json: `"${"x".repeat(20_000_000)}"` };
  const patient = { ...hasty, plugin_stall_ms: 600_000, plugin_tcp_settle_ms: 600_000 };

  test("by the signal, while a receiver takes nothing", async () => {
    const stop = new AbortController();
    const receiver = await receive((socket) => {
      socket.pause();
      setImmediate(() => stop.abort());
    });
    const { deliver } = emit(receiver.port, patient);
    expect(await deliver([large], stop.signal)).toMatchObject({
      delivered: 0,
      fault: { reached: false },
    });
  });
  test("by the signal, while the connection is watched", async () => {
    const stop = new AbortController();
    const receiver = await receive((_, line) => line !== null && stop.abort());
    const { deliver } = emit(receiver.port, patient);
    expect(await deliver(emissions(1), stop.signal)).toMatchObject({ delivered: 0 });
    expect(receiver.seen).toEqual([1]);
  });
  test("by closing, and nothing is connected to afterwards", async () => {
    const closing = Promise.withResolvers<void>();
    const receiver = await receive((_, line) => line !== null && closing.resolve());
    const emitter = emit(receiver.port, patient);
    const delivered = emitter.deliver(emissions(1), never);
    await closing.promise;
    await emitter.close();
    expect(await delivered).toMatchObject({ delivered: 0 });
    expect(await emitter.deliver(emissions(1), never)).toMatchObject({ delivered: 0 });
    expect(receiver.sockets).toHaveLength(1);
  });
});

test("a check connects, and says why it cannot", async () => {
  const receiver = await receive();
  await emit(receiver.port).check(never);
  const port = freePort();
  await expect(emit(port).check(never)).rejects.toMatchObject({
    code: "unavailable",
    message: refused(port),
  });
});

test("no fault shows a payload", async () => {
  const receiver = await receive((socket, line) => {
    if (line !== null) socket.write(line, () => socket.resetAndDestroy());
  });
  const { fault } = await emit(receiver.port).deliver(emissions(1), never);
  expect(fault?.message).toBe(`tcp 127.0.0.1:${receiver.port} ended the connection (ECONNRESET)`);
  expect(fault?.message).not.toContain(payloadMark);
});
