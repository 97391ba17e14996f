// The bounds of a gRPC connection: sizes in both directions, unfolded sizes, metadata, streams,
// deadlines, and bytes that are no messages.

import { status, type Metadata } from "@grpc/grpc-js";
import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { connect as connectHttp2, constants } from "node:http2";
import { gzipSync } from "node:zlib";
import { limits } from "../../src/model/limits.ts";
import {
  ask,
  bearer,
  connect,
  drain,
  refusalOf,
  startTestGrpc,
  toldError,
  type Loose,
} from "../support/grpc.ts";
import { root } from "../support/store.ts";

const event = {
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "patient-added",
  payload_json: "{}",
};
const large = JSON.stringify("x".repeat(1_000_000));

const raw = (bytes: Buffer): Buffer => bytes;

/** A unary call whose message is any bytes; the answer is dropped. */
const askRaw = (client: Loose, path: string, bytes: Buffer, metadata: Metadata): Promise<Loose> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, raw, raw, bytes, metadata, {}, (error: Loose, answer: Loose) =>
      error === null ? resolve(answer) : reject(error),
    );
  });

describe("a message", () => {
  test("above the limit is refused, and its connection lives", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const events = Array.from({ length: 18 }, () => ({ ...event, payload_json: large }));
    const error = await refusalOf(ask(client, "AppendEvents", { events }, metadata));
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await ask(client, "ReadLog", {}, metadata)).toEqual({});
    client.close();
  });

  test("that unfolds above the limit is refused", async () => {
    await using served = await startTestGrpc();
    const { status: code, data } = await post(served, gzipSync(Buffer.alloc(64_000_000)), {
      "grpc-encoding": "gzip",
    });
    expect([code, data]).toEqual([String(status.RESOURCE_EXHAUSTED), 0]);
    const client = connect(served.address);
    expect(await ask(client, "ReadLog", {}, bearer(served.token))).toEqual({});
    client.close();
  });

  test("that is compressed within the limit is taken", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, {
      options: { "grpc.default_compression_algorithm": 2 },
    });
    const answer = await ask(
      client,
      "AppendEvent",
      { ...event, payload_json: JSON.stringify("x".repeat(100_000)) },
      bearer(served.token),
    );
    expect(answer.event.position).toBe("1");
    client.close();
  });

  test("of many empty events is refused without making them", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const bytes = Buffer.alloc(limits.grpc_message_bytes_max, Buffer.from([0x0a, 0x00]));
    const metadata = bearer(served.token);
    const before = performance.now();
    const error = await refusalOf(
      askRaw(client, "/dbx.api.EventService/AppendEvents", bytes, metadata),
    );
    expect(performance.now() - before).toBeLessThan(5_000);
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    client.close();
  });
});

describe("an answer", () => {
  test("too large for one message is refused clearly, and its connection lives", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    for (let count = 0; count < 18; count++) {
      await served.store.dbx.appendEvent(root, {
        ...{ aggregate_type: "patient", aggregate_id: "p-001", event_type: "grew" },
        payload: large as never,
      });
    }
    const error = await refusalOf(ask(client, "ReadLog", {}, metadata));
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(error.details).toContain("ask for fewer rows");
    expect((await ask(client, "ReadLog", { take: 10 }, metadata)).events).toHaveLength(10);
    client.close();
  });
});

describe("metadata", () => {
  test("beyond all measure is refused, and others are served", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token, { junk: "x".repeat(1_000_000) });
    await refusalOf(ask(client, "ReadLog", {}, metadata));
    const other = connect(served.address, { options: { "grpc.use_local_subchannel_pool": 1 } });
    expect(await ask(other, "ReadLog", {}, bearer(served.token))).toEqual({});
    client.close();
    other.close();
  });
});

describe("a server", () => {
  test("that answers as much as it may refuses more, but still tells how it is", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    served.figures.running = limits.requests_running_max;
    const error = await refusalOf(ask(client, "ReadLog", {}, metadata));
    expect([error.code, toldError(error).code]).toEqual([status.RESOURCE_EXHAUSTED, "overloaded"]);
    expect(await ask(client, "Health", {}, bearer(null))).toEqual({ status: "ok" });
    served.figures.running = 0;
    expect(await ask(client, "ReadLog", {}, metadata)).toEqual({});
    expect(served.figures.running).toBe(0);
    client.close();
  });

  test("says how many calls a connection may have at a time", async () => {
    await using served = await startTestGrpc();
    const session = connectHttp2(`http://${served.address}`);
    const settings: Loose = await new Promise((resolve) => session.once("remoteSettings", resolve));
    session.destroy();
    expect(settings.maxConcurrentStreams).toBe(limits.grpc_streams_max);
  });

  test("is not put off by a client that pings without end", async () => {
    await using served = await startTestGrpc();
    const session = connectHttp2(`http://${served.address}`);
    for (let count = 0; count < 200; count++) {
      await new Promise<void>((resolve, reject) =>
        session.ping((error) => (error === null ? resolve() : reject(error))),
      );
    }
    session.destroy();
  });
});

