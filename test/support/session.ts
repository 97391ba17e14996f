// Two nodes on loopback, and who may sit between them: a proxy that sees each piece as it passes
// and decides what becomes of it.

import type { Socket } from "bun";
import { createHash, createPublicKey, sign } from "node:crypto";
import type { Log, LogFields } from "../../src/log.ts";
import { DbxError } from "../../src/model/error.ts";
import { publicKeyText, type Remote } from "../../src/model/remote.ts";
import { privateKeyOf, type NodeKeys } from "../../src/replication/keys.ts";
import { createAcceptor, type AcceptorOptions } from "../../src/replication/session-acceptor.ts";
import { openSession, type OpenSessionOptions } from "../../src/replication/session-caller.ts";
import type { Session } from "../../src/replication/session.ts";
import { createFrameReader } from "../../src/wire/frame.ts";
import { helloBounds } from "../../src/wire/hello.ts";

export type Node = Pick<NodeKeys, "public_key" | "publicBytes" | "sign">;

/** A node by name: the same key each time. */
export function nodeOf(name: string): Node {
  const key = privateKeyOf(createHash("sha256").update(name).digest());
  const publicBytes = new Uint8Array(
    createPublicKey(key).export({ format: "der", type: "spki" }).subarray(12),
  );
  return {
    public_key: publicKeyText(publicBytes),
    publicBytes,
    sign: (message) => sign(null, message, key),
  };
}

export const remoteOf = (node: Pick<Node, "public_key">): Remote => ({
  endpoint: "tcp://127.0.0.1:1",
  public_key: node.public_key,
});

export interface Line {
  readonly phrase: string;
  readonly fields: LogFields;
}

export interface Listening extends AsyncDisposable {
  readonly port: number;
  readonly lines: Line[];
  /** The next session that comes about; null for a caller that was refused. */
  readonly accepted: () => Promise<Session | null>;
  /** How many greetings were accepted. */
  readonly begun: () => number;
  readonly figures: () => Record<string, number>;
  readonly close: () => Promise<void>;
}

interface Connection {
  frames: ReturnType<typeof createFrameReader>;
  taken: boolean;
}

/** A listener as the control socket is one: it reads the greeting, then hands the socket over. */
export function listenAs(
  keys: Node,
  remotes: Readonly<Record<string, Remote>>,
  over: Partial<Pick<AcceptorOptions, "bounds" | "remotes">> = {},
): Listening {
  const lines: Line[] = [];
  const note = (phrase: string, fields: LogFields = {}) => void lines.push({ phrase, fields });
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const acceptor = createAcceptor({
    ...{ keys, remotes: () => remotes, log },
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    ...over,
  });
  const arrived: Promise<Session | null>[] = [];
  let begun = 0;
  const waiting: ((session: Promise<Session | null>) => void)[] = [];
  const listener = Bun.listen<Connection>({
    ...{ hostname: "127.0.0.1", port: 0, allowHalfOpen: true },
    socket: {
      open(socket) {
        socket.data = { frames: createFrameReader(helloBounds.frames), taken: false };
      },
      data(socket, piece) {
        const { data } = socket;
        if (data.taken) return;
        data.frames.push(piece);
        const hello = data.frames.next();
        if (hello === null) return;
        data.taken = true;
        const greeted = acceptor.greet(socket, hello, { early: data.frames.held() > 0 });
        if (greeted.kind === "begun") {
          begun++;
          const next = waiting.shift();
          if (next === undefined) arrived.push(greeted.session);
          else next(greeted.session);
        } else {
          socket.write(greeted.answer);
          socket.end();
        }
      },
      drain: () => {},
      end: (socket) => void (socket.data.taken || socket.end()),
      close: () => {},
      error: (socket) => socket.terminate(),
    },
  });
  return {
    ...{ port: listener.port, lines, figures: acceptor.figures, close: acceptor.close },
    begun: () => begun,
    accepted: () =>
      arrived.shift() ??
      new Promise((resolve) => {
        waiting.push(resolve);
      }),
    async [Symbol.asyncDispose]() {
      await acceptor.close();
      listener.stop(true);
    },
  };
}

