// A client of the control socket that can do anything but speak for somebody else: it sends bytes
// as they are told, and reads answers one by one.

import { createFrameReader } from "../../src/wire/frame.ts";
import { decodeResponse, encodeRequest, wide, type Response } from "./capnp.ts";

export interface SocketClient extends Disposable {
  readonly send: (bytes: Uint8Array) => void;
  /** The next answer; rejects where the connection ends before it is whole. */
  readonly next: () => Promise<Response>;
  /** A request and its answer. */
  readonly ask: (args: readonly string[], token?: string) => Promise<Response>;
  /** Says that nothing more is sent. */
  readonly end: () => void;
  /** Takes nothing more, or goes on. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Goes without a word. */
  readonly reset: () => void;
  /** Resolves when the server has ended the connection. */
  readonly closed: Promise<void>;
}

export async function connectSocket(port: number): Promise<SocketClient> {
  const frames = createFrameReader(wide);
  const closed = Promise.withResolvers<void>();
  let isClosed = false;
  let wake = Promise.withResolvers<void>();
  let unsent = new Uint8Array();
  const signal = () => {
    const { resolve } = wake;
    wake = Promise.withResolvers<void>();
    resolve();
  };
  const finish = () => {
    isClosed = true;
    closed.resolve();
    signal();
  };
  const flush = () => {
    if (unsent.length > 0) unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  };
  const socket = await Bun.connect({
    ...{ hostname: "127.0.0.1", port, allowHalfOpen: true },
    socket: {
      data(_, piece) {
        frames.push(piece);
        signal();
      },
      drain: flush,
      end: finish,
      close: finish,
      error: finish,
    },
  });
  const send = (bytes: Uint8Array) => {
    unsent = new Uint8Array(Buffer.concat([unsent, bytes]));
    flush();
  };
  const next = async (): Promise<Response> => {
    for (;;) {
      const frame = frames.next();
      if (frame !== null) return decodeResponse(frame);
      if (isClosed) throw new Error(`closed with ${frames.held()} bytes of an answer`);
      await wake.promise;
    }
  };
  return {
    ...{ send, next },
    ask(args, token) {
      send(encodeRequest(args, token));
      return next();
    },
    end: () => void socket.shutdown(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    reset: () => void socket.terminate(),
    closed: closed.promise,
    [Symbol.dispose]: () => void socket.terminate(),
  };
}
