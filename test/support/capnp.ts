// Messages of Cap'n Proto as tests write them: word by word, so that any lie can be told, or
// through the generated classes, as clients do.

import { Message } from "capnp-es";
import { createFrameReader, type Frame } from "../../src/wire/frame.ts";
import { CliRequest, CliResponse } from "../../src/wire/generated/control.ts";

/** Hex, with blanks wherever they help. */
export const hex = (text: string): Uint8Array => Uint8Array.fromHex(text.replaceAll(" ", ""));

export const words = (...values: readonly bigint[]): Uint8Array =>
  new Uint8Array(new BigUint64Array(values).buffer);

/** The standard stream framing. */
export function framed(...segments: readonly Uint8Array[]): Uint8Array {
  const table = new Uint32Array(Math.ceil((1 + segments.length) / 2) * 2);
  table[0] = segments.length - 1;
  segments.forEach((segment, index) => (table[index + 1] = segment.length / 8));
  return new Uint8Array(Buffer.concat([new Uint8Array(table.buffer), ...segments]));
}

/** Pointers by the encoding's specification; offsets in words. */
export const struct = (offset: number, data_words: number, pointers: number): bigint =>
  BigInt.asUintN(32, BigInt(offset * 4)) | (BigInt(data_words) << 32n) | (BigInt(pointers) << 48n);

export const list = (offset: number, code: number, count: number): bigint =>
  BigInt.asUintN(32, BigInt(offset * 4 + 1)) | (((BigInt(count) << 3n) | BigInt(code)) << 32n);

export const far = (segment: number, offset: number, how: "single" | "double" = "single"): bigint =>
  BigInt(offset * 8 + (how === "double" ? 6 : 2)) | (BigInt(segment) << 32n);

/** Text of up to seven bytes with its zero byte. */
export const short = (text: string): bigint =>
  new BigUint64Array(
    new Uint8Array(Buffer.concat([Buffer.from(text), Buffer.alloc(8)], 8)).buffer,
  )[0]!;

export function encodeRequest(args: readonly string[], token?: string): Uint8Array {
  const message = new Message();
  const request = message.initRoot(CliRequest);
  const list = request._initArgs(args.length);
  args.forEach((arg, index) => list.set(index, arg));
  if (token !== undefined) request.token = token;
  return new Uint8Array(message.toArrayBuffer());
}

export interface Response {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function decodeResponse({ buffer }: Frame): Response {
  const { exitCode, stdout, stderr } = new Message(buffer, false).getRoot(CliResponse);
  return { exit: exitCode, stdout, stderr };
}

export const wide = { segments_max: 511, bytes_max: 1 << 26 };

/** The only message in the bytes. */
export function frameOf(bytes: Uint8Array): Frame {
  const reader = createFrameReader(wide);
  reader.push(bytes);
  const frame = reader.next();
  if (frame === null || reader.held() > 0) throw new Error("not one whole message");
  return frame;
}
