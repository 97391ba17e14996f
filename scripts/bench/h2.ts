// As much of an HTTP/2 client (RFC 9113) as a load needs, on one raw socket: grpc-js or node:http2
// as the client would take more of the machine than the server that is measured. Requests are bytes
// made beforehand; of an answer only its messages and its end are looked at.

import {
  flag,
  frame,
  frameOf,
  headerBlock,
  preface,
  readFrames,
  readMessages,
  uint32,
  type Frame,
} from "./h2-frames.ts";

/** What the server may be ahead of us; given back when half of it is used. */
const receive_window = 2 ** 30;
/** What either side may send before it is told of another window (section 6.9.2). */
const window_default = 65_535;
/** What every server takes (section 4.2). */
const frame_bytes_max = 16_384;

export interface Answering {
  readonly onMessage: (message: Buffer) => void;
  /** `messages` came; a refusal comes without any, or with fewer than were due. */
  readonly onEnd: (messages: number) => void;
}

export interface H2 {
  /** Begins a call with its first message, length and all. `last`: nothing else will be sent. */
  readonly call: (first: Buffer, options: { last: boolean } & Answering) => Call;
}

export interface Call {
  readonly send: (message: Buffer, options: { last: boolean }) => void;
  /** Bytes that wait for the server to take them. */
  readonly waiting: () => number;
}

interface Stream extends Answering {
  readonly id: number;
  messages: number;
  partial: Buffer;
  /** What the server may still be sent on it. */
  window: number;
  /** What waits to be sent, oldest first. */
  readonly queue: Buffer[];
  ended: boolean;
}

/** A connection for calls of one gRPC method. */
export async function connectH2(options: {
  port: number;
  path: string;
  token: string;
}): Promise<H2> {
  const headers = headerBlock(options);
  const out = createOutlet();
  const streams = new Map<number, Stream>();
  const windows = { all: window_default, initial: window_default, received: 0 };
  const sender = createSender({ out, windows });
  const take = createReceiver({ out, windows, streams, flush: sender });
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: options.port,
    socket: {
      data: (_socket, chunk) => out.together(() => take(chunk)),
      drain: () => out.write(Buffer.alloc(0)),
      close: () => {
        throw new Error("the server closed a connection");
      },
    },
  });
  out.connect((bytes) => socket.write(bytes));
  const settings = Buffer.concat([Buffer.from([0, 4]), uint32(receive_window)]);
  const opening = [
    preface,
    frameOf(frame.settings, { flags: 0, id: 0, body: settings }),
    frameOf(frame.window, { flags: 0, id: 0, body: uint32(receive_window) }),
  ];
  out.write(Buffer.concat(opening));
  let nextId = 1;
  return {
    call(first, { last, ...answering }) {
      const stream: Stream = {
        ...answering,
        ...{ id: nextId, messages: 0, partial: Buffer.alloc(0) },
        ...{ window: windows.initial, queue: [first], ended: last },
      };
      nextId += 2;
      streams.set(stream.id, stream);
      out.together(() => {
        out.write(frameOf(frame.headers, { flags: flag.endHeaders, id: stream.id, body: headers }));
        sender(stream);
      });
      return {
        send(message, { last: ended }) {
          stream.ended = ended;
          stream.queue.push(message);
          out.together(() => sender(stream));
        },
        waiting: () => stream.queue.reduce((sum, { length }) => sum + length, out.unsent()),
      };
    },
  };
}

interface Outlet {
  readonly connect: (send: (bytes: Buffer) => number) => void;
  readonly write: (bytes: Buffer) => void;
  /** What the work writes goes out as one: a system call for many frames. */
  readonly together: (work: () => void) => void;
  readonly unsent: () => number;
}

