// AppendStream and Subscribe over real connections: order, refusals, clients that die, that take
// nothing, and that come back.

import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import {
  bearer,
  ask,
  connect,
  drain,
  startTestGrpc,
  toldError,
  type Loose,
} from "../support/grpc.ts";
import { killAndResume } from "../support/live.ts";
import { root, type TestStore } from "../support/store.ts";

const eventOf = (number: number, over: object = {}) => ({
  aggregate_type: "load",
  aggregate_id: `l-${number % 5}`,
  event_type: "added",
  payload_json: `{"number":${number}}`,
  ...over,
});

const headOf = async (store: TestStore): Promise<number> =>
  (await store.dbx.serverStatus(root, {})).position;

/** The next message of a stream. */
const next = (stream: Loose): Promise<Loose> =>
  new Promise((resolve, reject) => {
    stream.once("data", resolve);
    stream.once("error", reject);
  });

describe("AppendStream", () => {
  test("appends in order, and its last answer covers everything", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    for (let number = 0; number < 3_000; number += 3) {
      stream.write({ events: [eventOf(number), eventOf(number + 1), eventOf(number + 2)] });
    }
    stream.end();
    const { messages, error } = await ended;
    expect(error).toBeNull();
    expect(messages.at(-1)).toEqual({ acknowledged: "3000", position: "3000" });
    const counts = messages.map(({ acknowledged }) => Number(acknowledged));
    expect(counts).toEqual(counts.toSorted((left, right) => left - right));
    const records = await served.store.dbx.readLog(root, { after: 2_999 });
    expect(records.map(({ payload }) => String(payload))).toEqual(['{"number":2999}']);
    client.close();
  });

  test("acknowledges while the client goes on sending", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    for (let number = 0; number < 5; number++) {
      stream.write({ events: [eventOf(number)] });
      expect(await next(stream)).toMatchObject({ acknowledged: String(number + 1) });
      expect(await headOf(served.store)).toBe(number + 1);
    }
    const ended = drain(stream);
    stream.end();
    expect((await ended).error).toBeNull();
    client.close();
  });

  test("ends with the first refusal: what comes before is durable, nothing behind it", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    for (const refused of [
      eventOf(0, { aggregate_id: "other", expected_version: "7" }),
      eventOf(0, { payload_json: "{" }),
      eventOf(0, { event_type: "" }),
    ]) {
      const before = await headOf(served.store);
      const stream = client["AppendStream"](bearer(served.token));
      const ended = drain(stream);
      for (let number = 0; number < 1_000; number++) {
        stream.write({ events: [number === 613 ? refused : eventOf(number)] });
      }
      stream.end();
      const { messages, error } = await ended;
      if (error === null) throw new Error("the load was not refused");
      expect(toldError(error).details.index).toBe(613);
      expect(messages.at(-1)).toEqual({ acknowledged: "613", position: String(before + 613) });
      expect(await headOf(served.store)).toBe(before + 613);
    }
    client.close();
  });

  test("refuses a message of more events than a batch may have", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    stream.write({ events: [eventOf(0)] });
    stream.end({ events: Array.from({ length: 1_001 }, (_, number) => eventOf(number)) });
    const { messages, error } = await ended;
    if (error === null) throw new Error("the load was not refused");
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(toldError(error).details).toEqual({ path: "/events", index: 1 });
    expect(messages.at(-1)?.acknowledged).toBe("1");
    client.close();
  });

  test("of a client that dies keeps what was acknowledged, without a gap, and goes on by ids", async () => {
    await using served = await startTestGrpc();
    const ids = Array.from({ length: 4_000 }, () => crypto.randomUUID());
    const messages = ids.map((event_id, number) => ({ events: [eventOf(number, { event_id })] }));
    for (let kill = 0; kill < 5; kill++) {
      const dying = connect(served.address);
      const stream = dying["AppendStream"](bearer(served.token));
      stream.on("error", () => {});
      for (const message of messages) stream.write(message);
      const { acknowledged } = await next(stream);
      stream.cancel();
      dying.close();
      const head = await headOf(served.store);
      expect(head).toBeGreaterThanOrEqual(Number(acknowledged));
    }
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    for (const message of messages) stream.write(message);
    stream.end();
    expect((await ended).messages.at(-1)?.acknowledged).toBe("4000");
    expect(await headOf(served.store)).toBe(4_000);
    const all = [
      ...(await served.store.dbx.readLog(root, { take: 1_000 })),
      ...(await served.store.dbx.readLog(root, { after: 3_000, take: 1_000 })),
    ];
    const expected = [...ids.slice(0, 1_000), ...ids.slice(3_000)];
    expect(all.map(({ metadata }) => metadata.event_id)).toEqual(expected);
    client.close();
  }, 30_000);

  test("reads no faster than it commits", async () => {
    await using served = await startTestGrpc();
    const gate = Promise.withResolvers<void>();
    await using slow = await startTestGrpc({
      options: {
        authenticate: served.store.authenticate,
        dbx: {
          ...served.store.dbx,
          appendEvents: async (actor, input) => {
            await gate.promise;
            return served.store.dbx.appendEvents(actor, input);
          },
        },
      },
    });
    const client = connect(slow.address);
    const stream = client["AppendStream"](bearer(served.token));
    const ended = drain(stream);
    const payload_json = JSON.stringify("x".repeat(100_000));
    // 40 MB: much more than a load holds and the windows of a connection take.
    let taken = 0;
    for (let number = 0; number < 400; number++) {
      stream.write({ events: [eventOf(number, { payload_json })] }, () => taken++);
    }
    stream.end();
    for (let turn = 0; turn < 200; turn++) await new Promise((turned) => setImmediate(turned));
    expect(taken).toBeLessThan(200);
    gate.resolve();
    expect((await ended).messages.at(-1)?.acknowledged).toBe("400");
    client.close();
  }, 30_000);

  test("ends when its token is revoked", async () => {
    await using served = await startTestGrpc();
    const { dbx } = served.store;
    const { token, id } = await dbx.issueToken(root, { group: "g", user: "u" });
    const client = connect(served.address);
    const stream = client["AppendStream"](bearer(token));
    stream.write({ events: [eventOf(0)] });
    await next(stream);
    await dbx.revokeToken(root, { token: id });
    const ended = drain(stream);
    stream.write({ events: [eventOf(1)] });
    expect((await ended).error?.code).toBe(status.UNAUTHENTICATED);
    expect(await headOf(served.store)).toBe(1);
    client.close();
  });
});

