/**
 * Archives that are the same bytes for the same files: sorted, of one time, owned by nobody. Names
 * are those of releases, so the simplest tar format has room for them.
 */
import { gzipSync } from "node:zlib";
import { ZipFile } from "yazl";

export interface Packed {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly executable: boolean;
}

export interface PackOptions {
  /** When the commit was made, in seconds. */
  readonly seconds: number;
  /** Of compression; 0 to 9. */
  readonly level: number;
}

const sorted = (files: readonly Packed[]): Packed[] =>
  [...files].sort((left, right) => (left.name < right.name ? -1 : 1));

/** A ustar archive of files below one folder, for which it has an entry as well. */
export function tarOf(
  files: readonly Packed[],
  { folder, seconds }: { readonly folder: string; readonly seconds: number },
): Uint8Array {
  const names = sorted(files).map(({ name }) => `${folder}/${name}`);
  const folders = new Set(
    names.flatMap((name) => {
      const parts = name.split("/").slice(0, -1);
      return parts.map((_, depth) => `${parts.slice(0, depth + 1).join("/")}/`);
    }),
  );
  const pieces: Uint8Array[] = [...folders]
    .sort()
    .map((name) => tarHeader({ name, mode: 0o755, kind: "5", size: 0, seconds }));
  for (const { name, bytes, executable } of sorted(files)) {
    const mode = executable ? 0o755 : 0o644;
    const size = bytes.length;
    pieces.push(tarHeader({ name: `${folder}/${name}`, mode, kind: "0", size, seconds }), bytes);
    pieces.push(new Uint8Array((512 - (size % 512)) % 512));
  }
  return Buffer.concat([...pieces, new Uint8Array(1024)]);
}

function tarHeader(entry: {
  readonly name: string;
  readonly mode: number;
  readonly kind: "0" | "5";
  readonly size: number;
  readonly seconds: number;
}): Uint8Array {
  const { name, mode, kind, size, seconds } = entry;
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long for a tar header`);
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  header.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(seconds, 136, 12);
  // The checksum counts itself as blanks.
  header.write(" ".repeat(8), 148, "latin1");
  header.write(kind, 156, "latin1");
  header.write("ustar\x0000root", 257, "latin1");
  header.write("root", 297, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

/** Without a name and a time of its own, and of no particular system. */
export function gzipOf(bytes: Uint8Array, level: number): Uint8Array {
  const packed = gzipSync(bytes, { level });
  packed.fill(0, 4, 8);
  packed[9] = 255;
  return packed;
}

/** By the system's xz. Two threads whatever the machine has: their number shows in the bytes. */
export async function xzOf(bytes: Uint8Array, level: number): Promise<Uint8Array> {
  const child = Bun.spawn(["xz", `-${level}`, "--threads=2", "--check=crc64", "--stdout"], {
    ...{ stdin: new Blob([Buffer.from(bytes)]), stdout: "pipe", stderr: "pipe" },
  });
  const [packed, words] = await Promise.all([child.stdout.bytes(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`xz failed: ${words}`);
  return packed;
}

/** Files at the root. Zip has local times: each is written as that of the commit in UTC. */
export async function zipOf(
  files: readonly Packed[],
  { seconds, level }: PackOptions,
): Promise<Uint8Array> {
  const zip = new ZipFile();
  const utc = new Date(seconds * 1000);
  const mtime = new Date(seconds * 1000 + utc.getTimezoneOffset() * 60_000);
  for (const { name, bytes, executable } of sorted(files)) {
    zip.addBuffer(Buffer.from(bytes), name, {
      ...{ mtime, mode: executable ? 0o100755 : 0o100644, forceDosTimestamp: true },
      ...(level === 0 ? { compress: false } : { compressionLevel: level }),
    });
  }
  zip.end();
  const pieces: Uint8Array[] = [];
  for await (const piece of zip.outputStream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}
