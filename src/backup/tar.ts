// Tar archives as backups write and read them: POSIX ustar, with a pax header for long or foreign
// names and base-256 for files of 8 GiB and more, so that any tar unpacks them. Reads what it
// writes and nothing else; archives of strangers are the business of `plugins`.

import { dataCorrupted } from "../model/error.ts";
import { limits } from "../model/limits.ts";

const block_bytes = 512;

export interface TarFile {
  readonly path: string;
  readonly bytes: number;
  readonly executable: boolean;
  /** Seconds since 1970. */
  readonly modified: number;
}

/** What stands before the content of a file. */
export function tarHeader(file: TarFile): Buffer {
  const name = Buffer.from(file.path);
  if (name.length <= 100 && /^[\x20-\x7e]*$/.test(file.path)) {
    return headerBlock({ ...file, name, kind: "0" });
  }
  const record = paxRecord("path", file.path);
  const extended = { name: Buffer.from("pax"), bytes: record.length, kind: "x" } as const;
  return Buffer.concat([
    headerBlock({ ...file, ...extended, executable: false }),
    padded(record),
    // Whoever knows no pax headers gets a name cut short.
    headerBlock({ ...file, name: name.subarray(0, 100), kind: "0" }),
  ]);
}

/** What stands behind it. */
export const tarPadding = (bytes: number): Buffer =>
  Buffer.alloc((block_bytes - (bytes % block_bytes)) % block_bytes);

/** Two blocks of zeros. */
export const tarEnd = (): Buffer => Buffer.alloc(2 * block_bytes);

const padded = (content: Buffer): Buffer => Buffer.concat([content, tarPadding(content.length)]);

/** `<length> path=<value>\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

function headerBlock(
  file: Omit<TarFile, "path"> & { readonly name: Buffer; readonly kind: "0" | "x" },
): Buffer {
  const block = Buffer.alloc(block_bytes);
  const octal = (value: number, at: number, digits: number): void => {
    block.write(value.toString(8).padStart(digits, "0"), at, "latin1");
  };
  file.name.copy(block, 0);
  octal(file.executable ? 0o700 : 0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  if (file.bytes < 8 ** 11) octal(file.bytes, 124, 11);
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(file.bytes), 128);
  }
  octal(file.modified, 136, 11);
  block.fill(" ", 148, 156);
  block.write(file.kind, 156, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

export interface TarEntry extends Omit<TarFile, "modified"> {
  /** What of it is not read is passed over. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Throws `data_corrupted` for what no backup has written, and where it ends too early. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const input = createInput(source);
  let path: string | null = null;
  for (;;) {
    const block = await input.take(block_bytes);
    if (block.every((byte) => byte === 0)) break;
    const header = parseHeader(block);
    if (header.kind === "x") {
      if (header.bytes > limits.backup_header_bytes_max) throw broken("a name is too long");
      const record = await input.take(header.bytes);
      await input.take(tarPadding(header.bytes).length);
      path = pathOf(record);
      continue;
    }
    const rest = { bytes: header.bytes };
    const content = input.pieces(rest);
    yield {
      path: path ?? header.name,
      bytes: header.bytes,
      executable: header.executable,
      content,
    };
    for await (const piece of input.pieces(rest)) void piece;
    await input.take(tarPadding(header.bytes).length);
    path = null;
  }
  // What is packed around it shows only at its end that nothing is missing.
  await input.drain();
}

function parseHeader(block: Buffer) {
  const blank = Buffer.from(block);
  blank.fill(" ", 148, 156);
  const sum = blank.reduce((total, byte) => total + byte, 0);
  const number = (from: number, to: number): number => {
    const text = block.toString("latin1", from, to).replace(/[\0 ]+$/, "");
    if (!/^[0-7]+$/.test(text)) throw broken("a header is damaged");
    return Number.parseInt(text, 8);
  };
  if (block.toString("latin1", 257, 263) !== "ustar\0" || number(148, 156) !== sum) {
    throw broken("a header is damaged");
  }
  const kind = block.toString("latin1", 156, 157);
  if (kind !== "0" && kind !== "x") throw broken(`an entry is of the kind ${JSON.stringify(kind)}`);
  const large = block.readUInt8(124) === 0x80;
  const bytes = large ? Number(block.readBigUInt64BE(128)) : number(124, 136);
  if (!Number.isSafeInteger(bytes)) throw broken("a size is damaged");
  const end = block.indexOf(0);
  return {
    kind,
    bytes,
    name: block.toString("utf8", 0, end === -1 ? 100 : Math.min(end, 100)),
    executable: (number(100, 108) & 0o100) !== 0,
  };
}

function pathOf(record: Buffer): string {
  const found = /^\d+ path=([^]*)\n$/.exec(record.toString("utf8"));
  if (found?.[1] === undefined) throw broken("a name is damaged");
  return found[1];
}

const broken = (why: string) => dataCorrupted(`the backup is damaged: ${why}`);

function createInput(source: AsyncIterable<Uint8Array>) {
  const iterator = source[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array();
  const fill = async (): Promise<boolean> => {
    while (held.length === 0) {
      const { done, value } = await iterator.next();
      if (done === true) return false;
      held = value;
    }
    return true;
  };
  /** Counts down what is left in `rest`, so that two readers of it go on from each other. */
  async function* pieces(rest: { bytes: number }): AsyncGenerator<Uint8Array> {
    while (rest.bytes > 0) {
      if (!(await fill())) throw broken("it ends too early");
      const piece = held.subarray(0, rest.bytes);
      held = held.subarray(piece.length);
      rest.bytes -= piece.length;
      yield piece;
    }
  }
  return {
    pieces,
    take: async (bytes: number): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      for await (const piece of pieces({ bytes })) parts.push(piece);
      return Buffer.concat(parts);
    },
    drain: async (): Promise<void> => {
      while (await fill()) {
        if (held.some((byte) => byte !== 0)) throw broken("something follows its end");
        held = new Uint8Array();
      }
    },
  };
}
