// Sending no faster than a client takes: when it is done, and who ends it.

import { expect, test } from "bun:test";
import { Writable } from "node:stream";
import { DbxError } from "../../src/model/error.ts";
import { send } from "../../src/server/grpc/outlet.ts";

const messages = ["a", "b", "c"].map((text) => Buffer.from(text));

/** A connection that takes a message whenever `take` is called. */
function connection() {
  const taken: string[] = [];
  const waiting: (() => void)[] = [];
  const call = new Writable({
    objectMode: true,
    write(message: Buffer, _encoding, done) {
      taken.push(String(message));
      waiting.push(done);
    },
  });
  return { call, taken, take: () => waiting.shift()?.() };
}

const forever = new AbortController().signal;

test("is done when the last message has been taken", async () => {
  const { call, taken, take } = connection();
  let isDone = false;
  const sent = send(call, messages, forever).then(() => (isDone = true));
  for (const expected of [["a"], ["a", "b"], ["a", "b", "c"]]) {
    await new Promise((turned) => setImmediate(turned));
    expect([taken, isDone]).toEqual([expected, false]);
    take();
  }
  await sent;
});

test("gives up a client that takes nothing, and says how to go on", async () => {
  const { call } = connection();
  const error = await send(call, messages, forever, 5).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DbxError);
  expect(error).toMatchObject({ code: "overloaded", details: { stall_ms: 5 } });
});

test("is done when nobody waits any more, and leaves no listener", async () => {
  const { call } = connection();
  const gone = new AbortController();
  const sent = send(call, messages, gone.signal);
  gone.abort();
  await sent;
  await send(call, messages, gone.signal);
  await send(call, [], forever);
});