function createOutlet(): Outlet {
  let send: (bytes: Buffer) => number = () => 0;
  let unsent: Buffer = Buffer.alloc(0);
  let batch: Buffer[] | null = null;
  const write = (bytes: Buffer): void => {
    if (batch !== null) {
      batch.push(bytes);
      return;
    }
    const all = unsent.length === 0 ? bytes : Buffer.concat([unsent, bytes]);
    unsent = all.length === 0 ? all : all.subarray(Math.max(0, send(all)));
  };
  return {
    write,
    connect: (sending) => (send = sending),
    together(work) {
      if (batch !== null) return work();
      const frames: Buffer[] = [];
      batch = frames;
      work();
      batch = null;
      if (frames.length > 0) write(Buffer.concat(frames));
    },
    unsent: () => unsent.length,
  };
}

interface Windows {
  /** What the server may still be sent on all streams together. */
  all: number;
  /** What it may be sent on a new one. */
  initial: number;
  /** What has come since the last time that it was given back. */
  received: number;
}

type Flush = (stream: Stream) => void;

/** Sends of a stream what the windows allow. */
const createSender =
  ({ out, windows }: { out: Outlet; windows: Windows }): Flush =>
  (stream) => {
    const { queue, id } = stream;
    for (let [bytes] = queue; bytes !== undefined; [bytes] = queue) {
      const allowed = Math.min(bytes.length, windows.all, stream.window, frame_bytes_max);
      if (allowed <= 0) return;
      const isWhole = allowed === bytes.length;
      const isLast = isWhole && stream.ended && queue.length === 1;
      const flags = isLast ? flag.endStream : 0;
      out.write(frameOf(frame.data, { flags, id, body: bytes.subarray(0, allowed) }));
      windows.all -= allowed;
      stream.window -= allowed;
      if (isWhole) queue.shift();
      else queue[0] = bytes.subarray(allowed);
    }
  };

function createReceiver(deps: {
  out: Outlet;
  windows: Windows;
  streams: Map<number, Stream>;
  flush: Flush;
}): (chunk: Buffer) => void {
  const { out, windows, streams, flush } = deps;
  let rest: Buffer = Buffer.alloc(0);
  const reply = (type: number, flags: number, body: Buffer) =>
    out.write(frameOf(type, { flags, id: 0, body }));

  function accept({ type, flags, id, body }: Frame): void {
    const isAsked = (flags & flag.ack) === 0;
    if (type === frame.settings && isAsked) return settle(body);
    if (type === frame.ping && isAsked) return reply(frame.ping, flag.ack, body);
    if (type === frame.window) return widen(id, body.readUInt32BE(0));
    if (type === frame.goAway) throw new Error(`sent away: ${body.toString("latin1")}`);
    const stream = streams.get(id);
    if (stream === undefined) return;
    if (type === frame.data) readData(stream, body);
    const carriesEnd = type === frame.data || type === frame.headers;
    if (type !== frame.reset && !(carriesEnd && (flags & flag.endStream) !== 0)) return;
    streams.delete(id);
    stream.onEnd(stream.messages);
  }

  function readData(stream: Stream, body: Buffer): void {
    windows.received += body.length;
    if (windows.received > receive_window / 2) giveBack();
    const all = stream.partial.length === 0 ? body : Buffer.concat([stream.partial, body]);
    stream.partial = readMessages(all, (message) => {
      stream.messages++;
      stream.onMessage(message);
    });
  }

  function settle(body: Buffer): void {
    for (let at = 0; at + 6 <= body.length; at += 6) {
      if (body.readUInt16BE(at) !== 4) continue;
      const value = body.readUInt32BE(at + 2);
      for (const stream of streams.values()) stream.window += value - windows.initial;
      windows.initial = value;
    }
    reply(frame.settings, flag.ack, Buffer.alloc(0));
    for (const stream of streams.values()) flush(stream);
  }

  function widen(id: number, by: number): void {
    const stream = streams.get(id);
    if (id === 0) {
      windows.all += by;
      for (const each of streams.values()) flush(each);
    } else if (stream !== undefined) {
      stream.window += by;
      flush(stream);
    }
  }

  function giveBack(): void {
    const body = uint32(windows.received);
    for (const id of [0, ...streams.keys()]) {
      out.write(frameOf(frame.window, { flags: 0, id, body }));
    }
    windows.received = 0;
  }

  return (chunk) => {
    rest = readFrames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]), accept);
  };
}
