// Reads tar archives as they stream past: files and directories of ustar, with the long names of
// GNU and of POSIX. Bun.Archive holds the whole in memory, tells neither modes nor kinds, and makes
// links; a bundle of a stranger must be judged entry by entry.

import { limits } from "../model/limits.ts";
import { refused, shown, type Tree } from "./install-tree.ts";

const block_bytes = 512;

export async function unpackTar(source: AsyncIterable<Uint8Array>, tree: Tree): Promise<void> {
  const input = createInput(source);
  let extended: Extended = {};
  for (;;) {
    const block = await input.take(block_bytes);
    if (block.length < block_bytes) throw cut();
    // Two of them end an archive; what follows the first is padding.
    if (block.every((byte) => byte === 0)) break;
    const header = parseHeader(block);
    const size = extended.size ?? header.size;
    const name = extended.name ?? header.name;
    switch (header.kind) {
      case "x":
      case "L":
        Object.assign(extended, parseExtension(header.kind, await takeSmall(input, header)));
        break;
      case "g":
        // Holds for all that follow; names and sizes are never global.
        await takeSmall(input, header);
        break;
      case "0":
      case "\0":
      case "7":
        // Old archives mark a directory by its name alone.
        if (endsWithSlash(name)) await tree.addDirectory(name);
        else await tree.addFile({ name, executable: header.executable }, input.pieces(size));
        await input.skip(paddingOf(size));
        extended = {};
        break;
      case "5":
        await tree.addDirectory(name);
        await input.skip(size + paddingOf(size));
        extended = {};
        break;
      default:
        throw refused(`${shown(textOf(name))} is ${kindWords[header.kind] ?? "no plain file"}`);
    }
  }
  // The rest is read so that a broken end of a packed archive shows itself.
  await input.drain();
}

const kindWords: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a device",
  "4": "a device",
  "6": "a pipe",
  K: "a link",
  S: "a sparse file",
};

interface Extended {
  readonly name?: Uint8Array;
  readonly size?: number;
}

interface Header {
  readonly name: Uint8Array;
  readonly size: number;
  readonly kind: string;
  readonly executable: boolean;
}

function parseHeader(block: Uint8Array): Header {
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  if (octal(block.subarray(148, 156)) !== sum)
    throw refused("it is no tar archive, or a broken one");
  const name = untilZero(block.subarray(0, 100));
  const isUstar = textOf(block.subarray(257, 263)) === "ustar\0";
  const prefix = isUstar ? untilZero(block.subarray(345, 500)) : new Uint8Array();
  return {
    name: prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from("/"), name]),
    size: sizeOf(block.subarray(124, 136)),
    kind: String.fromCharCode(block[156] ?? 0),
    executable: (octal(block.subarray(100, 108)) & 0o111) !== 0,
  };
}

/** Octal digits, or since 8 GiB became possible a binary number; more than a limit is the same. */
function sizeOf(field: Uint8Array): number {
  const size = ((field[0] ?? 0) & 0x80) === 0 ? octal(field) : Infinity;
  return requireSize(size);
}

function requireSize(size: number): number {
  if (Number.isSafeInteger(size) && size >= 0 && size <= limits.plugin_unpacked_bytes_max) {
    return size;
  }
  throw refused("a size in it is broken, or too large");
}

function octal(field: Uint8Array): number {
  const text = textOf(untilZero(field)).trim();
  if (text === "") return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}

function parseExtension(kind: "x" | "L", body: Uint8Array): Extended {
  if (kind === "L") return { name: untilZero(body) };
  const members: { name?: Uint8Array; size?: number } = {};
  let at = 0;
  // Records of the form "<length> <key>=<value>\n", where the length counts the whole record.
  while (at < body.length) {
    const blank = body.indexOf(32, at);
    const length = Number(textOf(body.subarray(at, Math.max(blank, at))));
    const record = body.subarray(blank + 1, at + length - 1);
    const equals = record.indexOf(61);
    const isWhole = Number.isSafeInteger(length) && at + length <= body.length;
    if (blank === -1 || !isWhole || length <= blank - at || body[at + length - 1] !== 10) {
      throw refused("an extended header in it is broken");
    }
    const key = textOf(record.subarray(0, Math.max(equals, 0)));
    const value = record.subarray(equals + 1);
    if (key === "path") members.name = value;
    if (key === "size") members.size = requireSize(decimal(textOf(value)));
    if (key.startsWith("GNU.sparse")) throw refused("there is a sparse file in it");
    at += length;
  }
  return members;
}

const decimal = (text: string): number => (/^\d{1,16}$/.test(text) ? Number(text) : Number.NaN);

async function takeSmall(input: Input, { size }: Header): Promise<Uint8Array> {
  if (size > limits.plugin_tar_header_bytes_max) throw refused("an extended header is too large");
  const body = await input.take(size);
  if (body.length < size) throw cut();
  await input.skip(paddingOf(size));
  return body;
}

const paddingOf = (size: number): number => (block_bytes - (size % block_bytes)) % block_bytes;

const cut = () => refused("it ends too early");

const untilZero = (field: Uint8Array): Uint8Array => {
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
};

const endsWithSlash = (name: Uint8Array): boolean => name.at(-1) === 47;

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

interface Input {
  /** So many bytes, fewer only at the end. */
  readonly take: (bytes: number) => Promise<Uint8Array>;
  /** So many bytes as they come; throws where there are fewer. */
  readonly pieces: (bytes: number) => AsyncGenerator<Uint8Array>;
  readonly skip: (bytes: number) => Promise<void>;
  readonly drain: () => Promise<void>;
}

function createInput(source: AsyncIterable<Uint8Array>): Input {
  const iterator = source[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array();
  /** At least one byte of what comes next, at most so many; null at the end. */
  const next = async (most: number): Promise<Uint8Array | null> => {
    while (held.length === 0) {
      const { done, value } = await iterator.next();
      if (done === true) return null;
      held = value;
    }
    const piece = held.subarray(0, most);
    held = held.subarray(piece.length);
    return piece;
  };
  async function* pieces(bytes: number): AsyncGenerator<Uint8Array> {
    for (let left = bytes; left > 0;) {
      const piece = await next(left);
      if (piece === null) throw cut();
      left -= piece.length;
      yield piece;
    }
  }
  return {
    pieces,
    take: async (bytes) => {
      const parts: Uint8Array[] = [];
      for (let left = bytes; left > 0;) {
        const piece = await next(left);
        if (piece === null) break;
        left -= piece.length;
        parts.push(piece);
      }
      return Buffer.concat(parts);
    },
    skip: async (bytes) => {
      for await (const piece of pieces(bytes)) void piece;
    },
    drain: async () => {
      while ((await next(Number.MAX_SAFE_INTEGER)) !== null);
    },
  };
}
