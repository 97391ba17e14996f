/**
 * The stream of a subscription by itself: it makes an event when the one before was taken, ends
 * with a client that takes nothing, and tells whatever goes wrong as an event.
 */
import { expect, test } from "bun:test";
import type { ExecutionResult } from "graphql";
import { createLog, silentLog } from "../../src/log.ts";
import { unavailable } from "../../src/model/error.ts";
import { answerEvents } from "../../src/server/graphql/events.ts";
import { createTurns, type Exchange } from "../../src/server/graphql/exchange.ts";

const exchangeOf = (): Exchange => ({
  ...{ query: "", operationName: null, variables: null, method: "POST", accept: "" },
  request_id: "r-1",
  actorOf: () => ({ group: "admin", user: "jane", grants: ["read"], scope: null, token_id: null }),
  gone: new AbortController().signal,
  ended: new AbortController(),
  inTurn: createTurns(),
  waiting: 0,
  beat: () => {},
});

const ended = (exchange: Exchange) =>
  new Promise<void>((done) =>
    exchange.ended.signal.addEventListener("abort", () => done(), { once: true }),
  );

test("events are made as they are taken", async () => {
  const exchange = exchangeOf();
  let made = 0;
  async function* results(): AsyncGenerator<ExecutionResult> {
    for (; made < 1_000; made++) yield { data: { made } };
  }
  const response = answerEvents(results(), { exchange, log: silentLog, stall_ms: 60_000 });
  const reader = response.body!.getReader();
  for (let taken = 0; taken < 10; taken++) {
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toBe(
      `event: next\ndata: {"data":{"made":${taken}}}\n\n`,
    );
    expect(made).toBeLessThanOrEqual(taken + 2);
  }
  await reader.cancel();
  expect(exchange.ended.signal.aborted).toBe(true);
});

test("the events of one batch are handed out whole", async () => {
  const exchange = exchangeOf();
  async function* results(): AsyncGenerator<ExecutionResult> {
    for (let made = 0; ; made++) {
      exchange.waiting = 2 - (made % 3);
      yield { data: { made } };
    }
  }
  const response = answerEvents(results(), { exchange, log: silentLog, stall_ms: 60_000 });
  const reader = response.body!.getReader();
  for (const batch of [
    [0, 1, 2],
    [3, 4, 5],
  ]) {
    const text = batch.map((made) => `event: next\ndata: {"data":{"made":${made}}}\n\n`).join("");
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(text);
  }
  await reader.cancel();
});

test("a client that takes nothing for so long is given up", async () => {
  const exchange = exchangeOf();
  async function* results(): AsyncGenerator<ExecutionResult> {
    for (;;) yield { data: {} };
  }
  const response = answerEvents(results(), { exchange, log: silentLog, stall_ms: 5 });
  const reader = response.body!.getReader();
  await reader.read();
  await ended(exchange);
  const { value } = await reader.read();
  expect(new TextDecoder().decode(value)).toContain('"code":"overloaded"');
  expect((await reader.read()).done).toBe(true);
});

test("so is one behind a socket, and reads at last why", async () => {
  const exchange = exchangeOf();
  let made = 0;
  async function* results(): AsyncGenerator<ExecutionResult> {
    const text = "x".repeat(100_000);
    for (; ; made++) yield { data: { text } };
  }
  const answer = { exchange, log: silentLog, stall_ms: 50 };
  await using server = Bun.serve({ port: 0, fetch: () => answerEvents(results(), answer) });
  const whole = Promise.withResolvers<void>();
  let end = "";
  let resumed = false;
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: server.port!,
    socket: {
      data(open, chunk) {
        end = (end + chunk.toString()).slice(-400);
        if (!resumed) open.pause();
        if (end.includes("event: complete")) whole.resolve();
      },
    },
  });
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await ended(exchange);
  // What lies in the buffers of both sides, not what could have been made in that time.
  expect(made).toBeLessThan(500);
  resumed = true;
  socket.resume();
  await whole.promise;
  expect(end).toContain('"code":"overloaded"');
  socket.terminate();
}, 30_000);

test("one that waits for events is not, and gets signs of life", async () => {
  const exchange = exchangeOf();
  const later = Promise.withResolvers<void>();
  async function* results(): AsyncGenerator<ExecutionResult> {
    yield { data: { first: true } };
    exchange.beat();
    await later.promise;
    yield { data: { second: true } };
  }
  const response = answerEvents(results(), { exchange, log: silentLog, stall_ms: 60_000 });
  const reader = response.body!.getReader();
  const read = async () => new TextDecoder().decode((await reader.read()).value);
  expect(await read()).toContain("first");
  expect(await read()).toBe(":\n\n");
  later.resolve();
  expect(await read()).toContain("second");
  expect(await read()).toBe("event: complete\ndata:\n\n");
  expect((await reader.read()).done).toBe(true);
  // Nobody is there any more: a late sign of life goes nowhere.
  exchange.beat();
});

test("what ends it is told: an expected error as it is, a defect in the log only", async () => {
  for (const [thrown, code] of [
    [unavailable("dbx is stopping"), "unavailable"],
    [new Error("secret"), "internal"],
    ["secret", "internal"],
  ] as const) {
    const lines: string[] = [];
    const log = createLog({
      least: "debug",
      now: () => "now",
      write: (line) => void lines.push(line),
    });
    const results: AsyncIterable<ExecutionResult> = {
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(thrown) }),
    };
    const text = await answerEvents(results, {
      ...{ exchange: exchangeOf(), log },
      stall_ms: 60_000,
    }).text();
    expect(text).toContain(`"code":"${code}"`);
    expect(text).toEndWith("event: complete\ndata:\n\n");
    expect(text).not.toContain("secret");
    expect(lines.join("").includes("secret")).toBe(code === "internal");
  }
});
