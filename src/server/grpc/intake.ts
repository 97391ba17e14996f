// What calls bring, bounded before it is held: the size of each message, all of them together, the
// calls that need no token, and how long half a message may take. grpc-js bounds single messages
// only, and gathers them itself; so each call gets a decoder of ours in place of its own. That and
// the stream below it are the two things taken from the inside of grpc-js (DESIGN.md).

import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { assert, invalidArgument, overloaded, tooLarge, unavailable } from "../../model/error.ts";

/** As in model/limits.ts; tests hand in smaller ones. */
export type IntakeBounds = Readonly<
  Record<
    | "grpc_message_bytes_max"
    | "grpc_small_bytes_max"
    | "grpc_bytes_max"
    | "grpc_open_bytes_max"
    | "grpc_open_calls_max"
    | "grpc_open_calls_each_max"
    | "grpc_silence_ms"
    | "body_ms_max"
    | "load_chars_max"
    | "farewell_ms",
    number
  >
>;

export interface Kind {
  /** Whether it needs no token. */
  readonly isOpen: boolean;
  /** Whether it brings events: anything else has no reason to be large. */
  readonly isLarge: boolean;
  /** Whether it brings one message after the other, to a handler that runs from the beginning. */
  readonly isDuplex: boolean;
}

/** Why no more messages come, and how many came before. */
export interface Fault {
  readonly after: number;
  readonly thrown: unknown;
}

export interface Incoming {
  /** Told once, for a duplex call: its handler refuses it when it has come so far. */
  readonly onFault: (listener: (fault: Fault) => void) => void;
  /** The oldest message that was not released is held no more. Those left go with the call. */
  readonly release: () => void;
  /** Ends the call without a word. */
  readonly cut: () => void;
}

export interface Admitted extends Incoming {
  readonly startRead: () => void;
  /** Nothing more comes: the handler runs now, if it did not before. */
  readonly begin: () => void;
  readonly end: () => void;
}

export interface Intake {
  /** Throws `overloaded` for an open call too many. `refuse` tells of a call that has not begun. */
  readonly admit: (
    call: ServerInterceptingCallInterface,
    kind: Kind,
    refuse: (thrown: unknown) => void,
  ) => Admitted;
  readonly figures: () => Record<string, number>;
}

export function createIntake(bounds: IntakeBounds, stopping: AbortSignal): Intake {
  const budgets = {
    token: createBudget(bounds.grpc_bytes_max),
    open: createBudget(bounds.grpc_open_bytes_max),
  };
  const ofConnection = new WeakMap<object, number>();
  let open = 0;

  function enter(connection: object): void {
    const here = ofConnection.get(connection) ?? 0;
    if (open >= bounds.grpc_open_calls_max) throw tooManyOpen(bounds.grpc_open_calls_max);
    if (here >= bounds.grpc_open_calls_each_max) throw tooManyOpen(bounds.grpc_open_calls_each_max);
    open++;
    ofConnection.set(connection, here + 1);
  }

  function leave(connection: object): void {
    open--;
    ofConnection.set(connection, (ofConnection.get(connection) ?? 1) - 1);
  }

  return {
    figures: () => ({
      grpc_message_bytes: budgets.token.held() + budgets.open.held(),
      grpc_open_calls: open,
    }),
    admit(call, kind, refuse) {
      const stream = streamOf(call);
      const { connection } = stream;
      if (kind.isOpen) enter(connection);
      return follow(call, {
        ...{ bounds, kind, stopping, refuse },
        budget: kind.isOpen ? budgets.open : budgets.token,
        cut: stream.destroy,
        left: () => void (kind.isOpen && leave(connection)),
      });
    },
  };
}

interface Followed {
  readonly bounds: IntakeBounds;
  readonly kind: Kind;
  readonly stopping: AbortSignal;
  readonly refuse: (thrown: unknown) => void;
  readonly budget: Budget;
  readonly cut: () => void;
  readonly left: () => void;
}

