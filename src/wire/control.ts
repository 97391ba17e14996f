// The messages of the control socket: a command to run, and what it printed.

import { DataList, Message, utils, type Data } from "capnp-es";
import { invalidArgument } from "../model/error.ts";
import type { Frame } from "./frame.ts";
import { CliRequest, CliResponse } from "./generated/control.ts";
import { checkMessage, rootOf, type PointerBounds, type StructShape } from "./pointers.ts";

export interface CommandRequest {
  readonly args: readonly string[];
  /** Empty where none was sent: older clients know no such field. */
  readonly token: string;
}

export interface CommandResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const text = { kind: "text" } as const;
const requestShape: StructShape = {
  kind: "struct",
  pointers: [{ kind: "list", of: text }, text],
};

const bytes = 2;
const pointers = 6;
const structs = 7;

/**
 * Which protocol a connection speaks, by its first message: a request for a command has a list of
 * texts first, the greeting of another node a key in bytes and one word of data. Throws
 * `invalid_argument` where the first pointers lead nowhere.
 */
export function protocolOf(frame: Frame, bounds: PointerBounds): "cli" | "replication" | "other" {
  const { data_words, first } = rootOf(frame.segments, bounds);
  if (first === pointers || first === structs) return "cli";
  if (first === bytes) return "replication";
  if (first !== "null") return "other";
  return data_words === 0 ? "cli" : data_words === 1 ? "replication" : "other";
}

/** Throws `invalid_argument` unless the message is a request of at most `args_max` words. */
export function decodeCommand(
  frame: Frame,
  { args_max, ...bounds }: PointerBounds & { readonly args_max: number },
): CommandRequest {
  checkMessage(frame.segments, { shape: requestShape, bounds });
  const request = requestIn(frame);
  const args = utils.getList(slots.args, DataList, request);
  if (args.length > args_max) {
    throw invalidArgument(`a command has at most ${args_max} arguments`, { limit: args_max });
  }
  return { args: args.toArray().map(textOf), token: textOf(utils.getData(slots.token, request)) };
}

/**
 * capnp-es makes room for fields that an older client did not send, and zeroes what was there.
 * Where the root lies over the pointer to it, that pointer goes too, and nothing is left to read.
 */
function requestIn({ buffer }: Frame): CliRequest {
  const request = new Message(buffer, false).getRoot(CliRequest);
  if (utils.getSize(request).pointerLength > slots.token) return request;
  throw invalidArgument("the message is broken: the root lies over the pointer to it");
}

/** Where the pointers of a request stand. */
const slots = { args: 0, token: 1 };

/** Byte for byte, because the text of capnp-es leaves out a mark of byte order. */
const textOf = (text: Data): string => utf8.decode(text.toUint8Array().subarray(0, -1));

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** In one segment, which every reader of the protocol takes. */
export function encodeResult({ exit, stdout, stderr }: CommandResult): Uint8Array {
  const message = new Message();
  const response = message.initRoot(CliResponse);
  response.exitCode = exit;
  response.stdout = stdout;
  response.stderr = stderr;
  return new Uint8Array(message.toArrayBuffer());
}
