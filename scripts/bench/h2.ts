// As much of an HTTP/2 client (RFC 9113) as a load needs, on one raw socket: grpc-js or node:http2
// as the client would take more of the machine than the server that is measured. Requests are bytes
// made beforehand; of an answer only its messages and its end are looked at.

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frame = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  window: 8,
} as const;
const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;
/** What the server may be ahead of us; given back when half of it is used. */
const receive_window = 2 ** 30;
const max_frame = 16_384;

export interface Answering {
  /** Whole messages, each behind its five bytes (length-prefixed, gRPC over HTTP/2). */
  readonly onMessage: (message: Buffer) => void;
  /** `messages` came; a refusal comes without any, or with fewer than were due. */
  readonly onEnd: (messages: number) => void;
}

interface Stream extends Answering {
  messages: number;
  partial: Buffer;
  /** What the server may still be sent on it. */
  window: number;
  /** Bytes that wait for it, oldest first. */
  readonly queue: Buffer[];
  ended: boolean;
}

export interface H2 {
  /** Begins a call with its first bytes. `last`: nothing else will be sent. */
  readonly call: (first: Buffer, options: { last: boolean } & Answering) => Call;
  readonly close: () => void;
}

export interface Call {
  readonly send: (bytes: Buffer, options: { last: boolean }) => void;
  /** Bytes that wait for the server to take them. */
  readonly waiting: () => number;
}