/** Opens a session as `keys`, with whoever has the key of `wanted`. */
export const callAs = (
  keys: Node,
  wanted: Pick<Node, "public_key">,
  port: number,
  over: Partial<OpenSessionOptions> = {},
): Promise<Session> =>
  openSession(
    { host: "127.0.0.1", port },
    {
      ...{ keys, signal: new AbortController().signal },
      pinned: { name: "far", public_key: wanted.public_key, allow: ["read"] },
      ...over,
    },
  );

/** `code: message` of what is thrown; `done` where nothing is. */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    if (error instanceof DbxError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

/** Everything until the end; `failed` where it was cut off. */
export async function readAll(session: Session): Promise<{ texts: string[]; failed: boolean }> {
  const texts: string[] = [];
  for (;;) {
    try {
      const message = await session.receive();
      if (message === null) return { texts, failed: false };
      texts.push(Buffer.from(message).toString("latin1"));
    } catch (error) {
      if (error instanceof DbxError) return { texts, failed: true };
      throw error;
    }
  }
}

export type Direction = "up" | "down";

/** In: a piece and how many bytes have passed before it. Out: what goes on; null ends both sides. */
export type Tamper = (piece: Buffer, direction: Direction, before: number) => Buffer[] | null;

interface Half {
  other: Socket<Half> | null;
  passed: number;
  queue: Buffer[];
  readonly direction: Direction;
}

/** Everything that was said on one connection through a proxy. */
export interface Recorded {
  readonly up: Buffer[];
  readonly down: Buffer[];
}

/** Between a caller and a listener; sends each piece on as `tamper` says. */
export function proxyTo(
  port: number,
  tamper: Tamper = (piece) => [piece],
): Disposable & { readonly port: number; readonly recorded: Recorded[] } {
  const recorded: Recorded[] = [];
  const flush = (half: Half, to: Socket<Half>) => {
    while (half.queue.length > 0) {
      const [piece] = half.queue;
      if (piece === undefined) break;
      const sent = Math.max(0, to.write(piece));
      if (sent < piece.length) {
        half.queue[0] = piece.subarray(sent);
        return;
      }
      half.queue.shift();
    }
  };
  const pass = (socket: Socket<Half>, piece: Buffer, record: Recorded) => {
    const half = socket.data;
    record[half.direction].push(Buffer.from(piece));
    const out = tamper(Buffer.from(piece), half.direction, half.passed);
    half.passed += piece.length;
    if (out === null) {
      socket.end();
      half.other?.end();
      return;
    }
    half.queue.push(...out);
    if (half.other !== null) flush(half, half.other);
  };
  const listener = Bun.listen<Half>({
    ...{ hostname: "127.0.0.1", port: 0 },
    socket: {
      open(socket) {
        const record: Recorded = { up: [], down: [] };
        recorded.push(record);
        socket.data = { other: null, passed: 0, queue: [], direction: "up" };
        void Bun.connect<Half>({
          ...{ hostname: "127.0.0.1", port },
          data: { other: socket, passed: 0, queue: [], direction: "down" },
          socket: {
            open(far) {
              socket.data.other = far;
              flush(socket.data, far);
            },
            data: (far, piece) => pass(far, piece, record),
            drain: (far) => flush(socket.data, far),
            close: () => void socket.end(),
            error: (far) => far.terminate(),
          },
        });
      },
      data(socket, piece) {
        const record = recorded.at(-1);
        if (record !== undefined) pass(socket, piece, record);
      },
      drain(socket) {
        if (socket.data.other !== null) flush(socket.data.other.data, socket);
      },
      close: (socket) => void socket.data.other?.end(),
      error: (socket) => socket.terminate(),
    },
  });
  return {
    ...{ port: listener.port, recorded },
    [Symbol.dispose]: () => listener.stop(true),
  };
}
