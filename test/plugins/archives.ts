// Archives made byte by byte, so that they can lie: tar and zip writers that check nothing.

import { deflateRawSync, gzipSync } from "node:zlib";

export interface Entry {
  readonly name: string | Uint8Array;
  readonly content?: string | Uint8Array;
  readonly mode?: number;
  /** Tar: the letter of the kind. */
  readonly kind?: string;
  readonly link?: string;
  /** What the header says instead of the truth. */
  readonly size?: number;
  /** Zip: the mode with the kind of file in it, instead of a plain file's. */
  readonly attributes?: number;
  readonly crc?: number;
  readonly stored?: boolean;
}

const bytesOf = (content: Entry["content"]): Buffer => Buffer.from(content ?? "");

export function tarHeader({ name, content, mode = 0o644, kind = "0", link, size }: Entry): Buffer {
  const header = Buffer.alloc(512);
  header.set(bytesOf(name).subarray(0, 100), 0);
  header.write(`${mode.toString(8).padStart(7, "0")}\0`, 100);
  header.write("0000000\0".repeat(2), 108);
  header.write(`${(size ?? bytesOf(content).length).toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write("        ", 148);
  header.write(kind, 156);
  header.write(link ?? "", 157);
  header.write("ustar\u000000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

const padded = (content: Buffer): Buffer =>
  Buffer.concat([content, Buffer.alloc((512 - (content.length % 512)) % 512)]);

export const tarOf = (entries: readonly Entry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap((entry) => [tarHeader(entry), padded(bytesOf(entry.content))]),
    Buffer.alloc(1_024),
  ]);

export const tarGzOf = (entries: readonly Entry[]): Buffer => gzipSync(tarOf(entries));

/** A record of an extended header. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const digits = (length: number) => String(length + Buffer.byteLength(rest)).length;
  return `${Buffer.byteLength(rest) + digits(digits(1))}${rest}`;
}

export function zipOf(entries: readonly Entry[], { count }: { count?: number } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const content = bytesOf(entry.content);
    const name = bytesOf(entry.name);
    const packed = entry.stored === true ? content : deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(entry.stored === true ? 0 : 8, 4);
    common.writeUInt32LE(entry.crc ?? Bun.hash.crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(entry.size ?? content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const tail = Buffer.alloc(14);
    const kind = name.at(-1) === 47 ? 0o040000 : 0o100000;
    const attributes = entry.attributes ?? kind | (entry.mode ?? 0o644);
    tail.writeUInt32LE((attributes << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\u0001\u0002"), Buffer.from([20, 3]), common, tail, name);
    const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), common, name, packed]);
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006");
  end.writeUInt16LE(count ?? entries.length, 8);
  end.writeUInt16LE(count ?? entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
