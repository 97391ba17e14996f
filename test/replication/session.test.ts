// A session between two nodes: whole messages both ways, only between keys that each side has
// pinned, with an end that cannot be faked and no more memory than it may take.

import { describe, expect, test } from "bun:test";
import type { Remote } from "../../src/model/remote.ts";
import { sessionBounds } from "../../src/replication/session.ts";
import {
  decodeHelloResponse,
  encodeHello,
  encodeHelloResponse,
  helloBounds,
} from "../../src/wire/hello.ts";
import { framed, frameOf, struct, words } from "../support/capnp.ts";
import { callRaw, greeting } from "../support/session-raw.ts";
import {
  callAs,
  listenAs,
  nodeOf,
  outcome,
  proxyTo,
  readAll,
  remoteOf,
  type Listening,
} from "../support/session.ts";

const [near, far, other] = [nodeOf("near"), nodeOf("far"), nodeOf("other")];
const known = { near: remoteOf(near) };
const patient = { ...sessionBounds, handshakes_max: 8, sessions_max: 8 };
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));

test("both sides know each other, and messages of every size arrive whole and in order", async () => {
  await using listening = listenAs(far, {
    near: { ...remoteOf(near), allow: ["read", "schemas"] },
  });
  const session = await callAs(near, far, listening.port);
  const taken = await listening.accepted();
  expect(session.peer).toEqual({ name: "far", public_key: far.public_key, allow: ["read"] });
  expect(taken?.peer).toEqual({
    ...{ name: "near", public_key: near.public_key, allow: ["read", "schemas"] },
  });
  const sizes = [0, 1, 4, 5, 16_383, 16_384, 16_385, 65_531, 65_536, 1_000_003, 5_000_000];
  const sent = sizes.map((size, index) => new Uint8Array(size).fill(index + 1));
  const echoing = (async () => {
    for (;;) {
      const message = await taken?.receive();
      if (message === null || message === undefined) break;
      await taken?.send(message);
    }
    await taken?.close();
  })();
  void Promise.all(sent.map((message) => session.send(message)));
  for (const message of sent) {
    const echoed = await session.receive();
    expect(echoed?.length).toBe(message.length);
    expect(Bun.deepEquals(echoed, message)).toBe(true);
  }
  await session.close();
  await echoing;
  expect(listening.figures()).toMatchObject({ replication_sessions: 0, replication_meeting: 0 });
});

test("either side may end it, and the other is told", async () => {
  for (const ends of ["caller", "listener"]) {
    await using listening = listenAs(far, known);
    const session = await callAs(near, far, listening.port);
    const taken = await listening.accepted();
    if (taken === null) throw new Error("refused");
    const [one, two] = ends === "caller" ? [session, taken] : [taken, session];
    await one.send(bytes("last words"));
    const closed = one.close();
    expect(await readAll(two)).toEqual({ texts: ["last words"], failed: false });
    await two.close();
    await closed;
    expect(await two.receive()).toBeNull();
    expect(await outcome(two.send(bytes("x")))).toBe("unavailable: the session has ended");
  }
});

describe("refused, and both sides say which command would help:", () => {
  test("a caller that is not known here", async () => {
    await using listening = listenAs(far, { other: remoteOf(other) });
    expect(await outcome(callAs(near, far, listening.port))).toBe(
      `failed_precondition: far at tcp://127.0.0.1:${listening.port} does not know this node; run ` +
        `there: dbx remote add NAME ADDRESS --public-key ${near.public_key} (with a name for this ` +
        "node and its address)",
    );
    expect(await listening.accepted()).toBeNull();
    expect(listening.lines).toEqual([
      {
        phrase: "replication: not pinned",
        fields: {
          ...{ address: "127.0.0.1", reason: "the caller's key is not known here", count: 1 },
          pin: `dbx remote add NAME 127.0.0.1 --public-key ${near.public_key}`,
        },
      },
    ]);
  });

  test("a listener with another key than the pinned one", async () => {
    await using listening = listenAs(far, known);
    expect(await outcome(callAs(near, other, listening.port))).toBe(
      `failed_precondition: far at tcp://127.0.0.1:${listening.port} has another key than the one ` +
        `that is pinned: ${far.public_key}; if its operator says that this is right: dbx remote add ` +
        `far 127.0.0.1 --port ${listening.port} --public-key ${far.public_key} --replace`,
    );
    expect(await listening.accepted()).toBeNull();
    expect(listening.lines.map(({ fields }) => fields["pin"])).toEqual([
      `dbx remote add NAME ADDRESS --public-key ${far.public_key} --replace`,
    ]);
  });
});

