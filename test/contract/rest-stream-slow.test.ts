// Clients that take a stream slowly or not at all: they hold one batch of ours, never the writer,
// and are given up in the end.

import { expect, test } from "bun:test";
import { DbxError } from "../../src/model/error.ts";
import { eventStream } from "../../src/server/event-stream.ts";
import { openLiveLog, upTo } from "../support/live-log.ts";
import { startTestServer } from "../support/server.ts";
import { openStream } from "../support/sse.ts";

/** Above what the sockets of both sides hold. */
const chars = 200_000;
const events = 200;

test("a client that reads nothing holds up nobody, and gets everything once it reads", async () => {
  await using server = await startTestServer();
  const stream = await openStream({ ...server, query: "?after=0" });
  const payload = JSON.stringify("x".repeat(chars));
  for (let n = 0; n < events; n++) await server.append("large", "l", payload);
  const { figures } = (await server.ask("GET", "/admin/status")).json;
  expect(figures).toMatchObject({ followers: 1, events });
  const seen: number[] = [];
  for await (const { id, data } of stream.messages) {
    if (data !== null) seen.push(Number(id));
    if (seen.length === events) break;
  }
  expect(seen).toEqual(upTo(events));
  stream.close();
}, 60_000);

/** Serves a log of many large events; tells how much of it was asked for, and how it ended. */
async function serveLarge(stall_ms: number) {
  const log = openLiveLog();
  for (let n = 0; n < events; n++) await log.appendLarge(chars);
  const ended = Promise.withResolvers<unknown>();
  const asked = { batches: 0 };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request, { timeout }) {
      timeout.call(server, request, 0);
      const { signal } = new AbortController();
      const actor = { group: "admin", user: "x", grants: [], scope: null, token_id: null };
      const batches = log.live.followLog(() => actor, { after: 0 }, signal);
      const iterator = batches[Symbol.asyncIterator]();
      const next = async () => {
        asked.batches++;
        const { done, value } = await iterator.next();
        return done === true ? null : value;
      };
      const body = eventStream({ first: await next(), next, stall_ms, onEnd: ended.resolve });
      return new Response(body);
    },
  });
  return { server, asked, ended: ended.promise };
}

test("no more is read than the client takes", async () => {
  const { server, asked } = await serveLarge(60_000);
  const { body } = await fetch(server.url);
  const reader = body?.getReader();
  await reader?.read();
  // Whatever could still be asked for is asked for while the server answers others.
  let before = -1;
  for (let same = 0; same < 20; same = before === asked.batches ? same + 1 : 0) {
    before = asked.batches;
    await new Promise<void>((done) => setImmediate(done));
  }
  const held = asked.batches;
  expect(held).toBeLessThan(events / 2);
  let bytes = 0;
  // Bun may keep the last half megabyte of a stream that was held up until more is written to it.
  while (bytes < (events - 10) * chars) bytes += (await reader?.read())?.value?.length ?? 0;
  expect(asked.batches).toBeGreaterThan(held);
  await reader?.cancel();
  await server.stop(true);
});

test("a client that takes nothing is given up, and is told so if it reads on", async () => {
  const { server, asked, ended } = await serveLarge(50);
  const { body } = await fetch(server.url);
  const thrown = await ended;
  expect(thrown).toBeInstanceOf(DbxError);
  expect(thrown).toMatchObject({ code: "overloaded", details: { stall_ms: 50 } });
  const before = asked.batches;
  const text = await new Response(body).text();
  const last = text.slice(text.lastIndexOf("event: "));
  expect(last).toStartWith('event: error\ndata: {"message":"nothing was taken for 50 ms');
  expect(last).toEndWith("\n\n");
  expect(asked.batches).toBe(before);
  await server.stop(true);
});
