// Reads a backup from its first byte to its last and compares all of it with the manifest; on the
// way each part may go to a place of its own. A backup that comes through is whole.

import { createHash } from "node:crypto";
import { decode } from "../api/decode.ts";
import { fromJson } from "../api/json.ts";
import {
  BackupEnd,
  backupVersion,
  chunkBytes,
  Manifest,
  type StoredDatabase,
} from "../model/backup.ts";
import { canonicalize } from "../model/canonical.ts";
import { dataCorrupted, DbxError, failedPrecondition } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { digestBytes, sha256 } from "../model/merkle.ts";
import { readArchive, sha256Of, type ReadOptions } from "./archive.ts";
import { addChanged, chunksOf, readChanged } from "./chunks.ts";
import type { TarEntry } from "./tar.ts";

export interface Part {
  /** `changes`: chunks of a database, each at its own place. `index`: hashes of its chunks. */
  readonly kind: "file" | "database" | "changes" | "index";
  /** In the backup: `data/dbx.db`; for changes and indexes that of the database. */
  readonly path: string;
  /** Of the file it becomes. */
  readonly bytes: number;
  readonly executable: boolean;
}

export interface Place {
  readonly write: (piece: Uint8Array, at: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Where a part goes; null: nowhere. */
export type PlaceOf = (part: Part) => Promise<Place | null>;

/** The first entry alone. Throws `failed_precondition` for a version that dbx does not read. */
export async function readManifest(path: string, options: ReadOptions): Promise<Manifest> {
  for await (const entry of readArchive(path, options))
    return (await manifestOf(entry, path)).manifest;
  throw noManifest(path);
}

/**
 * Throws `data_corrupted` unless everything is there as the manifest says. `indexesOnly`: returns
 * once the indexes have been read, for an incremental backup that stands on this one.
 */
export async function readBackup(
  path: string,
  options: ReadOptions & { readonly placeOf: PlaceOf; readonly indexesOnly?: true },
): Promise<Manifest> {
  let expected: Expected | null = null;
  for await (const entry of readArchive(path, options)) {
    if (expected === null) {
      expected = expectedOf(await manifestOf(entry, path));
      continue;
    }
    if (options.indexesOnly && expected.left.values().every(({ kind }) => kind !== "index")) {
      return expected.manifest;
    }
    if (entry.path === endName) {
      await requireEnd(entry, expected);
      expected.ended = true;
      continue;
    }
    const part = expected.left.get(entry.path);
    if (part === undefined || expected.ended) {
      throw dataCorrupted(`${path} is damaged: ${entry.path} is not in its manifest, or twice`);
    }
    expected.left.delete(entry.path);
    await takePart(entry, { part, placeOf: options.placeOf });
  }
  if (expected === null) throw noManifest(path);
  const [missing] = expected.left.keys();
  if (missing === undefined && expected.ended) return expected.manifest;
  throw dataCorrupted(`${path} is damaged: ${missing ?? "its end"} is missing`, { path });
}

const noManifest = (path: string) =>
  failedPrecondition("backup archive does not contain a manifest.json", { path });

export const manifestName = "manifest.json";
export const endName = "end.json";
export const indexName = (path: string): string => path.replace(/^data\//, "index/");
export const changesName = (path: string): string => path.replace(/^data\//, "changes/");

interface Opened {
  readonly manifest: Manifest;
  readonly sha256: string;
}

async function manifestOf(entry: TarEntry, path: string): Promise<Opened> {
  if (entry.path !== manifestName) throw noManifest(path);
  const text = await textOf(entry);
  const version = /"version":\s*(\d+)/.exec(text)?.[1];
  if (version !== undefined && Number(version) !== backupVersion) {
    throw failedPrecondition(
      `${path} is a backup of version ${version}; this dbx reads version ${backupVersion}`,
      { path, version: Number(version), known: backupVersion },
    );
  }
  return { manifest: parse(text, (value) => decode(Manifest, value)), sha256: sha256Of(text) };
}

function parse<T>(text: string, read: (value: unknown) => T): T {
  try {
    return read(fromJson(undefined, canonicalize(text)));
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw dataCorrupted(`the backup is damaged: ${cause.message}`, {}, { cause });
  }
}

async function textOf({ path, bytes, content }: TarEntry): Promise<string> {
  if (bytes > limits.backup_manifest_bytes_max) {
    throw dataCorrupted(`the backup is damaged: ${path} has ${bytes} bytes`);
  }
  const parts: Uint8Array[] = [];
  for await (const piece of content) parts.push(piece);
  return new TextDecoder().decode(Buffer.concat(parts));
}

interface Expectation extends Part {
  readonly hash: string;
  /** Of the entry, where it is known. */
  readonly entry_bytes: number | null;
}

interface Expected extends Opened {
  readonly left: Map<string, Expectation>;
  ended: boolean;
}

function expectedOf(opened: Opened): Expected {
  const { files, databases } = opened.manifest;
  const left = new Map<string, Expectation>();
  for (const { path, bytes, sha256: hash, executable, stored } of files) {
    const file = { kind: "file", path, bytes, executable, hash, entry_bytes: bytes } as const;
    if (stored) left.set(path, file);
  }
  for (const database of databases) {
    for (const [name, part] of partsOf(database)) left.set(name, part);
  }
  return { ...opened, left, ended: false };
}

function partsOf({ path, bytes, digest, changed }: StoredDatabase): [string, Expectation][] {
  const own = { path, bytes, executable: false };
  const index_bytes = Math.ceil(bytes / chunkBytes) * digestBytes;
  const content: [string, Expectation] =
    changed === null
      ? [path, { ...own, kind: "database", hash: digest, entry_bytes: bytes }]
      : [changesName(path), { ...own, kind: "changes", hash: changed.digest, entry_bytes: null }];
  const index = { ...own, kind: "index", hash: digest, entry_bytes: index_bytes } as const;
  return [[indexName(path), index], content];
}

async function requireEnd(entry: TarEntry, { manifest, sha256: hash }: Expected): Promise<void> {
  const { id, manifest_sha256 } = parse(await textOf(entry), (value) => decode(BackupEnd, value));
  if (id === manifest.id && manifest_sha256 === hash) return;
  throw dataCorrupted("the backup is damaged: its end belongs to another manifest", { id });
}

async function takePart(
  entry: TarEntry,
  { part, placeOf }: { readonly part: Expectation; readonly placeOf: PlaceOf },
): Promise<void> {
  if (part.entry_bytes !== null && part.entry_bytes !== entry.bytes) {
    throw dataCorrupted(`the backup is damaged: ${entry.path} has ${entry.bytes} bytes`);
  }
  const place = await placeOf(part);
  let found: string;
  try {
    found = await takers[part.kind](entry.content, { ...part, write: place?.write ?? nowhere });
  } finally {
    await place?.close();
  }
  if (found !== part.hash) {
    throw dataCorrupted(`the backup is damaged: ${entry.path} is not what its manifest says`);
  }
}

const nowhere = async (): Promise<void> => undefined;

type Taker = (
  content: AsyncIterable<Uint8Array>,
  into: { readonly bytes: number; readonly write: Place["write"] },
) => Promise<string>;

/** Hash of the content, as it comes. */
const plain: Taker = async (content, { write }) => {
  const hash = createHash("sha256");
  let at = 0;
  for await (const piece of content) {
    hash.update(piece);
    await write(piece, at);
    at += piece.length;
  }
  return hash.digest("hex");
};

const takers: Readonly<Record<Part["kind"], Taker>> = {
  file: plain,
  index: plain,
  database: async (content, { write }) => {
    const whole = createHash("sha256");
    let at = 0;
    for await (const chunk of chunksOf(content)) {
      whole.update(sha256(chunk));
      await write(chunk, at);
      at += chunk.length;
    }
    return whole.digest("hex");
  },
  changes: async (content, { bytes, write }) => {
    const changed = createHash("sha256");
    for await (const { number, chunk } of readChanged(content, bytes)) {
      addChanged(changed, number, sha256(chunk));
      await write(chunk, number * chunkBytes);
    }
    return changed.digest("hex");
  },
};
