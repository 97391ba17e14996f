// Protobuf bytes in and out. protobufjs reads leniently: it repairs broken UTF-8, cuts off strings
// that run past the end and makes objects of 64-bit numbers. What is stored for ever must be what
// was sent, so strings and 64-bit numbers are read here.

import protobuf from "protobufjs";
import { DbxError, invalidArgument } from "../model/error.ts";

/** A decoded message: it has the members that came. */
export type Message = Readonly<Record<string, unknown>>;

export interface Field {
  readonly name: string;
  readonly number: number;
  /** As the contract writes it: `string`, `uint64`, `Event`. */
  readonly type: string;
  readonly repeated: boolean;
  /** Whether it can be told from its default that it was not sent. */
  readonly hasPresence: boolean;
}

export interface Codec {
  readonly fields: readonly Field[];
  /**
   * 64-bit numbers come out exactly up to 2^53, and as something no smaller above, for the gate to
   * refuse. Throws `invalid_argument`.
   */
  readonly decode: (bytes: Buffer) => Message;
  /**
   * The messages in field 1, which is repeated; only the first `most` of them, because a few bytes
   * could otherwise become millions of objects. Throws `invalid_argument`.
   */
  readonly decodeList: (bytes: Buffer, most: number) => Message[];
  /** In: the members of the message; others are passed over, as are those that are null. */
  readonly encode: (message: object) => Buffer;
}

export function createCodec(type: protobuf.Type): Codec {
  const [first] = type.fieldsArray;
  const element = first?.repeated === true ? first.resolve().resolvedType : null;
  return {
    fields: type.fieldsArray.map((field) => ({
      name: field.name,
      number: field.id,
      type: field.type,
      repeated: field.repeated || field.map,
      hasPresence: field.partOf !== null || !(field.type in protobuf.types.basic),
    })),
    decode: (bytes) => told(type, () => members(type.decode(strictReader(bytes)))),
    decodeList: (bytes, most) => {
      if (!(element instanceof protobuf.Type)) throw new Error(`${type.name} has no list`);
      return told(type, () => readList(strictReader(bytes), element, most));
    },
    encode: (message) => {
      const bytes = type.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
  };
}

function readList(reader: protobuf.Reader, element: protobuf.Type, most: number): Message[] {
  const messages: Message[] = [];
  while (reader.pos < reader.len && messages.length < most) {
    const tag = reader.uint32();
    if (tag !== listTag) {
      reader.skipType(tag & 7);
      continue;
    }
    messages.push(members(element.decode(reader, reader.uint32())));
  }
  return messages;
}

/** Field 1, length-delimited. */
const listTag = (1 << 3) | 2;

const members = (message: object): Message => ({ ...message });

function told<Value>(type: protobuf.Type, read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    throw invalidArgument(`the request is not a valid ${type.name} message`, {}, { cause });
  }
}

const strictReader = (bytes: Buffer): protobuf.Reader =>
  Object.assign(protobuf.Reader.create(bytes), { string: readString, uint64: readUint64 });

function readString(this: protobuf.Reader): string {
  const length = this.uint32();
  const start = this.pos;
  const end = start + length;
  if (end > this.len) throw new RangeError("a string runs past the end of its message");
  this.pos = end;
  try {
    return utf8.decode(this.buf.subarray(start, end));
  } catch (cause) {
    throw invalidArgument("strings must be valid UTF-8", {}, { cause });
  }
}
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function readUint64(this: protobuf.Reader): number {
  let value = 0;
  let factor = 1;
  for (let count = 0; count < 10; count++) {
    const byte = this.pos < this.len ? this.buf[this.pos++] : undefined;
    if (byte === undefined) throw new RangeError("a number runs past the end of its message");
    value += (byte & 127) * factor;
    if (byte < 128) return value;
    factor *= 128;
  }
  throw new RangeError("a number has more than ten bytes");
}