describe("a deadline", () => {
  test("that has passed begins nothing", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const error = await refusalOf(
      ask(client, "AppendEvent", event, metadata, { deadline: performance.timeOrigin }),
    );
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    // What arrives with no time left is not begun either.
    const { status: code } = await post(served, Buffer.alloc(0), { "grpc-timeout": "0m" });
    expect(code).toBe(String(status.DEADLINE_EXCEEDED));
    expect(await ask(client, "ReadLog", {}, metadata)).toEqual({});
    client.close();
  });

  test("ends a subscription, and frees it", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const deadline = performance.timeOrigin + performance.now() + 300;
    const { error, messages } = await drain(
      client["Subscribe"]({}, bearer(served.token), { deadline }),
    );
    expect([error?.code, messages.length]).toEqual([status.DEADLINE_EXCEEDED, 1]);
    client.close();
  });
});

describe("random bytes", () => {
  const calls = ["AppendEvent", "AppendEvents", "ListAggregates", "GetAggregate", "ReadLog"];

  test("as messages always get a status", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const known = new Set<number>([status.INVALID_ARGUMENT, status.NOT_FOUND]);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...calls),
        fc.uint8Array({ maxLength: 200 }),
        async (call, bytes) => {
          const path = `/dbx.api.EventService/${call}`;
          const outcome = await askRaw(client, path, Buffer.from(bytes), metadata).then(
            () => 0,
            (error) => error.code,
          );
          expect(outcome === 0 || known.has(outcome)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
    expect(served.lines.filter((line) => line.includes(" error "))).toEqual([]);
    client.close();
  }, 60_000);

  test("as messages of streams end them with a status", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 60 }), async (bytes) => {
        const path = "/dbx.api.EventService/AppendStream";
        const stream: Loose = client.makeBidiStreamRequest(path, raw, raw, metadata);
        const ended = drain(stream);
        stream.end(Buffer.from(bytes));
        const { error } = await ended;
        expect([0, status.INVALID_ARGUMENT]).toContain(error?.code ?? 0);
      }),
      { numRuns: 200 },
    );
    expect(served.lines.filter((line) => line.includes(" error "))).toEqual([]);
    client.close();
  }, 60_000);

  test("that are no UTF-8 are refused, not repaired", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const text = (number: number, bytes: Buffer) =>
      Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
    for (const broken of [
      [0xff],
      [0xc3],
      [0xed, 0xa0, 0x80],
      [0xc0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
    ]) {
      const quoted = Buffer.from([0x22, ...broken, 0x22]);
      const message = Buffer.concat([
        ...["t", "i", "e"].map((name, index) => text(index + 1, Buffer.from(name))),
        text(4, quoted),
      ]);
      const error = await refusalOf(
        askRaw(client, "/dbx.api.EventService/AppendEvent", message, bearer(served.token)),
      );
      expect([error.code, error.details]).toEqual([
        status.INVALID_ARGUMENT,
        "strings must be valid UTF-8",
      ]);
    }
    expect(await ask(client, "ReadLog", {}, bearer(served.token))).toEqual({});
    client.close();
  });
});

/** ReadLog as bytes on a connection of its own: the message as it is, marked as compressed or not. */
function post(
  served: { address: string; token: string },
  message: Buffer,
  headers: Record<string, string>,
): Promise<{ status: string; data: number }> {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt8("grpc-encoding" in headers ? 1 : 0, 0);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  const session = connectHttp2(`http://${served.address}`);
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: "POST",
    [constants.HTTP2_HEADER_PATH]: "/dbx.api.EventService/ReadLog",
    ...{ "content-type": "application/grpc", te: "trailers" },
    ...{ authorization: `Bearer ${served.token}`, ...headers },
  });
  return new Promise((resolve, reject) => {
    let answered = "";
    let data = 0;
    const look = (found: Loose) => (answered = found["grpc-status"] ?? answered);
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("data", (bytes: Buffer) => (data += bytes.length));
    stream.on("close", () => {
      session.close();
      resolve({ status: String(answered), data });
    });
    stream.on("error", reject);
    stream.end(frame);
  });
}

test("what is committed is told, also where its answer is larger than a message may be", async () => {
  await using served = await startTestGrpc();
  const payload_json = JSON.stringify("x".repeat(16_500));
  const events = Array.from({ length: 1_000 }, (_, n) => ({
    ...{ aggregate_type: "t", aggregate_id: `large-${n}`, event_type: "e", payload_json },
  }));
  const client = connect(served.address);
  const answer = await ask(client, "AppendEvents", { events }, bearer(served.token));
  expect(answer.events).toHaveLength(1_000);
  client.close();
});
