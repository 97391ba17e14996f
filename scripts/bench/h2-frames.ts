// Frames of HTTP/2 and messages of gRPC as bytes, as far as the load's client needs them.

export const frame = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  window: 8,
} as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly body: Buffer;
}

/** Hands out every whole frame; what is left is the beginning of the next one. */
export function readFrames(all: Buffer, onFrame: (frame: Frame) => void): Buffer {
  let at = 0;
  while (all.length - at >= 9) {
    const length = all.readUIntBE(at, 3);
    if (all.length - at < 9 + length) break;
    const body = all.subarray(at + 9, at + 9 + length);
    const [type = 0, flags = 0] = all.subarray(at + 3, at + 5);
    onFrame({ type, flags, id: all.readUInt32BE(at + 5), body });
    at += 9 + length;
  }
  return Buffer.from(all.subarray(at));
}

/** The same for messages, each behind its five bytes. */
export function readMessages(all: Buffer, onMessage: (message: Buffer) => void): Buffer {
  let at = 0;
  while (all.length - at >= 5) {
    const length = all.readUInt32BE(at + 1);
    if (all.length - at < 5 + length) break;
    onMessage(all.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return Buffer.from(all.subarray(at));
}

/** A message as gRPC sends it: not compressed, its length, itself. */
export function prefixed(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(message.length), message]);
}

export function frameOf(type: number, { flags, id, body }: Omit<Frame, "type">): Buffer {
  const bytes = Buffer.allocUnsafe(9 + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  body.copy(bytes, 9);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Literals that no table remembers (RFC 7541, section 6.2.2), so the block is always the same. */
export function headerBlock({ path, token }: { path: string; token: string }): Buffer {
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
