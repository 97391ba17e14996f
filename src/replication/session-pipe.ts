// Parts of a session on one TLS connection: a kind, a length, that many bytes. Takes what arrives
// piece by piece, never more than is wanted, and sends no faster than the other side reads. What
// the parts say is session.ts's business.

import type { Socket } from "bun";
import { assert, DbxError, unavailable } from "../model/error.ts";

/** On the wire; a number keeps its meaning for ever. */
const kinds = { proof: 1, verdict: 2, message: 3, end: 4, refusal: 5, alive: 6 } as const;
export type Kind = keyof typeof kinds;

export interface Part {
  readonly kind: Kind;
  readonly payload: Uint8Array;
}

/** What a pipe needs of a connection. */
export type PipeSocket = Pick<Socket, "write" | "end" | "terminate" | "pause" | "resume">;

export interface PipeOptions {
  /** The largest payload of such a part now; null where it does not belong here. */
  readonly bytesMax: (kind: Kind) => number | null;
  /** Takes a part. Throws what ends the connection. Out: false to be handed no more for now. */
  readonly take: (part: Part) => boolean;
  /** The connection has ended; null where the other side had said that it would. */
  readonly ended: (failure: DbxError | null) => void;
  readonly stall_ms: number;
  readonly farewell_ms: number;
  readonly alive_ms: number;
  readonly silence_ms: number;
}

export interface Pipe {
  /** Resolves when the system has it, so that a slow reader slows the writer. */
  readonly send: (kind: Kind, payload: Uint8Array) => Promise<void>;
  /** Hands out what waits, and lets more come. */
  readonly goOn: () => void;
  /** From now on says now and then that it is there, and wants to hear the same. */
  readonly stayAlive: () => void;
  /** Sends what waits and the end, then goes; at once where that takes too long. */
  readonly close: () => void;
  /** Sends what waits and goes, for this reason. */
  readonly leave: (failure: DbxError) => void;
  /** Ends it now, for this reason. */
  readonly fail: (failure: DbxError) => void;
  // What the socket tells.
  readonly push: (piece: Uint8Array) => void;
  readonly drained: () => void;
  /** The other side sends nothing more, or is gone. */
  readonly over: (reason: string) => void;
}

/** Kind and length. */
const headBytes = 5;

interface Outgoing {
  readonly bytes: Uint8Array;
  sent: number;
  readonly done: PromiseWithResolvers<void>;
}

