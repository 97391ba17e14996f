// What a backup says of itself: the shape of its manifest, which is read by every later dbx. The
// whole format is described in src/backup/DESIGN.md.

import { Type, type Static } from "@sinclair/typebox";

/** Version 1 was EventDBX's: a directory in a gzip-compressed tar, without hashes. */
export const backupVersion = 2;

/** Eight pages of dbx.db: what an incremental backup takes or leaves of a database at a time. */
export const chunkBytes = 16_384;

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const digest = Type.String({ pattern: "^[0-9a-f]{64}$" });
/** Forward slashes, no control characters, and nothing that leads out of where it is unpacked. */
export const backupPathPattern =
  /^(?!\/)(?!.*(?:^|\/)\.{1,2}(?:\/|$))(?!.*\/\/)[^\u0000-\u001f\u007f\\]+(?<!\/)$/;
const path = Type.String({
  minLength: 1,
  maxLength: 4_096,
  pattern: backupPathPattern.source,
});

const StoredFile = Type.Object({
  path,
  bytes: count,
  sha256: digest,
  executable: Type.Boolean(),
  /** False: an earlier backup of the chain has it under the same path. */
  stored: Type.Boolean(),
});
export type StoredFile = Static<typeof StoredFile>;

const StoredDatabase = Type.Object({
  path,
  bytes: count,
  /** SQLite's `user_version`. */
  format: count,
  /** SHA-256 over the SHA-256 of each chunk, in their order: also that of the index file. */
  digest,
  /** Null: the file is stored whole. */
  changed: Type.Union([
    Type.Null(),
    /** SHA-256 over the number (four bytes, big-endian) and SHA-256 of each changed chunk. */
    Type.Object({ chunks: count, digest }),
  ]),
});
export type StoredDatabase = Static<typeof StoredDatabase>;

export const Manifest = Type.Object({
  version: Type.Literal(backupVersion),
  /** A UUID. */
  id: Type.String({ pattern: "^[0-9a-f-]{36}$" }),
  created_at: Type.String({ maxLength: 64 }),
  /** Of the dbx that made it. */
  dbx: Type.String({ maxLength: 64 }),
  /** The backup on which an incremental one stands. */
  base: Type.Union([Type.Null(), Type.Object({ id: Type.String(), file: Type.String() })]),
  position: count,
  log_root: digest,
  sealing: Type.Union([Type.Literal("none"), Type.Literal("partly"), Type.Literal("all")]),
  data_dir: Type.String(),
  config_path: Type.String(),
  /** What opens something, and is inside. */
  secrets: Type.Array(Type.String()),
  /** Secrets that were left out. */
  excluded: Type.Array(Type.String()),
  chunk_bytes: Type.Literal(chunkBytes),
  files: Type.Array(StoredFile),
  databases: Type.Array(StoredDatabase),
});
export type Manifest = Static<typeof Manifest>;

/** The last entry: whoever reads it has read everything. */
export const BackupEnd = Type.Object({ id: Type.String(), manifest_sha256: digest });
