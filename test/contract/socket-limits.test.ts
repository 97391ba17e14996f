// The control socket at its bounds: how many, how much, how long, and how it ends.

import { afterEach, describe, expect, test } from "bun:test";
import { overloaded } from "../../src/model/error.ts";
import type { RunCommand } from "../../src/server/commands.ts";
import { encodeRequest } from "../support/capnp.ts";
import { until } from "../support/port.ts";
import { connectSocket } from "../support/socket.ts";
import { client, endAll, gate, isFine, start } from "../support/socket-server.ts";

afterEach(endAll);

describe("at a time", () => {
  test("as many connections are taken as the bound says", async () => {
    const socket = start({ bounds: { connections_max: 3, address_connections_max: 3 } });
    const taken = await Promise.all([client(socket), client(socket), client(socket)]);
    await until(() => socket.figures()["socket_connections"] === 3);
    const refused = await client(socket);
    await refused.closed;
    expect(socket.figures()["socket_connections_refused"]).toBe(1);
    taken[0].reset();
    await until(() => socket.figures()["socket_connections"] === 2);
    await isFine(socket);
  });

  test("no address has all of them", async () => {
    const socket = start({ bounds: { connections_max: 9, address_connections_max: 2 } });
    await Promise.all([client(socket), client(socket)]);
    await until(() => socket.figures()["socket_connections"] === 2);
    await (
      await client(socket)
    ).closed;
  });

  test("as many commands run as the bound says", async () => {
    const held = gate();
    const socket = start({ run: held.run });
    const busy = await Promise.all(Array.from({ length: 4 }, () => client(socket)));
    const answers = busy.map(({ ask }) => ask(["x"], "good"));
    await until(() => held.signals.length === 4);
    const { ask } = await client(socket);
    expect(await ask(["x"], "good")).toMatchObject({ exit: 7, stdout: "" });
    held.open();
    expect((await Promise.all(answers)).map(({ stdout }) => stdout)).toEqual(Array(4).fill("done"));
    expect((await ask(["x"], "good")).exit).toBe(0);
  });

  test("large requests share what there is; small ones go on", async () => {
    const socket = start({ bounds: { requests_bytes_max: 1 << 19 } });
    const large = encodeRequest(["x".repeat(300_000)], "good");
    const first = await client(socket);
    first.send(large.subarray(0, 1_000));
    await until(() => socket.figures()["socket_large_bytes"] === large.length);
    const second = await client(socket);
    second.send(large);
    expect((await second.next()).exit).toBe(7);
    await second.closed;
    await isFine(socket);
    first.send(large.subarray(1_000));
    expect((await first.next()).stdout.length).toBe(300_000);
    expect(socket.figures()["socket_large_bytes"]).toBe(0);
  });

  test("what is reserved for a large request goes with its connection", async () => {
    const socket = start();
    const one = await client(socket);
    one.send(encodeRequest(["x".repeat(300_000)], "good").subarray(0, 1_000));
    await until(() => socket.figures()["socket_large_bytes"] !== 0);
    one.reset();
    await until(() => socket.figures()["socket_large_bytes"] === 0);
  });

  test("an address may ask as often as its rate says", async () => {
    let left = 2;
    const address = () => {
      if (left-- === 0) throw overloaded("too often");
    };
    const socket = start({ rates: { connection: () => true, address } });
    const { ask } = await client(socket);
    const exits = [await ask(["x"], "good"), await ask(["x"], "bad"), await ask(["x"], "good")];
    expect(exits.map(({ exit }) => exit)).toEqual([0, 5, 7]);
  });

  test("an address may connect as often as its rate says", async () => {
    const socket = start({ rates: { connection: () => false, address: () => {} } });
    await (
      await client(socket)
    ).closed;
    expect(socket.figures()).toMatchObject({ socket_connections_refused: 1 });
  });
});

