// The greeting of two nodes: what the one says first, and what the other answers. Both are in clear
// and prove nothing; they only say which protocol follows.

import { Message, utils } from "capnp-es";
import { assert, invalidArgument } from "../model/error.ts";
import type { Frame } from "./frame.ts";
import { ReplicationHello, ReplicationHelloResponse } from "./generated/replication.ts";
import { checkMessage, type PointerBounds, type StructShape } from "./pointers.ts";

export interface Hello {
  readonly version: number;
  /** Of version 1 alone. */
  readonly expected_public_key: Uint8Array;
}

export interface HelloResponse {
  readonly accepted: boolean;
  /** Whatever the other side wrote there: nobody has proved anything yet. */
  readonly message: string;
}

const helloShape: StructShape = { kind: "struct", pointers: [{ kind: "data" }] };
const responseShape: StructShape = { kind: "struct", pointers: [{ kind: "text" }] };

/** A message that fits everywhere: the bounds of all that is read before anybody is known. */
export const helloBounds = {
  frames: { segments_max: 8, bytes_max: 4_096 },
  pointers: { words_max: 512, pointers_max: 64, depth_max: 4 },
} as const;

export function encodeHello({ version, expected_public_key }: Hello): Uint8Array {
  const message = new Message();
  const hello = message.initRoot(ReplicationHello);
  hello.protocolVersion = version;
  if (expected_public_key.length > 0) {
    hello._initExpectedPublicKey(expected_public_key.length).copyBuffer(expected_public_key);
  }
  return new Uint8Array(message.toArrayBuffer());
}

/** Throws `invalid_argument`. Fields of later versions are passed over. */
export function decodeHello(frame: Frame, bounds: PointerBounds): Hello {
  checkMessage(frame.segments, { shape: helloShape, bounds });
  return reading(() => {
    const hello = new Message(frame.buffer, false).getRoot(ReplicationHello);
    return {
      version: hello.protocolVersion,
      // A null pointer is no data; the getter would write some into the message.
      expected_public_key: utils.isNull(utils.getPointer(0, hello))
        ? new Uint8Array()
        : hello.expectedPublicKey.toUint8Array(),
    };
  });
}

export function encodeHelloResponse({ accepted, message: words }: HelloResponse): Uint8Array {
  const message = new Message();
  const response = message.initRoot(ReplicationHelloResponse);
  response.accepted = accepted;
  response.message = words;
  return new Uint8Array(message.toArrayBuffer());
}

/** Throws `invalid_argument`. */
export function decodeHelloResponse(frame: Frame, bounds: PointerBounds): HelloResponse {
  checkMessage(frame.segments, { shape: responseShape, bounds });
  return reading(() => {
    const response = new Message(frame.buffer, false).getRoot(ReplicationHelloResponse);
    return { accepted: response.accepted, message: response.message };
  });
}

/** A root that lies over the pointer to it, say, fits every shape and cannot be read. */
function reading<Read>(read: () => Read): Read {
  try {
    return read();
  } catch (cause) {
    throw invalidArgument("the message is broken", {}, { cause });
  }
}

/** The bytes of a message as they came: table and segments. */
export function bytesOf({ buffer, segments }: Frame): Uint8Array {
  const last = segments.at(-1);
  assert(last !== undefined && last.buffer === buffer, "segments are views of the frame");
  return new Uint8Array(buffer, 0, last.byteOffset + last.length);
}