function follow(call: ServerInterceptingCallInterface, options: Followed): Admitted {
  const { bounds, kind, stopping, refuse, budget, cut, left } = options;
  const most = kind.isLarge ? bounds.grpc_message_bytes_max : bounds.grpc_small_bytes_max;
  const patience_ms = kind.isLarge ? bounds.body_ms_max : bounds.grpc_silence_ms;
  /** What each message that is held has set aside, the oldest first. */
  const set_aside: number[] = [];
  let held = 0;
  let count = 0;
  let isReading = false;
  let isPutOff = false;
  let hasBegun = kind.isDuplex;
  let isHalfClosed = false;
  let hasEnded = false;
  let timer: Timer | undefined;
  let fault: Fault | null = null;
  let onFault: ((fault: Fault) => void) | null = null;

  const decoder = createDecoder({
    most,
    begin(bytes) {
      budget.reserve(bytes);
      held += bytes;
      set_aside.push(bytes);
    },
    fail,
  });
  Reflect.set(call, "decoder", {
    write(piece: Buffer): Buffer[] {
      if (fault !== null || hasEnded) return [];
      const messages = decoder.write(piece);
      count += messages.length;
      if (messages.length > 0) {
        isReading = false;
        if (hasBegun) stopWaiting();
      }
      wait();
      return messages;
    },
  });
  // Bounds what a compressed message unfolds to.
  Reflect.set(call, "maxReceiveMessageSize", most);
  stopping.addEventListener("abort", stop);
  wait();

  function fail(thrown: unknown): void {
    if (fault !== null || hasEnded) return;
    fault = { after: count, thrown };
    stopWaiting();
    if (!hasBegun) refuse(thrown);
    else onFault?.(fault);
  }

  /** A call has one time for its only message; one of many messages has it for each. */
  function wait(): void {
    if (timer !== undefined || fault !== null || hasEnded) return;
    if (hasBegun && !kind.isDuplex) return;
    if (kind.isDuplex && !isReading) return;
    const isSilent = count === 0 || kind.isOpen;
    if (kind.isDuplex && !decoder.isWithin() && !isSilent) return;
    const ms = kind.isDuplex && !decoder.isWithin() ? bounds.grpc_silence_ms : patience_ms;
    timer = setTimeout(() => fail(tooSlow(ms)), ms);
  }

  function stopWaiting(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  function stop(): void {
    if (!hasBegun || (kind.isDuplex && kind.isOpen)) fail(unavailable("dbx is stopping"));
  }

  /** Whoever is ahead of the disk by so much waits in his own connection. */
  function startRead(): void {
    isPutOff = kind.isDuplex && held > bounds.load_chars_max;
    if (isPutOff) return;
    isReading = true;
    // A message in part that began within the piece before has its time from now on.
    stopWaiting();
    wait();
    call.startRead();
  }

  function free(bytes: number): void {
    held -= bytes;
    budget.free(bytes);
  }

  return {
    startRead,
    cut,
    onFault(listener) {
      onFault = listener;
      if (fault !== null) listener(fault);
    },
    release() {
      free(set_aside.shift() ?? 0);
      if (isPutOff && !hasEnded) startRead();
    },
    begin() {
      hasBegun = true;
      isHalfClosed = true;
      if (!kind.isDuplex) stopWaiting();
    },
    end() {
      if (hasEnded) return;
      hasEnded = true;
      stopWaiting();
      stopping.removeEventListener("abort", stop);
      set_aside.length = 0;
      free(held);
      left();
      // Whoever has his answer and does not end what he began would hold his stream for ever.
      if (!isHalfClosed) setTimeout(cut, bounds.farewell_ms);
    },
  };
}

interface Budget {
  /** Throws `overloaded`. */
  readonly reserve: (bytes: number) => void;
  readonly free: (bytes: number) => void;
  readonly held: () => number;
}

function createBudget(limit: number): Budget {
  let held = 0;
  return {
    reserve(bytes) {
      if (held + bytes > limit) throw tooMuch({ held, limit });
      held += bytes;
    },
    free: (bytes) => void (held -= bytes),
    held: () => held,
  };
}

/** A flag, then the length in four bytes. */
const head_bytes = 5;
/** What a message takes besides its bytes. */
const overhead_bytes = 256;
/** What deflate can unfold a byte to (zlib's own figure). */
const unfolding_max = 1_032;

/** Messages out of pieces, as grpc-js wants them: each with its head. */
function createDecoder(options: {
  most: number;
  begin: (bytes: number) => void;
  fail: (thrown: unknown) => void;
}) {
  const { most, begin, fail } = options;
  const head = Buffer.alloc(head_bytes);
  let message = head;
  let filled = 0;

  /** What is set aside before the first byte of the message: who is refused need not send it. */
  function open(): void {
    const length = head.readUInt32BE(1);
    if (length > most) throw tooLarge(`a message must have at most ${most} bytes`, { limit: most });
    const isCompressed = head[0] === 1;
    const unfolded = isCompressed ? Math.min(most, length * unfolding_max) : 0;
    begin(length + unfolded + overhead_bytes);
    // In one piece: one byte at a time would otherwise cost a hundred times itself.
    message = Buffer.allocUnsafe(head_bytes + length);
    head.copy(message);
  }

  function fill(piece: Buffer, messages: Buffer[]): void {
    for (let at = 0; at < piece.length;) {
      const taken = piece.copy(message, filled, at);
      at += taken;
      filled += taken;
      if (message === head && filled === head_bytes) open();
      if (message === head || filled < message.length) continue;
      messages.push(message);
      message = head;
      filled = 0;
    }
  }

  return {
    /** Whether a message has begun and not ended. */
    isWithin: () => filled > 0,
    write(piece: Buffer): Buffer[] {
      const messages: Buffer[] = [];
      try {
        fill(piece, messages);
      } catch (thrown) {
        message = head;
        filled = 0;
        // Not before what came whole in the same piece has been handed on.
        queueMicrotask(() => fail(thrown));
      }
      return messages;
    },
  };
}

/** The HTTP/2 stream of a call, and what stands for its connection. */
function streamOf(call: ServerInterceptingCallInterface) {
  const stream: unknown = Reflect.get(call, "stream");
  assert(typeof stream === "object" && stream !== null, "a call of grpc-js has its stream");
  assert("destroy" in stream && typeof stream.destroy === "function", "a stream can be ended");
  const { destroy } = stream;
  const session = "session" in stream ? stream.session : null;
  return {
    connection: typeof session === "object" && session !== null ? session : stream,
    destroy: () => void Reflect.apply(destroy, stream, []),
  };
}

const tooMuch = (details: { held: number; limit: number }) =>
  overloaded("too many messages at once; try again", details);

const tooManyOpen = (limit: number) =>
  overloaded("too many calls without a token at once; try again", { limit });

const tooSlow = (ms: number) =>
  invalidArgument(`the message took longer than ${ms} ms`, { reason: "request_timeout" });