/** A connection for calls of one gRPC method. */
export async function connectH2(options: {
  port: number;
  path: string;
  token: string;
}): Promise<H2> {
  const headers = headerBlock(options);
  const streams = new Map<number, Stream>();
  let nextId = 1;
  let window = 65_535;
  let initialWindow = 65_535;
  let received = 0;
  let rest: Buffer = Buffer.alloc(0);
  let unsent: Buffer = Buffer.alloc(0);
  let batch: Buffer[] | null = null;
  let closing = false;

  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: options.port,
    socket: {
      data: (_socket, chunk) => take(chunk),
      drain: () => write(Buffer.alloc(0)),
      close: () => {
        if (!closing) throw new Error("the server closed a connection");
      },
    },
  });

  /** Together with whatever else is written meanwhile: one system call for many frames. */
  function write(bytes: Buffer): void {
    if (batch !== null) {
      batch.push(bytes);
      return;
    }
    const all = unsent.length === 0 ? bytes : Buffer.concat([unsent, bytes]);
    const sent = socket.write(all);
    unsent = all.subarray(Math.max(0, sent));
  }
  function together(work: () => void): void {
    if (batch !== null) return work();
    batch = [];
    work();
    const frames = Buffer.concat(batch);
    batch = null;
    if (frames.length > 0) write(frames);
  }

  /** Sends what the windows of the connection and of the stream allow. */
  function flush(id: number, stream: Stream): void {
    for (let [bytes] = stream.queue; bytes !== undefined; [bytes] = stream.queue) {
      const allowed = Math.min(bytes.length, window, stream.window, max_frame);
      if (allowed <= 0) return;
      const isWhole = allowed === bytes.length;
      const isLast = isWhole && stream.ended && stream.queue.length === 1;
      write(frameOf(frame.data, isLast ? flag.endStream : 0, id, bytes.subarray(0, allowed)));
      window -= allowed;
      stream.window -= allowed;
      if (isWhole) stream.queue.shift();
      else stream.queue[0] = bytes.subarray(allowed);
    }
  }

  function take(chunk: Buffer): void {
    const all = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    together(() => {
      while (all.length - at >= 9) {
        const length = all.readUIntBE(at, 3);
        if (all.length - at < 9 + length) break;
        const body = all.subarray(at + 9, at + 9 + length);
        accept(all[at + 3] ?? 0, all[at + 4] ?? 0, all.readUInt32BE(at + 5), body);
        at += 9 + length;
      }
    });
    rest = Buffer.from(all.subarray(at));
  }

  function accept(type: number, flags: number, id: number, body: Buffer): void {
    if (type === frame.settings && (flags & flag.ack) === 0) return settle(body);
    if (type === frame.ping && (flags & flag.ack) === 0) {
      return write(frameOf(frame.ping, flag.ack, 0, body));
    }
    if (type === frame.window) return widen(id, body.readUInt32BE(0));
    if (type === frame.goAway && !closing) throw new Error(`sent away: ${body.toString("latin1")}`);
    const stream = streams.get(id);
    if (stream === undefined) return;
    if (type === frame.data) {
      received += body.length;
      if (received > receive_window / 2) giveBack();
      readMessages(stream, body);
    }
    const isEnd = (type === frame.data || type === frame.headers) && (flags & flag.endStream) !== 0;
    if (!isEnd && type !== frame.reset) return;
    streams.delete(id);
    stream.onEnd(stream.messages);
  }

  function settle(body: Buffer): void {
    for (let at = 0; at + 6 <= body.length; at += 6) {
      if (body.readUInt16BE(at) !== 4) continue;
      const value = body.readUInt32BE(at + 2);
      for (const stream of streams.values()) stream.window += value - initialWindow;
      initialWindow = value;
    }
    write(frameOf(frame.settings, flag.ack, 0, Buffer.alloc(0)));
    for (const [id, stream] of streams) flush(id, stream);
  }

  function widen(id: number, by: number): void {
    const stream = streams.get(id);
    if (id === 0) window += by;
    else if (stream !== undefined) stream.window += by;
    if (id === 0) for (const [each, waiting] of streams) flush(each, waiting);
    else if (stream !== undefined) flush(id, stream);
  }

  function giveBack(): void {
    write(frameOf(frame.window, 0, 0, uint32(received)));
    for (const id of streams.keys()) write(frameOf(frame.window, 0, id, uint32(received)));
    received = 0;
  }

  const settings = Buffer.concat([Buffer.from([0, 4]), uint32(receive_window)]);
  write(
    Buffer.concat([
      preface,
      frameOf(frame.settings, 0, 0, settings),
      frameOf(frame.window, 0, 0, uint32(receive_window)),
    ]),
  );
  return {
    call(first, { last, ...answering }) {
      const id = nextId;
      nextId += 2;
      const own = { messages: 0, partial: Buffer.alloc(0), window: initialWindow, ended: last };
      const stream: Stream = { ...answering, ...own, queue: [first] };
      streams.set(id, stream);
      together(() => {
        write(frameOf(frame.headers, flag.endHeaders, id, headers));
        flush(id, stream);
      });
      return {
        send(bytes, options) {
          stream.ended = options.last;
          stream.queue.push(bytes);
          together(() => flush(id, stream));
        },
        waiting: () => stream.queue.reduce((sum, { length }) => sum + length, unsent.length),
      };
    },
    close() {
      closing = true;
      socket.end();
    },
  };
}

function readMessages(stream: Stream, bytes: Buffer): void {
  const all = stream.partial.length === 0 ? bytes : Buffer.concat([stream.partial, bytes]);
  let at = 0;
  while (all.length - at >= 5) {
    const length = all.readUInt32BE(at + 1);
    if (all.length - at < 5 + length) break;
    stream.messages++;
    stream.onMessage(all.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  stream.partial = Buffer.from(all.subarray(at));
}

/** A message as gRPC sends it: not compressed, its length, itself. */
export function prefixed(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(message.length), message]);
}

function frameOf(type: number, flags: number, id: number, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(9 + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  body.copy(bytes, 9);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Literals that no table remembers (RFC 7541, section 6.2.2), so the block is always the same. */
function headerBlock({ path, token }: { path: string; token: string }): Buffer {
  const fields = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "127.0.0.1"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
    ["authorization", `Bearer ${token}`],
  ] as const;
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]),
  );
}

/** A string of up to 127 + 127 bytes, not Huffman-coded. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = bytes.length < 127 ? [bytes.length] : [127, bytes.length - 127];
  if ((length[1] ?? 0) > 127) throw new Error("longer than a load needs");
  return Buffer.concat([Buffer.from(length), bytes]);
}