describe("nobody to talk to:", () => {
  test("nothing listens there", async () => {
    const listening = listenAs(far, known);
    const { port } = listening;
    await listening[Symbol.asyncDispose]();
    expect(await outcome(callAs(near, far, port))).toBe(
      `unavailable: cannot connect to far at tcp://127.0.0.1:${port}: ECONNREFUSED`,
    );
  });

  const answers: readonly (readonly [string, Uint8Array, string])[] = [
    ["HTTP", bytes("HTTP/1.1 400 Bad Request\r\n\r\n"), "does not answer as a node of dbx does"],
    [
      "EventDBX 1",
      encodeHelloResponse({ accepted: false, message: "unsupported version\u001b[31m 2" }),
      "refused: unsupported version?[31m 2",
    ],
    [
      "a node that is too eager",
      Buffer.concat([encodeHelloResponse({ accepted: true, message: "ok" }), Buffer.of(22)]),
      "does not answer as a node of dbx does",
    ],
    ["no TLS", encodeHelloResponse({ accepted: true, message: "ok" }), "TLS failed"],
  ];
  test.each(answers)("%s answers", async (name, answer, words) => {
    using listener = Bun.listen({
      ...{ hostname: "127.0.0.1", port: 0 },
      socket: {
        data(socket, piece) {
          socket.write(piece.length < 100 ? answer : bytes("garbage, no TLS at all"));
        },
        error: (socket) => socket.terminate(),
      },
    });
    expect(name).not.toBe("");
    expect(await outcome(callAs(near, far, listener.port, { bounds: patient }))).toContain(words);
  });

  test("it ends the connection, or says nothing until the time is over", async () => {
    for (const [says, words] of [
      ["goodbye", "it ended the connection"],
      ["nothing", "did not prove itself in 50 ms"],
    ]) {
      using listener = Bun.listen({
        ...{ hostname: "127.0.0.1", port: 0 },
        socket: { data: (socket) => void (says === "goodbye" && socket.end()), error: () => {} },
      });
      const bounds = { ...patient, handshake_ms: says === "nothing" ? 50 : 60_000 };
      expect(await outcome(callAs(near, far, listener.port, { bounds }))).toContain(words ?? "");
    }
  });

  test("whoever called has stopped, before, meanwhile or afterwards", async () => {
    await using listening = listenAs(far, known);
    const stopped = AbortSignal.abort();
    const words = `unavailable: the session with far at tcp://127.0.0.1:${listening.port} was stopped`;
    expect(await outcome(callAs(near, far, listening.port, { signal: stopped }))).toBe(words);
    using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const meanwhile = new AbortController();
    const calling = outcome(callAs(near, far, silent.port, { signal: meanwhile.signal }));
    meanwhile.abort();
    expect(await calling).toEndWith("was stopped");
    const afterwards = new AbortController();
    const session = await callAs(near, far, listening.port, { signal: afterwards.signal });
    const taken = await listening.accepted();
    const receiving = outcome(session.receive());
    afterwards.abort();
    expect(await receiving).toBe(words);
    expect(await outcome(session.send(bytes("x")))).toBe("unavailable: the session has ended");
    expect(await outcome(taken?.receive() ?? Promise.resolve())).toStartWith(
      "unavailable: the session was cut off",
    );
  });
});

describe("the greeting is answered, and the connection ends, where it is", () => {
  const say = (listening: Listening, hello: Uint8Array): Promise<Buffer> => {
    const heard: Buffer[] = [];
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    void Bun.connect({
      ...{ hostname: "127.0.0.1", port: listening.port },
      socket: {
        open: (socket) => void socket.write(hello),
        data: (_, piece) => void heard.push(Buffer.from(piece)),
        close: () => resolve(Buffer.concat(heard)),
        error: () => {},
      },
    });
    return promise;
  };
  const answerTo = async (listening: Listening, hello: Uint8Array) =>
    decodeHelloResponse(frameOf(await say(listening, hello)), helloBounds.pointers);

  test("of another version", async () => {
    await using listening = listenAs(far, known);
    for (const version of [0, 1, 3, 65_535]) {
      const hello = encodeHello({ version, expected_public_key: far.publicBytes });
      expect(await answerTo(listening, hello)).toEqual({
        accepted: false,
        message:
          `unsupported replication protocol version ${version}; this server speaks 2, in which ` +
          "both nodes prove their keys: it needs dbx 2 on both sides",
      });
    }
  });

  test("followed by something, or none at all", async () => {
    await using listening = listenAs(far, known);
    const early = Buffer.concat([greeting, Buffer.of(22, 3, 1)]);
    expect((await answerTo(listening, early)).message).toBe(
      "bytes came before the answer to the greeting",
    );
    const text = framed(words(struct(0, 1, 1), 2n, struct(0, 1, 0), 0n));
    expect((await answerTo(listening, text)).message).toBe("the greeting is none");
    expect(listening.lines).toHaveLength(1);
  });

  test("one too many that prove nothing, until they are cut off", async () => {
    const bounds = { ...patient, handshakes_max: 2, sessions_max: 1, handshake_ms: 200 };
    await using listening = listenAs(far, known, { bounds });
    const slow = await Promise.all([callRaw(listening.port), callRaw(listening.port)]);
    const refused = outcome(callAs(near, far, listening.port));
    expect(await refused).toContain("more than 2 nodes are proving themselves; try again");
    for (const raw of slow) {
      expect(await listening.accepted()).toBeNull();
      // Its proof, and then the end.
      expect(await raw?.read(5 + 96)).not.toBeNull();
      expect(await raw?.read(1)).toBeNull();
    }
    expect(listening.lines.map(({ fields }) => fields["reason"])).toContain(
      "nothing was proved in 200 ms",
    );
    const session = await callAs(near, far, listening.port);
    await listening.accepted();
    expect(await outcome(callAs(near, far, listening.port))).toContain("it has too many sessions");
    expect(await listening.accepted()).toBeNull();
    await session.close();
  });

  test("of whoever comes while dbx stops, and those who are there get the end", async () => {
    await using listening = listenAs(far, known);
    const session = await callAs(near, far, listening.port);
    const raw = await callRaw(listening.port);
    const closing = listening.close();
    expect(await session.receive()).toBeNull();
    expect(await raw?.read(5 + 96 + 1)).toBeNull();
    await session.close();
    await closing;
    expect(await outcome(callAs(near, far, listening.port))).toContain("refused: dbx is stopping");
  });
});

