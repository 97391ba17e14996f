// Databases in chunks of sixteen KiB: their hashes, which of them an incremental backup needs, and
// the two ways in which a backup has them. Memory is one chunk, whatever the size.

import { createHash, type Hash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { chunkBytes } from "../model/backup.ts";
import { dataCorrupted } from "../model/error.ts";
import { digestBytes, sha256 } from "../model/merkle.ts";

/** Chunks that are read from the disk at a time. */
const chunks_each = 64;

/** Cuts any pieces into chunks; the last one may be shorter. */
export async function* chunksOf(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  for await (const piece of source) {
    let rest = piece;
    if (held.length > 0) {
      const taken = rest.subarray(0, chunkBytes - held.length);
      held = Buffer.concat([held, taken]);
      rest = rest.subarray(taken.length);
      if (held.length < chunkBytes) continue;
      yield held;
      held = Buffer.alloc(0);
    }
    while (rest.length >= chunkBytes) {
      yield rest.subarray(0, chunkBytes);
      rest = rest.subarray(chunkBytes);
    }
    held = Buffer.from(rest);
  }
  if (held.length > 0) yield held;
}

/** A file from its beginning, in pieces that are whole chunks but for the last. */
export async function* piecesOf(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  try {
    const space = () => Buffer.allocUnsafe(chunks_each * chunkBytes);
    for (;;) {
      const piece = await readFully(file, space());
      if (piece.length === 0) return;
      yield piece;
    }
  } finally {
    await file.close();
  }
}

async function readFully(file: FileHandle, space: Buffer): Promise<Buffer> {
  let filled = 0;
  while (filled < space.length) {
    const { bytesRead } = await file.read(space, filled, space.length - filled, null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return space.subarray(0, filled);
}

/** What a file is known by: SHA-256 over the SHA-256 of each chunk. */
export async function digestOf(path: string, seen: (bytes: number) => void): Promise<string> {
  const whole = createHash("sha256");
  for await (const piece of piecesOf(path)) {
    for (const chunk of cut(piece)) whole.update(sha256(chunk));
    seen(piece.length);
  }
  return whole.digest("hex");
}

/** Of a piece that begins where a chunk does. */
function* cut(piece: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < piece.length; at += chunkBytes) yield piece.subarray(at, at + chunkBytes);
}

export interface Indexed {
  readonly digest: string;
  /** Of the chunks that are not in the base; null without a base. */
  readonly changed: { readonly chunks: number; readonly digest: string } | null;
  /** What these take in a backup. */
  readonly changed_bytes: number;
}

/**
 * Hashes `path` into the file `index`, and notes in the file `list` which chunks differ from the
 * index of the base, where there is one.
 */
export async function indexFile(
  path: string,
  options: {
    readonly index: string;
    readonly list: string;
    /** An index file, or null where the base has no such database. */
    readonly base: string | null;
    readonly incremental: boolean;
    readonly seen: (bytes: number) => void;
  },
): Promise<Indexed> {
  const { base, incremental, seen } = options;
  const whole = createHash("sha256");
  const changed = createHash("sha256");
  let [number, chunks, changed_bytes] = [0, 0, 0];
  await using files = new AsyncDisposableStack();
  const opened = async (name: string, flags: string): Promise<FileHandle> => {
    const file = await open(name, flags, 0o600);
    files.defer(() => file.close());
    return file;
  };
  const index = await opened(options.index, "w");
  const list = incremental ? await opened(options.list, "w") : null;
  const old = base === null ? null : await opened(base, "r");
  for await (const piece of piecesOf(path)) {
    const digests = Buffer.concat([...cut(piece)].map(sha256));
    whole.update(digests);
    await index.appendFile(digests);
    if (list !== null) {
      const before =
        old === null ? Buffer.alloc(0) : await readFully(old, Buffer.alloc(digests.length));
      const numbers: Buffer[] = [];
      for (let at = 0; at < digests.length; at += digestBytes) {
        const digest = digests.subarray(at, at + digestBytes);
        const own = number + at / digestBytes;
        if (digest.equals(before.subarray(at, at + digestBytes))) continue;
        numbers.push(numberOf(own));
        addChanged(changed, own, digest);
        const from = (at / digestBytes) * chunkBytes;
        changed_bytes += 4 + Math.min(chunkBytes, piece.length - from);
        chunks++;
      }
      await list.appendFile(Buffer.concat(numbers));
    }
    number += digests.length / digestBytes;
    seen(piece.length);
  }
  return {
    digest: whole.digest("hex"),
    changed: incremental ? { chunks, digest: changed.digest("hex") } : null,
    changed_bytes,
  };
}

function numberOf(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

/** As the manifest's digest over changed chunks goes on. */
export function addChanged(changed: Hash, number: number, digest: Uint8Array): void {
  changed.update(numberOf(number)).update(digest);
}

/** Number and content of each chunk in the list, from the file. */
export async function* changedChunks(path: string, list: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  try {
    for await (const numbers of piecesOf(list)) {
      for (let at = 0; at < numbers.length; at += 4) {
        const number = Buffer.from(numbers.subarray(at, at + 4));
        const space = Buffer.allocUnsafe(chunkBytes);
        const from = number.readUInt32BE() * chunkBytes;
        const { bytesRead } = await file.read(space, 0, chunkBytes, from);
        yield Buffer.concat([number, space.subarray(0, bytesRead)]);
      }
    }
  } finally {
    await file.close();
  }
}

/** The other way: what `changedChunks` made, for a file of `bytes`. */
export async function* readChanged(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<{ readonly number: number; readonly chunk: Buffer }> {
  let held = Buffer.alloc(0);
  for await (const piece of source) {
    held = Buffer.concat([held, piece]);
    for (;;) {
      if (held.length < 4) break;
      const number = held.readUInt32BE();
      const left = bytes - number * chunkBytes;
      if (left <= 0) throw dataCorrupted("the backup is damaged: a chunk is out of place");
      const end = 4 + Math.min(chunkBytes, left);
      if (held.length < end) break;
      yield { number, chunk: held.subarray(4, end) };
      held = held.subarray(end);
    }
  }
  if (held.length > 0) throw dataCorrupted("the backup is damaged: a chunk is cut off");
}
