// Whoever sits between two nodes, or stands in for one: he reads nothing, plays nothing again, and
// is nobody without a private key. Each attack is carried out, on real sockets.

import { describe, expect, test } from "bun:test";
import { createPublicKey, verify } from "node:crypto";
import { certificateOf } from "../../src/replication/session-certificate.ts";
import { hex } from "../support/capnp.ts";
import { callRaw, greeting, part, signedText } from "../support/session-raw.ts";
import {
  callAs,
  listenAs,
  nodeOf,
  outcome,
  readAll,
  remoteOf,
  type Node,
} from "../support/session.ts";
import { answers, converse, quick, questions } from "../support/session-talk.ts";

const [near, far, mallory] = [nodeOf("near"), nodeOf("far"), nodeOf("mallory")];
const known = { near: remoteOf(near) };
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
test("who listens on the way sees neither what is said nor by whom", async () => {
  const { asked, replied, record } = await converse();
  expect(asked).toEqual({ texts: answers, failed: false });
  expect(replied).toEqual({ texts: questions, failed: false });
  const seen = Buffer.concat([...(record?.up ?? []), ...(record?.down ?? [])]);
  expect(seen.length).toBeGreaterThan(6_000);
  expect(seen.includes("secret")).toBe(false);
  expect(seen.includes("bbbb")).toBe(false);
  for (const { publicBytes } of [near, far]) expect(seen.includes(publicBytes)).toBe(false);
  expect(seen.includes("127.0.0.1")).toBe(false);
});

describe("a session that is played again", () => {
  test("to the listener, byte for byte: nobody is let in", async () => {
    const { record } = await converse();
    await using listening = listenAs(far, known, { bounds: quick });
    const ended = Promise.withResolvers<void>();
    const pieces = [...(record?.up ?? [])];
    const first = pieces.shift() ?? Buffer.alloc(0);
    const socket = await Bun.connect({
      ...{ hostname: "127.0.0.1", port: listening.port },
      socket: {
        open: (opened) => void opened.write(first),
        data: (opened) => void pieces.splice(0).forEach((piece) => opened.write(piece)),
        close: () => ended.resolve(),
        error: () => ended.resolve(),
      },
    });
    expect(await listening.accepted()).toBeNull();
    await ended.promise;
    socket.terminate();
  });

  test("to the caller, byte for byte: he says nothing", async () => {
    const { record } = await converse();
    const pieces = [...(record?.down ?? [])];
    const heard: Buffer[] = [];
    using listener = Bun.listen({
      ...{ hostname: "127.0.0.1", port: 0 },
      socket: {
        data(socket, piece) {
          heard.push(Buffer.from(piece));
          const next = heard.length === 1 ? pieces.splice(0, 1) : pieces.splice(0);
          for (const each of next) socket.write(each);
        },
        error: (socket) => socket.terminate(),
      },
    });
    const words = await outcome(callAs(near, far, listener.port, { bounds: quick }));
    expect(words).toStartWith("unavailable: no session with far");
    expect(Buffer.concat(heard).includes(near.publicBytes)).toBe(false);
  });

  test("an echo of what the caller says is no listener", async () => {
    using listener = Bun.listen({
      ...{ hostname: "127.0.0.1", port: 0 },
      socket: { data: (socket, piece) => void socket.write(piece) },
    });
    expect(await outcome(callAs(near, far, listener.port, { bounds: quick }))).toStartWith(
      `failed_precondition: far at tcp://127.0.0.1:${listener.port} refused: `,
    );
  });
});

describe("whoever has a public key, but not its private one,", () => {
  /** Shows the key of one node and signs with that of another. */
  const posing = (as: Node, withKey: Node): Node => ({ ...as, sign: withKey.sign });

  test("is no caller", async () => {
    await using listening = listenAs(far, known);
    expect(await outcome(callAs(posing(near, mallory), far, listening.port))).toStartWith(
      "unavailable: no session with far",
    );
    expect(await listening.accepted()).toBeNull();
    expect(listening.lines.map(({ fields }) => fields["reason"])).toEqual([
      "the other side does not have the private key of the public one it shows",
    ]);
  });

  test("is no listener", async () => {
    await using listening = listenAs(posing(far, mallory), known);
    expect(await outcome(callAs(near, far, listening.port))).toContain(
      "the other side does not have the private key of the public one it shows",
    );
    expect(await listening.accepted()).toBeNull();
  });

  test("is no listener with a proof of another session either", async () => {
    await using real = listenAs(far, known);
    using raw = await callRaw(real.port);
    const proof = await raw?.read(5 + 96);
    if (!proof) throw new Error("no proof to relay");
    // What the real node has signed for Mallory's own session, while that one still stands.
    await using posed = listenAs({ ...far, sign: () => proof.subarray(5 + 32) }, known);
    expect(await outcome(callAs(near, far, posed.port))).toContain(
      "the other side does not have the private key of the public one it shows",
    );
  });
});