test("the nodes that are known are looked up for each caller anew", async () => {
  let remotes: Record<string, Remote> = {};
  await using listening = listenAs(far, {}, { remotes: () => remotes });
  expect(await outcome(callAs(near, far, listening.port))).toContain("does not know this node");
  remotes = known;
  await (await callAs(near, far, listening.port)).close();
  remotes = {};
  expect(await outcome(callAs(near, far, listening.port))).toContain("does not know this node");
});

test("whoever does not read holds up the other, and takes no memory", async () => {
  await using listening = listenAs(far, known);
  const session = await callAs(near, far, listening.port);
  const taken = await listening.accepted();
  const count = 64;
  const megabyte = new Uint8Array(1_000_000);
  let sent = 0;
  let received = 0;
  let ahead = 0;
  const sending = (async () => {
    for (; sent < count; sent++) {
      megabyte[0] = sent;
      // The bytes are the session's once it is called.
      await session.send(megabyte);
      ahead = Math.max(ahead, sent - received);
    }
    await session.close();
  })();
  for (;;) {
    // As long as anything can move, let it: what is held back is held by nothing but the reader.
    for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done));
    const message = await taken?.receive();
    if (message === null || message === undefined) break;
    expect([message.length, message[0]]).toEqual([1_000_000, received]);
    received++;
  }
  await sending;
  expect(received).toBe(count);
  // What the system itself holds for a connection: a few megabytes on either side.
  expect(ahead).toBeLessThan(24);
});

test("silence is noticed, and a busy node is not taken for a silent one", async () => {
  const bounds = { ...patient, alive_ms: 10, silence_ms: 200 };
  await using listening = listenAs(far, known, { bounds });
  const session = await callAs(near, far, listening.port, { bounds });
  const taken = await listening.accepted();
  // Longer than the bound, while nobody says or reads anything.
  await Promise.all([Bun.$`sleep 0.5`.quiet(), session.send(bytes("x"))]);
  expect(await taken?.receive()).toEqual(bytes("x"));
  await session.close();

  // The other end has more patience, so that it is not the first to notice.
  await using calm = listenAs(far, known, { bounds: { ...bounds, silence_ms: 20_000 } });
  let held = false;
  using proxy = proxyTo(calm.port, (piece) => (held ? [] : [piece]));
  const lonely = await callAs(near, far, proxy.port, { bounds });
  const other_end = await calm.accepted();
  held = true;
  const silent = "unavailable: nothing was heard for 200 ms";
  expect(await outcome(lonely.receive())).toBe(silent);
  expect(await outcome(other_end?.receive() ?? Promise.resolve())).toContain("unavailable: ");
});

test("a session and a message have a size", async () => {
  const bounds = { ...patient, message_bytes_max: 100, bytes_max: 400 };
  await using listening = listenAs(far, known);
  const session = await callAs(near, far, listening.port, { bounds });
  expect(await outcome(session.send(new Uint8Array(101)))).toBe(
    "too_large: a message to far has at most 100 bytes",
  );
  await session.send(new Uint8Array(100));
  await session.send(new Uint8Array(100));
  expect(await outcome(session.send(new Uint8Array(100)))).toBe(
    "unavailable: the session with far has carried 400 bytes; open another",
  );
  await session.close();
});
