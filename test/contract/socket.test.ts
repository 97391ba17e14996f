// The control socket: whatever comes is answered or turned away, and the next client finds the
// socket as it was.

import type { Socket } from "bun";
import { afterEach, describe, expect, test } from "bun:test";
import { encodeRequest, framed, hex, list, struct, words } from "../support/capnp.ts";
import { until } from "../support/port.ts";
import { client, endAll, gate, isFine, start, type Started } from "../support/socket-server.ts";

afterEach(endAll);

describe("a connection", () => {
  test("carries one request after the other, each answered by itself", async () => {
    const socket = start();
    const { ask } = await client(socket);
    for (const word of ["a", "b", "é😀"]) {
      expect(await ask([word, ""], "good")).toEqual({ exit: 0, stdout: `${word} `, stderr: "" });
    }
    expect(socket.figures()).toMatchObject({ socket_connections: 1, socket_requests: 3 });
  });

  test("may bring its request in any pieces", async () => {
    const { send, next } = await client(start());
    const bytes = encodeRequest(["cut"], "good");
    for (const byte of bytes) send(Uint8Array.of(byte));
    for (let at = 0; at <= bytes.length; at++) {
      send(bytes.subarray(0, at));
      send(bytes.subarray(at));
    }
    for (let count = 0; count < bytes.length + 2; count++) {
      expect((await next()).stdout).toBe("cut");
    }
  });

  test("may be half closed before it is answered, and ends then", async () => {
    const held = gate();
    const { send, end, next, closed } = await client(start({ run: held.run }));
    send(encodeRequest(["x"], "good"));
    end();
    await until(() => held.signals.length === 1);
    held.open();
    expect((await next()).stdout).toBe("done");
    await closed;
    expect(held.signals[0]?.aborted).toBe(false);
  });

  test("that is gone takes its command along", async () => {
    const held = gate();
    const socket = start({ run: held.run });
    const { send, reset } = await client(socket);
    send(encodeRequest(["x"], "good"));
    await until(() => held.signals.length === 1);
    reset();
    await until(() => held.signals[0]?.aborted === true);
    held.open();
    await until(() => socket.figures()["socket_requests_running"] === 0);
  });

  test("has one command at a time; what it sends on waits, and no more than a little of it", async () => {
    const held = gate();
    const socket = start({ run: held.run });
    const { send, next } = await client(socket);
    const many = Array.from({ length: 2_000 }, () => encodeRequest(["x"], "good"));
    send(new Uint8Array(Buffer.concat(many)));
    await until(() => held.signals.length === 1);
    await isBusy(socket);
    expect(held.signals.length).toBe(1);
    held.open();
    for (let count = 0; count < many.length; count++) await next();
    expect(held.signals.length).toBe(many.length);
  });
});

test("requests that come faster than they are answered wait with their sender", async () => {
  const socket = start();
  const request = framed(words(0n));
  const piece = Buffer.concat(Array.from({ length: (1 << 20) / request.length }, () => request));
  let sent_bytes = 0;
  const write = (to: Socket) => {
    for (let taken = -1; taken !== 0; sent_bytes += taken) {
      taken = Math.max(0, to.write(piece.subarray(sent_bytes % piece.length)));
    }
  };
  const sender = await Bun.connect({
    ...{ hostname: "127.0.0.1", port: socket.port },
    socket: { open: write, drain: write, data: () => {}, error: () => {} },
  });
  await until(() => Number(socket.figures()["socket_requests"]) >= 400);
  // What the system keeps for the two sockets, and a little; 400 turns could bring 200 MiB.
  expect(sent_bytes).toBeLessThan(24 << 20);
  await isFine(socket);
  sender.terminate();
});

/** Somebody else has been answered meanwhile. */
async function isBusy(socket: Started): Promise<void> {
  expect((await (await client(socket)).ask(["x"])).exit).toBe(5);
}

describe("without a token that holds", () => {
  test.each([
    [undefined, "error: the request carries no token (unauthenticated)\n"],
    ["", "error: the request carries no token (unauthenticated)\n"],
    ["bad", "error: unauthorized (unauthenticated)\n"],
    ["good ", "error: unauthorized (unauthenticated)\n"],
  ])("(%j) nothing runs, and that is said", async (token, stderr) => {
    const socket = start();
    expect(await (await client(socket)).ask(["x"], token)).toEqual({
      ...{ exit: 5, stdout: "", stderr },
    });
    expect(socket.asked).toEqual([]);
    expect(socket.figures()).toMatchObject({ socket_requests: 1, socket_requests_refused: 1 });
  });

  test("it is said as JSON to whoever asks for that, but not behind --", async () => {
    const { ask } = await client(start());
    const { stderr } = await ask(["status", "--json"], "bad");
    expect(JSON.parse(stderr)).toEqual({
      ...{ message: "unauthorized", code: "unauthenticated", details: {} },
    });
    expect((await ask(["x", "--", "--json"], "bad")).stderr).toStartWith("error: ");
  });
});