describe("what a caller says within TLS", () => {
  test("is judged by exactly the bytes that both ends can compute", async () => {
    await using listening = listenAs(far, known);
    using raw = await callRaw(listening.port);
    if (raw === null) throw new Error("no TLS");
    const proof = await raw.read(5 + 96);
    expect(proof?.subarray(0, 5).toString("hex")).toBe("0100000060");
    expect(proof?.subarray(5, 37)).toEqual(Buffer.from(far.publicBytes));
    const key = createPublicKey({
      key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), far.publicBytes]),
      ...{ format: "der", type: "spki" },
    });
    const signed = signedText("listener", raw.exported, far.publicBytes, far.publicBytes);
    expect(verify(null, signed, key, proof?.subarray(37) ?? Buffer.alloc(0))).toBe(true);

    const mine = near.sign(signedText("caller", raw.exported, far.publicBytes, near.publicBytes));
    raw.send(part(1, Buffer.concat([near.publicBytes, mine])));
    expect((await raw.read(6))?.toString("hex")).toBe("020000000100");
    const session = await listening.accepted();
    raw.send(Buffer.concat([part(3, bytes("one")), part(3, bytes("")), part(4, bytes(""))]));
    if (session === null) throw new Error("refused");
    expect(await readAll(session)).toEqual({ texts: ["one", ""], failed: false });
  });

  const proofBy = (
    raw: { exported: Buffer },
    over: { role?: string; exported?: Buffer; listener?: Node; by?: Node; shown?: Node } = {},
  ): Buffer => {
    const { role = "caller", exported = raw.exported, listener = far } = over;
    const { by = near, shown = near } = over;
    const text = signedText(role, exported, listener.publicBytes, shown.publicBytes);
    return part(1, Buffer.concat([shown.publicBytes, by.sign(text)]));
  };
  type Says = (raw: { exported: Buffer }, heard: Buffer) => Buffer;
  const cases: readonly (readonly [string, Says])[] = [
    ["the listener's own proof, sent back", (_, heard) => heard],
    ["a proof in the listener's role", (raw) => proofBy(raw, { role: "listener" })],
    ["a proof meant for another listener", (raw) => proofBy(raw, { listener: mallory })],
    ["a proof of another session", (raw) => proofBy(raw, { exported: Buffer.alloc(32) })],
    ["a proof of a known key by another", (raw) => proofBy(raw, { by: mallory })],
    ["a proof by a known key of another", (raw) => proofBy(raw, { shown: mallory })],
    [
      "a key of small order, with a signature for everything",
      () => {
        const identity = Buffer.concat([Buffer.of(1), Buffer.alloc(31)]);
        return part(1, Buffer.concat([identity, identity, Buffer.alloc(32)]));
      },
    ],
    ["a proof that is too short", () => part(1, Buffer.alloc(95))],
    ["a proof that is too long", () => part(1, Buffer.alloc(97))],
    ["a message before any proof", () => part(3, bytes("let me in"))],
    ["a message of two gigabytes", () => part(3, bytes("x"), 2_147_483_648)],
    ["a verdict, which is not his", () => part(2, Buffer.of(0))],
    ["an end before there was anything", () => part(4, bytes(""))],
    ["a kind that nobody knows", () => part(9, bytes("x"))],
    ["kind 0", () => part(0, bytes(""))],
  ];
  test.each(cases)("lets nobody in: %s", async (_, says) => {
    // Even where a node has named itself.
    const remotes = { near: remoteOf(near), self: remoteOf(far) };
    await using listening = listenAs(far, remotes, { bounds: quick });
    using raw = await callRaw(listening.port);
    const heard = await raw?.read(5 + 96);
    if (raw === null || !heard) throw new Error("no TLS");
    raw.send(says(raw, heard));
    expect(await listening.accepted()).toBeNull();
    expect(await raw.read(6)).toBeNull();
    // It still serves those who may.
    const session = await callAs(near, far, listening.port);
    await session.close();
  });

  test("is bounded once he is in, too", async () => {
    const bounds = { ...quick, message_bytes_max: 100 };
    for (const wrong of [
      part(3, bytes("x"), 101),
      part(1, Buffer.alloc(96)),
      part(4, bytes("x")),
    ]) {
      await using listening = listenAs(far, known, { bounds });
      using raw = await callRaw(listening.port);
      await raw?.read(5 + 96);
      if (raw === null) throw new Error("no TLS");
      raw.send(Buffer.concat([proofBy(raw), part(3, Buffer.alloc(100, 65)), wrong]));
      const session = await listening.accepted();
      if (session === null) throw new Error("refused");
      expect(await readAll(session)).toEqual({ texts: ["A".repeat(100)], failed: true });
    }
  });
});

describe("TLS that is not as it must be", () => {
  const cases: readonly (readonly [string, object])[] = [
    ["1.2", { minVersion: 0x0303, maxVersion: 0x0303 }],
    ["without a protocol's name", { ALPNProtocols: undefined }],
    ["with another name", { ALPNProtocols: Buffer.from("\x11dbx-replication/3") }],
  ];
  test.each(cases)("%s is no way in", async (_, tls) => {
    await using listening = listenAs(far, known);
    using raw = await callRaw(listening.port, { tls });
    if (raw !== null) expect(await raw.read(1)).toBeNull();
    expect(await listening.accepted()).toBeNull();
  });

  test("of a listener is none for the caller either", async () => {
    const pair = certificateOf(crypto.getRandomValues(new Uint8Array(32)));
    const greeted = hex(
      "0000000004000000 0000000001000100 0100000000000000 010000001a000000 6f6b000000000000",
    );
    for (const tls of [
      { ...pair, maxVersion: 0x0303, ALPNProtocols: Buffer.from("\x11dbx-replication/2") },
      { ...pair },
    ]) {
      let isUpgraded = false;
      using listener = Bun.listen({
        ...{ hostname: "127.0.0.1", port: 0 },
        socket: {
          data(socket) {
            if (isUpgraded) return;
            isUpgraded = true;
            socket.write(greeted);
            const upgrade = { isServer: true, tls, socket: { data: () => {}, error: () => {} } };
            socket.upgradeTLS(upgrade);
          },
          error: () => {},
        },
      });
      expect(await outcome(callAs(near, far, listener.port, { bounds: quick }))).toStartWith(
        "unavailable: no session with far",
      );
    }
  });
});

test("the greeting of the raw caller is the one that dbx sends", async () => {
  const { record } = await converse();
  expect(record?.up[0]).toEqual(greeting);
});
