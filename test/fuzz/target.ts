// What can be fuzzed, and how a case reaches a server: bytes on a connection of their own, and what
// came back until the other side closed.

import { fromWire } from "../../src/api/errors.ts";
import type { Dice } from "./dice.ts";

/** A case that is neither answered nor closed by then hangs: a busy machine needs a second. */
export const case_ms_max = 20_000;
/** An answer without end has been seen enough of after this. */
export const linger_ms = 150;

export interface Goal {
  readonly port: number;
  /** A token of group `admin`. */
  readonly token: string;
}

export interface Target {
  readonly name: string;
  /** Makes one case of the dice and tries it. Resolves with what is wrong. */
  readonly attempt: (goal: Goal, dice: Dice) => Promise<readonly string[]>;
}

export interface Exchanged {
  readonly received: Buffer;
  /** The server has not closed the connection in time. */
  readonly hangs: boolean;
}

/**
 * Sends the bytes, a piece at a time. `leaves`: ends the writing half then, so that whatever the
 * server still waits for does not come. `enough`: a part of the answer after which it is cut.
 */
export async function exchange(
  { port }: Goal,
  pieces: readonly Buffer[],
  options: { leaves?: boolean; enough?: (received: Buffer) => boolean } = {},
): Promise<Exchanged> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let received = Buffer.alloc(0);
  let unsent = Buffer.concat(pieces.slice(1));
  const over = (): void => resolve(false);
  const send = (socket: { write: (bytes: Buffer) => number }): void => {
    if (unsent.length > 0) unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      data(_, chunk) {
        received = Buffer.concat([received, chunk]);
        if (options.enough?.(received) === true) over();
      },
      drain: send,
      end: over,
      close: over,
      error: over,
    },
  });
  socket.setNoDelay(true);
  unsent = Buffer.concat([pieces[0] ?? Buffer.alloc(0)]);
  for (const piece of pieces.slice(1)) {
    send(socket);
    // A turn of the loop, so that the pieces arrive apart.
    await new Promise((next) => setImmediate(next));
    unsent = Buffer.concat([unsent, piece]);
  }
  send(socket);
  if (options.leaves === true && unsent.length === 0) socket.shutdown();
  const deadline = setTimeout(() => resolve(true), case_ms_max);
  const hangs = await promise;
  clearTimeout(deadline);
  socket.terminate();
  return { received, hangs };
}

/** A request that ends its connection, framed as it must be. */
export function requestBytes(
  request: { method: string; path: string; body: Buffer },
  fields: readonly string[],
): Buffer {
  const { method, path, body } = request;
  const bodiless = method === "GET" || method === "HEAD";
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...["Host: 127.0.0.1", "Connection: close", ...fields],
    ...(bodiless ? [] : [`Content-Length: ${body.length}`]),
  ];
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return bodiless ? head : Buffer.concat([head, body]);
}

/** The bytes in up to three pieces. */
export function cut(dice: Dice, bytes: Buffer): Buffer[] {
  if (!dice.chance(0.2) || bytes.length === 0) return [bytes];
  const at = [0, dice.below(bytes.length), dice.below(bytes.length), bytes.length];
  const sorted = at.toSorted((left, right) => left - right);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

/** What Bun's parser answers by itself, without a body. */
const parserStatus = [400, 408, 411, 413, 414, 417, 431, 501, 505];

/** What is wrong with what a server sent on a connection for one request. */
export function faultsOf(
  { received, hangs }: Exchanged,
  { head: headAlone } = { head: false },
): string[] {
  if (hangs) return [`neither answered nor closed: ${JSON.stringify(String(received))}`];
  const text = received.toString();
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const body = rest.join("\r\n\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  const fault = (why: string): string[] => [`${why}: ${JSON.stringify(text.slice(0, 600))}`];
  if (Number.isNaN(status)) return fault("no answer");
  if (status < 400) return [];
  if (headAlone) return status === 500 ? fault("failed") : [];
  if (body === "") return parserStatus.includes(status) ? [] : fault("no reason");
  const chunked = /^transfer-encoding: *chunked/im.test(head);
  const json = chunked ? body.replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/gi, "").trimEnd() : body;
  return refusalFaults(status, json).flatMap(fault);
}

function refusalFaults(status: number, body: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return ["a refusal that is no JSON"];
  }
  if (typeof value !== "object" || value === null) return ["a refusal that is no object"];
  if ("errors" in value && Array.isArray(value.errors)) {
    const codes = value.errors.map((error) => error?.extensions?.code);
    return codes.flatMap((code) => {
      if (typeof code !== "string") return ["an error without a code"];
      return code === "internal" ? ["an internal error"] : [];
    });
  }
  if (status >= 500 && status !== 503) return [`status ${status}`];
  const shape = Object.keys(value).toString() === "message,code,details";
  const { code } = { code: undefined, ...value };
  return shape && fromWire(value)?.code === code ? [] : ["another shape"];
}