test("a defect is told to the log alone", async () => {
  const fault = new Error("secret");
  const socket = start({ run: () => Promise.reject(fault) });
  const { ask } = await client(socket);
  expect(await ask(["x"], "good")).toMatchObject({ exit: 1, stdout: "" });
  expect((await ask(["x"], "good")).stderr).not.toContain("secret");
  expect(socket.failures).toEqual([fault, fault]);
});

describe("who is no client", () => {
  const hello = hex(
    "0000000007000000 0000000001000100 0100000000000000 0100000002010000 0001020304050607 " +
      "08090a0b0c0d0e0f 1011121314151617 18191a1b1c1d1e1f",
  );
  test.each<[string, Uint8Array]>([
    ["another node", hello],
    ["a browser", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["a client of TLS", hex("16030100c8010000c40303")],
    ["a count that kills processes", words(0x7ffffffen)],
    ["512 segments", words(511n)],
    ["no segments", words(0xffffffffn)],
    ["a root that is a list", framed(words(list(0, 2, 0)))],
    ["a root out of its message", framed(words(struct(7, 7, 7)))],
    ["a list of numbers", framed(words(struct(0, 0, 1), list(0, 4, 0)))],
  ])("%s is turned away without an answer, and counted", async (_, bytes) => {
    const socket = start();
    const stranger = await client(socket);
    stranger.send(bytes);
    await stranger.closed;
    await expect(stranger.next()).rejects.toThrow("closed with 0 bytes");
    expect(socket.figures()).toMatchObject({ socket_strangers: 1, socket_requests: 0 });
    expect(socket.lines.filter((line) => line.includes("no request for a command"))).toHaveLength(
      1,
    );
    await isFine(socket);
  });

  test("a crowd of strangers is one line of the log a second", async () => {
    const socket = start();
    for (let count = 0; count < 10; count++) {
      const stranger = await client(socket);
      stranger.send(words(511n));
      await stranger.closed;
      stranger.reset();
    }
    expect(socket.figures()["socket_strangers"]).toBe(10);
    expect(socket.lines.length).toBeLessThan(10);
  });

  test("half a message is no message", async () => {
    const socket = start();
    const stranger = await client(socket);
    stranger.send(encodeRequest(["x"], "good").subarray(0, 20));
    stranger.end();
    await stranger.closed;
    expect(socket.figures()["socket_strangers"]).toBe(1);
  });
});

describe("a request that cannot be run", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["too many words", encodeRequest(["1", "2", "3", "4", "5", "6"], "good"), /at most 5 arg/],
    [
      "words in a circle",
      framed(words(struct(0, 0, 1), list(-1, 6, 1))),
      /^error: the message is broken: .* \(invalid_argument\)\n$/,
    ],
    [
      "what is no UTF-8",
      framed(words(struct(0, 0, 1), list(0, 6, 1), list(0, 2, 2), 0xffn)),
      /not UTF-8/,
    ],
  ])("because of %s is answered, and the next one runs", async (_, bytes, stderr) => {
    const { send, next, ask } = await client(start());
    send(bytes);
    const answer = await next();
    expect([answer.exit, answer.stdout]).toEqual([2, ""]);
    expect(answer.stderr).toMatch(stderr);
    expect((await ask(["go", "on"], "good")).stdout).toBe("go on");
  });

  test("because of its size is answered, also to who goes on sending it", async () => {
    const socket = start();
    const { send, next, closed } = await client(socket);
    send(words(BigInt(1 << 20) << 32n));
    send(new Uint8Array(8 << 20));
    expect((await next()).exit).toBe(6);
    await closed;
  });

  test("because of its size is answered before it is sent", async () => {
    const socket = start();
    const { send, next, closed } = await client(socket);
    send(words(BigInt((1 << 17) + 1) << 32n));
    expect(await next()).toMatchObject({ exit: 6, stdout: "" });
    await closed;
    await isFine(socket);
  });

  test("because the stream is lost is answered, and ends the connection", async () => {
    const socket = start();
    const { ask, send, next, closed } = await client(socket);
    await ask(["x"], "good");
    send(words(511n));
    expect((await next()).exit).toBe(2);
    await closed;
    await isFine(socket);
  });

  test("as large as may be runs", async () => {
    const { ask } = await client(start());
    const word = "x".repeat((1 << 20) - 100);
    expect((await ask([word], "good")).stdout).toBe(word);
  });
});
