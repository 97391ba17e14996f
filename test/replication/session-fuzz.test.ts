// Bytes that nobody meant, at each stage of a connection: in place of TLS, within it before anybody
// is known, and after a proof. Nobody gets in by them, and the listener serves the next one.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { callRaw, greeting, part, signedText } from "../support/session-raw.ts";
import { callAs, listenAs, nodeOf, outcome, readAll, remoteOf } from "../support/session.ts";

const [near, far] = [nodeOf("near"), nodeOf("far")];
const known = { near: remoteOf(near) };

const noise = fc.uint8Array({ minLength: 1, maxLength: 300 });
/** Parts with heads that are nearly right. */
const parts = fc
  .array(
    fc
      .tuple(
        fc.nat(8),
        fc.oneof(fc.constantFrom(0, 1, 95, 96, 97, 2 ** 32 - 1), fc.nat(400)),
        noise,
      )
      .map(([kind, length, payload]) => part(kind, payload, length)),
    { minLength: 1, maxLength: 4 },
  )
  .map((all) => new Uint8Array(Buffer.concat(all)));
const anything = fc.oneof(noise, parts);

/** The connection says nothing more after that. */
const hurried = {
  ...{ handshake_ms: 300, message_bytes_max: 1_000, stall_ms: 300, farewell_ms: 300 },
  ...{ alive_ms: 50, silence_ms: 300, bytes_max: 10_000, handshakes_max: 8, sessions_max: 8 },
};

async function stillServes(port: number): Promise<void> {
  const session = await callAs(near, far, port);
  await session.close();
}

test("in place of TLS", async () => {
  await using listening = listenAs(far, known, { bounds: hurried });
  await fc.assert(
    fc.asyncProperty(noise, async (bytes) => {
      const ended = Promise.withResolvers<void>();
      let isGreeted = false;
      await Bun.connect({
        ...{ hostname: "127.0.0.1", port: listening.port },
        socket: {
          open: (socket) => void socket.write(greeting),
          data(socket) {
            if (!isGreeted) socket.write(bytes);
            isGreeted = true;
          },
          close: () => ended.resolve(),
          error: () => ended.resolve(),
        },
      });
      expect(await listening.accepted()).toBeNull();
      await ended.promise;
    }),
    { numRuns: 40 },
  );
  await stillServes(listening.port);
}, 60_000);

test("within TLS, before anybody is known", async () => {
  await using listening = listenAs(far, known, { bounds: hurried });
  await fc.assert(
    fc.asyncProperty(anything, async (bytes) => {
      using raw = await callRaw(listening.port);
      raw?.send(bytes);
      expect(await listening.accepted()).toBeNull();
    }),
    { numRuns: 60 },
  );
  await stillServes(listening.port);
}, 60_000);

test("after a proof: what comes out is what was put into messages, up to the first fault", async () => {
  await using listening = listenAs(far, known, { bounds: hurried });
  await fc.assert(
    fc.asyncProperty(fc.array(noise, { maxLength: 3 }), anything, async (messages, bytes) => {
      using raw = await callRaw(listening.port);
      if (raw === null) throw new Error("no TLS");
      const text = signedText("caller", raw.exported, far.publicBytes, near.publicBytes);
      const proof = part(1, Buffer.concat([near.publicBytes, near.sign(text)]));
      const whole = messages.map((message) => part(3, message));
      raw.send(Buffer.concat([proof, ...whole, bytes]));
      const session = await listening.accepted();
      if (session === null) throw new Error("refused");
      const { texts } = await readAll(session);
      expect(texts.slice(0, messages.length)).toEqual(
        messages.map((message) => Buffer.from(message).toString("latin1")),
      );
      await session.close();
    }),
    { numRuns: 40 },
  );
  await stillServes(listening.port);
}, 60_000);

test("a listener that says anything gets nothing from a caller", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(noise, { minLength: 1, maxLength: 3 }), async (pieces) => {
      const heard: Buffer[] = [];
      using listener = Bun.listen({
        ...{ hostname: "127.0.0.1", port: 0 },
        socket: {
          data(socket, piece) {
            heard.push(Buffer.from(piece));
            const next = pieces[heard.length - 1];
            if (next === undefined) socket.end();
            else socket.write(next);
          },
          error: () => {},
        },
      });
      const words = await outcome(callAs(near, far, listener.port, { bounds: hurried }));
      expect(words).toMatch(/^(?:unavailable|failed_precondition): .*far/);
      expect(Buffer.concat(heard).includes(near.publicBytes)).toBe(false);
    }),
    { numRuns: 60 },
  );
}, 60_000);
