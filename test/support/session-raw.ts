// A caller that can say anything within TLS, at any moment. It shares no line with the code that it
// calls: the greeting, the exporter, the signatures and the parts are written out here once more.

import type { Socket } from "bun";
import { createHash } from "node:crypto";

const alpn = (name: string) => Buffer.concat([Buffer.of(name.length), Buffer.from(name)]);
/** Version 2, and 32 zeros in place of a key. */
export const greeting = Buffer.from(
  `0000000007000000 0000000001000100 0200000000000000 0100000002010000 ${"00".repeat(32)}`.replaceAll(
    " ",
    "",
  ),
  "hex",
);

export interface Raw extends Disposable {
  /** The answer to the greeting, as bytes. */
  readonly response: Buffer;
  /** What TLS gives to both ends. */
  readonly exported: Buffer;
  readonly send: (bytes: Uint8Array) => void;
  /** This many bytes of what the listener says; null where it ends before. */
  readonly read: (count: number) => Promise<Buffer | null>;
}

export interface RawOptions {
  readonly hello?: Uint8Array;
  readonly tls?: object;
  /** Of the exporter. */
  readonly label?: string;
}

/** Null where TLS does not come about. */
export async function callRaw(port: number, options: RawOptions = {}): Promise<Raw | null> {
  const { hello = greeting, label = "EXPORTER-dbx-replication-2" } = options;
  const established = Promise.withResolvers<Buffer | null>();
  let response: Buffer | null = null;
  let held = Buffer.alloc(0);
  let ended = false;
  let wake = Promise.withResolvers<void>();
  let secured: Socket<undefined> | null = null;
  const signal = () => {
    const { resolve } = wake;
    wake = Promise.withResolvers();
    resolve();
  };
  const end = () => {
    ended = true;
    established.resolve(null);
    signal();
  };
  const tls = {
    ...{ minVersion: 0x0304, rejectUnauthorized: false },
    ...{ ALPNProtocols: alpn("dbx-replication/2"), ...options.tls },
  };
  const socket = await Bun.connect<undefined>({
    ...{ hostname: "127.0.0.1", port },
    socket: {
      open: (opened) => void opened.write(hello),
      data(opened, piece) {
        if (response !== null) return;
        response = Buffer.from(piece);
        const context = createHash("sha256").update(hello).update(response).digest();
        const handler = {
          handshake(upgraded: Socket<undefined>) {
            try {
              established.resolve(upgraded.exportKeyingMaterial(32, label, context));
            } catch {
              // TLS has failed.
              end();
            }
          },
          data(_: unknown, bytes: Buffer) {
            held = Buffer.concat([held, bytes]);
            signal();
          },
          ...{ drain: () => {}, end, close: end, error: end },
        };
        [, secured] = opened.upgradeTLS<undefined>({ tls, socket: handler });
      },
      ...{ drain: () => {}, end, close: end, error: end },
    },
  });
  const exported = await established.promise;
  if (exported === null || response === null) {
    socket.terminate();
    return null;
  }
  return {
    ...{ response, exported },
    send: (bytes) => void secured?.write(bytes),
    async read(count) {
      while (held.length < count && !ended) await wake.promise;
      if (held.length < count) return null;
      const taken = held.subarray(0, count);
      held = held.subarray(count);
      return taken;
    },
    [Symbol.dispose]: () => void socket.terminate(),
  };
}

/** One byte of kind, four of length, the rest. */
export const part = (kind: number, payload: Uint8Array, length = payload.length): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = kind;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
};

/** What is signed, letter by letter. */
export const signedText = (role: string, ...parts: readonly Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.from(`dbx replication 2 ${role}`), Buffer.of(0), ...parts]);
