// A backup file as a stream: tar, compressed by zstd, sealed where there is a passphrase. Whether
// what is in it is what the manifest says is judged in verify.ts.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import {
  dataCorrupted,
  DbxError,
  failedPrecondition,
  notFound,
  unavailable,
} from "../model/error.ts";
import { isSealedBackup, sealSegments, unsealSegments, type Sealing } from "./segments.ts";
import { readTar, tarEnd, tarHeader, tarPadding, type TarEntry, type TarFile } from "./tar.ts";

/** 231 MB/s at a ratio of 3.23; zstd's own default, 3, has 104 MB/s at 3.25 (measured on a log). */
const compression_level = 1;
const piece_bytes = 262_144;

export interface ArchiveFile extends TarFile {
  /** Exactly `bytes` of it, or the writing fails. */
  readonly content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Writes and syncs a new file, mode 0600. Throws `unavailable` where the disk refuses. */
export async function writeArchive(
  path: string,
  files: AsyncIterable<ArchiveFile>,
  sealing: Sealing | null,
): Promise<void> {
  const compress = createZstdCompress({
    chunkSize: piece_bytes,
    params: {
      [constants.ZSTD_c_compressionLevel]: compression_level,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  });
  const packed = Readable.from(tarOf(files), { objectMode: false, highWaterMark: piece_bytes });
  // Its failure destroys the other, from which the loop below has it.
  pipeline(packed, compress, () => undefined);
  try {
    const file = await open(path, "wx", 0o600);
    try {
      const pieces = sealing === null ? compress : sealSegments(compress, sealing);
      for await (const piece of pieces) await file.appendFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw cause instanceof DbxError ? cause : refused(`cannot write ${path}`, cause);
  } finally {
    packed.destroy();
    compress.destroy();
  }
}

async function* tarOf(files: AsyncIterable<ArchiveFile>): AsyncGenerator<Uint8Array> {
  for await (const file of files) {
    yield tarHeader(file);
    let bytes = 0;
    for await (const piece of file.content) {
      bytes += piece.length;
      if (piece.length > 0) yield piece;
    }
    if (bytes !== file.bytes) {
      throw unavailable(`${file.path} changed while it was backed up; try again`, {
        path: file.path,
      });
    }
    const padding = tarPadding(bytes);
    if (padding.length > 0) yield padding;
  }
  yield tarEnd();
}

export type BackupKind = "plain" | "sealed";

/** Throws `not_found` for no file, `failed_precondition` for one of another kind. */
export async function kindOf(path: string): Promise<BackupKind> {
  const start = await startOf(path);
  if (isSealedBackup(start)) return "sealed";
  if (start.subarray(0, 4).toString("hex") === "28b52ffd") return "plain";
  const isOld = start.subarray(0, 2).toString("hex") === "1f8b";
  throw failedPrecondition(
    isOld
      ? `${path} is a backup of version 1, made by EventDBX: its data is RocksDB's, which dbx does not ` +
          "read; restore it there, and bring its events over"
      : `${path} is no backup of dbx`,
    { path },
  );
}

async function startOf(path: string): Promise<Buffer> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw notFound(`backup archive ${path} does not exist`, { path });
  if (!found.isFile())
    throw failedPrecondition(`${path} is no backup of dbx: it is no file`, { path });
  try {
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw refused(`cannot read ${path}`, cause);
  }
}

export interface ReadOptions {
  /** Null: what needs one is refused. */
  readonly passphrase: string | null;
  /** Told bytes of the file as they are read. */
  readonly read: (bytes: number) => void;
}

/** The entries, in their order. Throws `data_corrupted` where the file is damaged or cut. */
export async function* readArchive(
  path: string,
  { passphrase, read }: ReadOptions,
): AsyncGenerator<TarEntry> {
  const kind = await kindOf(path);
  const file = createReadStream(path, { highWaterMark: piece_bytes });
  file.on("data", (piece) => read(piece.length));
  const unpack = createZstdDecompress({ chunkSize: piece_bytes });
  // Its failure destroys the last of them, from which the loop below has it.
  const ended = () => undefined;
  if (kind === "plain") pipeline(file, unpack, ended);
  else {
    if (passphrase === null) {
      throw failedPrecondition(
        `${path} is encrypted; give --passphrase-file, or set EVENTDBX_BACKUP_PASSPHRASE`,
        { path },
      );
    }
    pipeline(Readable.from(unsealSegments(file, passphrase)), unpack, ended);
  }
  try {
    yield* readTar(unpack);
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    if (isOfDisk(cause)) throw refused(`cannot read ${path}`, cause);
    throw dataCorrupted(
      `${path} is damaged or cut off`,
      { path, reason: String(cause) },
      { cause },
    );
  } finally {
    file.destroy();
    unpack.destroy();
  }
}

const isOfDisk = (cause: unknown): boolean => cause instanceof Error && "syscall" in cause;

function refused(what: string, cause: unknown): DbxError {
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return unavailable(`${what} (${reason})`, { reason }, { cause });
}

export const sha256Of = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("hex");