describe("Subscribe", () => {
  test("says first from where it goes on", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    for (let number = 0; number < 3; number++) {
      await ask(client, "AppendEvent", eventOf(number), metadata);
    }
    for (const [message, position] of [
      [{}, "3"],
      [{ after: "3" }, "3"],
      [{ after: "1" }, "1"],
      [{ after: "0" }, "0"],
    ] as const) {
      const stream = client["Subscribe"](message, metadata);
      expect((await next(stream)).heartbeat).toEqual({ position });
      stream.on("error", () => {});
      stream.cancel();
    }
    client.close();
  });

  test("refuses what cannot be followed", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const { error } = await drain(client["Subscribe"]({ after: "9" }, bearer(served.token)));
    expect(error?.code).toBe(status.FAILED_PRECONDITION);
    client.close();
  });

  test("killed and resumed 50 times under load gives each position exactly once", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const { seen, appended } = await killAndResume({
      append: async (event_id) =>
        Number(
          (await ask(client, "AppendEvent", eventOf(1, { event_id }), metadata)).event.position,
        ),
      async *open(after, signal) {
        const stream = client["Subscribe"]({ after: String(after) }, metadata);
        const stop = () => stream.cancel();
        signal.addEventListener("abort", stop, { once: true });
        try {
          for await (const { event } of stream) {
            if (event !== undefined) yield Number(event.position);
          }
        } finally {
          signal.removeEventListener("abort", stop);
          stream.cancel();
        }
      },
    });
    expect(seen).toEqual(appended);
    client.close();
  }, 60_000);

  test("waits for a client that takes nothing, while the writer goes on", async () => {
    await using served = await startTestGrpc();
    const { dbx } = served.store;
    const payload = JSON.stringify("x".repeat(100_000)) as never;
    const key = { aggregate_type: "large", aggregate_id: "l-1", event_type: "grew" };
    for (let turn = 0; turn < 5; turn++) {
      const events = Array.from({ length: 100 }, () => ({ ...key, payload }));
      await dbx.appendEvents(root, { events });
    }
    const client = connect(served.address);
    const stream = client["Subscribe"]({ after: "0" }, bearer(served.token));
    await next(stream);
    stream.pause();
    // The writer does not wait for him.
    await dbx.appendEvents(root, { events: [{ ...key, payload }] });
    let count = 0;
    stream.on("data", ({ event }: Loose) => {
      if (event !== undefined) count++;
      if (count === 501) stream.cancel();
    });
    const ended = drain(stream);
    stream.resume();
    const { error } = await ended;
    expect([error?.code, count]).toEqual([status.CANCELLED, 501]);
    client.close();
  }, 30_000);
});