describe("time", () => {
  test.each([
    ["nothing", 0],
    ["half a request", 30],
  ])("is short for who sends %s", async (_, bytes) => {
    const { send, closed } = await client(start({ bounds: { preface_ms: 50 } }));
    send(encodeRequest(["x"], "good").subarray(0, bytes));
    await closed;
  });

  test("is short for who asks nothing more", async () => {
    const { ask, closed } = await client(start({ bounds: { idle_ms: 50 } }));
    expect((await ask(["x"], "good")).exit).toBe(0);
    await closed;
  });

  test("is longer for a large request, but no more than that", async () => {
    const { send, closed } = await client(start({ bounds: { large_ms: 50 } }));
    send(encodeRequest(["x".repeat(300_000)], "good").subarray(0, 1_000));
    await closed;
  });

  test("is not counted while a command runs", async () => {
    const held = gate();
    const quick = { preface_ms: 50, idle_ms: 50, large_ms: 50, stall_ms: 50 };
    const socket = start({ run: held.run, bounds: quick });
    const { ask, closed } = await client(socket);
    const answer = ask(["x"], "good");
    await until(() => held.signals.length === 1);
    // Somebody else's time runs out meanwhile.
    await (
      await client(socket)
    ).closed;
    held.open();
    expect((await answer).stdout).toBe("done");
    await closed;
  });

  test("is short for who takes nothing of his answer", async () => {
    const run: RunCommand = async ({ args }) => ({
      ...{ exit: 0, stdout: "x".repeat(Number(args[0])), stderr: "" },
    });
    const socket = start({ run, bounds: { stall_ms: 50, farewell_ms: 50, commands_max: 1 } });
    const slow = await client(socket);
    slow.pause();
    slow.send(encodeRequest(["16000000"], "good"));
    await until(() => socket.figures()["socket_requests"] === 1);
    await until(() => socket.figures()["socket_connections"] === 0);
    const { ask } = await client(socket);
    expect((await ask(["3"], "good")).stdout).toBe("xxx");
  });

  test("an answer that is not taken yet counts as a command", async () => {
    const stdout = "x".repeat(16_000_000);
    const run: RunCommand = async () => ({ exit: 0, stdout, stderr: "" });
    const socket = start({ run, bounds: { commands_max: 1 } });
    const slow = await client(socket);
    slow.pause();
    slow.send(encodeRequest(["x"], "good"));
    await until(() => socket.figures()["socket_requests"] === 1);
    const { ask } = await client(socket);
    expect((await ask(["x"], "good")).exit).toBe(7);
    slow.resume();
    expect((await slow.next()).stdout.length).toBe(stdout.length);
    expect((await ask(["x"], "good")).exit).toBe(0);
  });
});

describe("the end", () => {
  test("waits for what runs, takes nobody new and drops who waits", async () => {
    const held = gate();
    const socket = start({ run: held.run });
    const idle = await client(socket);
    const busy = await client(socket);
    busy.send(encodeRequest(["x"], "good"));
    busy.send(encodeRequest(["y"], "good"));
    await until(() => held.signals.length === 1);
    const stopped = socket.stop();
    await idle.closed;
    await expect(connectSocket(socket.port)).rejects.toThrow();
    idle.reset();
    held.open();
    expect((await busy.next()).stdout).toBe("done");
    await busy.closed;
    busy.reset();
    await stopped;
    expect(held.signals.length).toBe(1);
  });

  test("cuts off what takes longer, and tells it", async () => {
    const held = gate();
    const socket = start({ run: held.run, bounds: { drain_ms: 50 } });
    const { send, closed } = await client(socket);
    send(encodeRequest(["x"], "good"));
    await until(() => held.signals.length === 1);
    await socket.stop();
    await closed;
    expect(held.signals[0]?.aborted).toBe(true);
    held.open();
  });

  test("does not wait for who does not take notice of it", async () => {
    const socket = start({ bounds: { farewell_ms: 50 } });
    const stdout = "x".repeat(16_000_000);
    const slow = start({
      run: async () => ({ exit: 0, stdout, stderr: "" }),
      bounds: { farewell_ms: 50 },
    });
    const idle = await client(socket);
    const deaf = await client(slow);
    deaf.pause();
    deaf.send(encodeRequest(["x"], "good"));
    await until(() => slow.figures()["socket_requests"] === 1);
    await Promise.all([socket.stop(), slow.stop()]);
    await idle.closed;
  });
});