export function createPipe(socket: PipeSocket, options: PipeOptions): Pipe {
  const reader = createReader(options.bytesMax);
  const outgoing: Outgoing[] = [];
  /** What came in one piece with a part that nobody wanted more behind. */
  let waiting: Uint8Array[] = [];
  let paused = false;
  let state: "open" | "closing" | "ended" = "open";
  let otherEnded = false;
  let reason: DbxError | null = null;
  /** How the connection ended, once it has. */
  let cut: string | null = null;
  let timer: Timer | undefined;
  let heartbeat: Timer | undefined;
  let heard_at = performance.now();

  function finish(failure: DbxError | null): void {
    if (state === "ended") return;
    state = "ended";
    clearTimeout(timer);
    clearInterval(heartbeat);
    waiting = [];
    const gone = failure ?? unavailable("the session has ended");
    for (const { done } of outgoing.splice(0)) done.reject(gone);
    options.ended(failure);
  }

  function fail(failure: DbxError): void {
    if (state === "ended") return;
    finish(failure);
    socket.terminate();
  }

  function flush(): void {
    if (state === "ended") return;
    for (;;) {
      const [next] = outgoing;
      if (next === undefined) break;
      const count = socket.write(next.bytes.subarray(next.sent));
      if (count > 0) next.sent += count;
      if (next.sent < next.bytes.length) return stall(options.stall_ms);
      outgoing.shift();
      next.done.resolve();
    }
    clearTimeout(timer);
    if (state !== "closing") return;
    socket.end();
    stall(options.farewell_ms);
  }

  /** From the last byte that went. */
  function stall(ms: number): void {
    clearTimeout(timer);
    const isClosing = state === "closing";
    timer = setTimeout(
      () => {
        if (isClosing) finish(reason);
        else finish(unavailable(`the other side takes nothing any more since ${ms} ms`));
        socket.terminate();
      },
      isClosing ? options.farewell_ms : ms,
    );
  }

  function send(kind: Kind, payload: Uint8Array): Promise<void> {
    if (state !== "open") return Promise.reject(unavailable("the session has ended"));
    const done = Promise.withResolvers<void>();
    outgoing.push({ bytes: encodePart(kind, payload), sent: 0, done });
    if (outgoing.length === 1) flush();
    return done.promise;
  }

  /** What waits first, then the piece, as far as somebody wants it. */
  function hand(): void {
    try {
      while (state === "open" && !paused && waiting.length > 0) {
        const piece = waiting.shift();
        assert(piece !== undefined, "there is a piece");
        if (otherEnded) throw unavailable("bytes came after the end of the session");
        const { part, rest } = reader.next(piece);
        if (rest.length > 0) waiting.unshift(rest);
        if (part === null) continue;
        if (part.kind === "alive") continue;
        if (part.kind === "end") otherEnded = true;
        paused = !options.take(part);
      }
    } catch (thrown) {
      return fail(
        thrown instanceof DbxError
          ? thrown
          : unavailable("the session has failed", {}, { cause: thrown }),
      );
    }
    if (waiting.length === 0 && cut !== null) settle();
    else if (paused) socket.pause();
  }

  /** The connection is over, and everything that came on it has been handed out. */
  function settle(): void {
    if (state === "ended") return;
    const said = otherEnded || state === "closing";
    finish(said ? reason : unavailable(`the session was cut off: ${cut}`));
    socket.end();
  }

  function leave(failure: DbxError | null): void {
    if (state !== "open") return;
    reason = failure;
    // Whether the end has gone is nobody's question any more.
    if (failure === null) void send("end", new Uint8Array()).catch(() => undefined);
    state = "closing";
    waiting = [];
    // Read on, so that the other side can send what it is about to, and see the end.
    socket.resume();
    if (outgoing.length === 0) flush();
  }

  /**
   * Whoever holds back the bytes of a record, or is gone without a word, would otherwise keep both
   * waiting for ever. Who does not listen himself cannot tell whether somebody speaks.
   */
  function beat(): void {
    if (state !== "open") return;
    if (
      !paused &&
      !otherEnded &&
      cut === null &&
      performance.now() - heard_at > options.silence_ms
    ) {
      return fail(unavailable(`nothing was heard for ${options.silence_ms} ms`));
    }
    if (outgoing.length === 0) void send("alive", new Uint8Array()).catch(() => undefined);
  }

  return {
    ...{ send, fail, leave },
    close: () => leave(null),
    stayAlive() {
      heartbeat = setInterval(beat, options.alive_ms);
    },
    goOn() {
      if (!paused || state !== "open") return;
      paused = false;
      heard_at = performance.now();
      hand();
      if (!paused && state === "open") socket.resume();
    },
    push(piece) {
      if (state !== "open") return;
      heard_at = performance.now();
      waiting.push(piece);
      hand();
    },
    drained: flush,
    over(why) {
      cut ??= why;
      // What had come before counts, and may hold the end.
      if (state !== "open" || waiting.length === 0) settle();
    },
  };
}

function encodePart(kind: Kind, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headBytes + payload.length);
  bytes[0] = kinds[kind];
  new DataView(bytes.buffer).setUint32(1, payload.length);
  bytes.set(payload, headBytes);
  return bytes;
}

/** Puts parts together out of pieces. */
function createReader(bytesMax: PipeOptions["bytesMax"]) {
  let head = new Uint8Array(headBytes);
  let headHeld = 0;
  let body = new Uint8Array();
  let held = 0;
  let length = 0;
  let kind: Kind = "end";

  function begin(): void {
    const known = Object.keys(kinds).find((name): name is Kind => isKind(name, head[0]));
    const max = known === undefined ? null : bytesMax(known);
    if (known === undefined || max === null) {
      throw unavailable(`a part of kind ${head[0]} does not belong here`);
    }
    length = new DataView(head.buffer).getUint32(1);
    if (length > max) throw unavailable(`a part has at most ${max} bytes here, not ${length}`);
    kind = known;
    held = 0;
    // Never what is announced before it is there.
    body = new Uint8Array(Math.min(length, firstBytes));
  }

  function fill(piece: Uint8Array): void {
    if (held + piece.length > body.length) {
      const room = new Uint8Array(Math.min(length, Math.max(held + piece.length, 2 * body.length)));
      room.set(body.subarray(0, held));
      body = room;
    }
    body.set(piece, held);
    held += piece.length;
  }

  return {
    /** A part that is whole now, if there is one, and what is left of the piece. */
    next(piece: Uint8Array): { part: Part | null; rest: Uint8Array } {
      let rest = piece;
      if (headHeld < headBytes) {
        const taken = rest.subarray(0, headBytes - headHeld);
        head.set(taken, headHeld);
        headHeld += taken.length;
        rest = rest.subarray(taken.length);
        if (headHeld < headBytes) return { part: null, rest };
        begin();
      }
      const taken = rest.subarray(0, length - held);
      fill(taken);
      rest = rest.subarray(taken.length);
      if (held < length) return { part: null, rest };
      const part = { kind, payload: body };
      head = new Uint8Array(headBytes);
      headHeld = 0;
      body = new Uint8Array();
      return { part, rest };
    },
  };
}

const firstBytes = 65_536;

const isKind = (name: string, number: number | undefined): name is Kind =>
  Object.entries(kinds).some(([known, value]) => known === name && value === number);
