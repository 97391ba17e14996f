// The messages that nodes exchange once they know each other: an operation and its input, and what
// came of it. Both are JSON text inside, which is a tenth of the work of Cap'n Proto's own lists.

import { Message, utils } from "capnp-es";
import { invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { createFrameReader, type Frame } from "./frame.ts";
import { PeerAnswer, PeerRequest } from "./generated/peer.ts";
import { checkMessage, type StructShape } from "./pointers.ts";

export interface PeerQuestion {
  readonly operation: string;
  readonly input: Uint8Array;
}

export interface PeerReply {
  readonly refused: boolean;
  readonly body: Uint8Array;
}

const data = { kind: "data" } as const;
const questionShape: StructShape = { kind: "struct", pointers: [{ kind: "text" }, data] };
const replyShape: StructShape = { kind: "struct", pointers: [data] };

export function encodeQuestion({ operation, input }: PeerQuestion): Uint8Array {
  const message = new Message();
  const question = message.initRoot(PeerRequest);
  question.operation = operation;
  question._initInput(input.length).copyBuffer(input);
  return new Uint8Array(message.toArrayBuffer());
}

export function encodeReply({ refused, body }: PeerReply): Uint8Array {
  const message = new Message();
  const reply = message.initRoot(PeerAnswer);
  reply.refused = refused;
  reply._initBody(body.length).copyBuffer(body);
  return new Uint8Array(message.toArrayBuffer());
}

/** Throws `invalid_argument` or `too_large` for anything else. */
export function decodeQuestion(bytes: Uint8Array): PeerQuestion {
  const question = new Message(frameOf(bytes, questionShape).buffer, false).getRoot(PeerRequest);
  return { operation: question.operation, input: utils.getData(1, question).toUint8Array() };
}

/** The same. */
export function decodeReply(bytes: Uint8Array): PeerReply {
  const reply = new Message(frameOf(bytes, replyShape).buffer, false).getRoot(PeerAnswer);
  return { refused: reply.refused, body: utils.getData(0, reply).toUint8Array() };
}

/** One message, all of it, and nothing behind it. */
function frameOf(bytes: Uint8Array, shape: StructShape): Frame {
  const bytes_max = limits.peer_message_bytes_max;
  const reader = createFrameReader({ segments_max: limits.capnp_segments_max, bytes_max });
  reader.push(bytes);
  const frame = reader.next();
  if (frame === null || reader.held() > 0) {
    throw invalidArgument("a message between nodes is one message of Cap'n Proto");
  }
  const { capnp_depth_max: depth_max, capnp_pointers_max: pointers_max } = limits;
  const bounds = { words_max: bytes_max / 8, depth_max, pointers_max };
  checkMessage(frame.segments, { shape, bounds });
  return frame;
}
