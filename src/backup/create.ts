// Makes a backup: pins the databases at one moment, copies them, packs the copies beside the
// output, reads that back, and only then gives it its name. DESIGN.md says why in this order.

import { createReadStream } from "node:fs";
import { link, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  backupVersion,
  chunkBytes,
  type Manifest,
  type StoredDatabase,
  type StoredFile,
} from "../model/backup.ts";
import { alreadyExists, assert, dataCorrupted, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { syncDirectory } from "../storage/documents.ts";
import { readFacts } from "../storage/sqlite/judge.ts";
import {
  databaseNames,
  openSnapshot,
  requireDatabase,
  type Snapshot,
} from "../storage/sqlite/snapshot.ts";
import type { System } from "../system.ts";
import { version } from "../version.ts";
import { sha256Of, writeArchive, type ArchiveFile } from "./archive.ts";
import { readBase, type Base } from "./base.ts";
import { changedChunks, indexFile, piecesOf, type Indexed } from "./chunks.ts";
import { findFiles, isSame, type Found, type FoundFile } from "./files.ts";
import { changesName, endName, indexName, manifestName, readBackup } from "./read.ts";
import { scryptLogN } from "./segments.ts";
import { openWorkplace, requireRoom } from "./workplace.ts";

export interface BackupOptions {
  readonly data_dir: string;
  /** The configuration as it is put into the backup; null: there is none. */
  readonly config: () => Promise<{ readonly path: string; readonly text: string | null }>;
  readonly output: string;
  /** Whether a file of that name is replaced. */
  readonly replace: boolean;
  /** The backup on which an incremental one stands. */
  readonly since: string | null;
  readonly passphrase: string | null;
  /** Absolute paths of files that are left out. */
  readonly without: readonly string[];
  /** For the manifest; names what is a secret among what is there. */
  readonly secretsOf: (files: readonly string[], snapshot: { sealing: string }) => Secrets;
  readonly system: System;
  readonly progress: Progress;
}

export interface Secrets {
  readonly secrets: readonly string[];
  readonly excluded: readonly string[];
}

/** Told when the size is known, then bytes of it as they are dealt with, each of them four times. */
export interface Progress {
  readonly begin: (bytes: number) => void;
  readonly advance: (bytes: number) => void;
}

export interface Made {
  readonly manifest: Manifest;
  /** Of the backup. */
  readonly bytes: number;
  /** Of the data in it. */
  readonly data_bytes: number;
  readonly skipped: readonly string[];
}

export async function createBackup(options: BackupOptions): Promise<Made> {
  const { output, passphrase, data_dir, since, system } = options;
  requireDatabase(data_dir);
  const parent = dirname(output);
  using beside = await openWorkplace(parent, { kind: "backup", keep: () => false });
  // What is in clear must not touch a disk that the owner trusts less than his own.
  using own =
    passphrase === null
      ? null
      : await openWorkplace(data_dir, { kind: "backup", keep: () => false });
  const work = own?.path ?? beside.path;
  const base = since === null ? null : await readBase(since, { passphrase, work });
  const taken = await takeCopies(options, {
    work,
    spare: own === null ? 0 : limits.backup_spare_bytes,
  });
  const packed = join(beside.path, "backup");
  const contents = await contentsOf(options, { taken, base, work });
  const salt = system.random(16);
  const sealing = passphrase === null ? null : { passphrase, salt, log_n: scryptLogN };
  await writeArchive(packed, filesOf(contents, options), sealing);
  const manifest = await readBackup(packed, {
    passphrase,
    read: () => undefined,
    placeOf: async ({ kind, bytes }) => {
      if (kind === "database") options.progress.advance(bytes);
      return null;
    },
  });
  assert(manifest.id === contents.manifest.id, "what is read back is what was written");
  const { size: bytes } = await stat(packed);
  await publish(packed, options);
  const data_bytes = taken.bytes + sum(taken.found.files.map((file) => file.bytes));
  return { manifest, bytes, data_bytes, skipped: taken.found.skipped };
}

interface Taken {
  readonly snapshot: Pick<Snapshot, "position" | "log_root" | "sealing" | "databases">;
  readonly found: Found;
  readonly config: { readonly path: string; readonly text: string | null };
  /** Of all databases. */
  readonly bytes: number;
}

/** Copies of the databases in `work`, and the files that fit them. */
async function takeCopies(
  options: BackupOptions,
  { work, spare }: { readonly work: string; readonly spare: number },
): Promise<Taken> {
  const { pinned: snapshot, found, config } = await pinWithFiles(options);
  using _ = snapshot;
  const bytes = sum(snapshot.databases.map((database) => database.bytes));
  options.progress.begin(bytes);
  await requireRoom(work, { bytes, spare });
  // The main file first: its log grows fastest while it is pinned.
  for (const name of databaseNames) {
    if (snapshot.databases.every((database) => database.name !== name)) continue;
    await snapshot.copy(name, join(work, name), options.progress.advance);
    snapshot.release(name);
  }
  const { position, log_root, sealing, databases } = snapshot;
  const copied = readFacts(work);
  if (copied.position !== position || copied.log_root !== log_root) {
    throw dataCorrupted(
      `the copy of ${options.data_dir} has position ${copied.position} and root ${copied.log_root}, ` +
        `not ${position} and ${log_root}`,
      { copied: { ...copied }, expected: { position, log_root } },
    );
  }
  return { snapshot: { position, log_root, sealing, databases }, found, config, bytes };
}

/**
 * Files are read before the databases are pinned and again afterwards: where they are the same,
 * they are as they were at that moment. Where they never are, the older ones are taken: a staged
 * event that the log has by now is left out of a commit, and one that neither had would be lost.
 */
async function pinWithFiles(options: BackupOptions) {
  const { data_dir, without } = options;
  const read = async (known: Found | null) => ({
    found: await findFiles(data_dir, { without, known }),
    config: await options.config(),
  });
  let before = await read(null);
  for (let round = 1; ; round++) {
    const pinned = openSnapshot(data_dir);
    try {
      const after = await read(before.found);
      const same = isSame(before.found, after.found) && before.config.text === after.config.text;
      if (same || round === limits.backup_tries_max) return { pinned, ...before };
      before = after;
    } catch (error) {
      pinned[Symbol.dispose]();
      throw error;
    }
    pinned[Symbol.dispose]();
  }
}

interface Contents {
  readonly manifest: Manifest;
  readonly files: readonly { readonly stored: StoredFile; readonly source: Source }[];
  readonly databases: readonly { readonly stored: StoredDatabase; readonly copy: Copy }[];
}

type Source = Pick<FoundFile, "source" | "content">;

/** Files of the workplace: the copy, its index, and the list of what has changed. */
interface Copy extends Pick<Indexed, "changed_bytes"> {
  readonly path: string;
  readonly index: string;
  readonly list: string;
}

async function contentsOf(
  options: BackupOptions,
  made: { readonly taken: Taken; readonly base: Base | null; readonly work: string },
): Promise<Contents> {
  const { taken, base, work } = made;
  const { data_dir, system, progress } = options;
  const files = taken.found.files.map((file) => ({ stored: storedFile(file, base), source: file }));
  const { text } = taken.config;
  if (text !== null) files.push(configFile(text));
  const databases: Contents["databases"][number][] = [];
  for (const { name, bytes, format } of taken.snapshot.databases) {
    const path = join(work, name);
    const copy = { path, index: `${path}.index`, list: `${path}.list` };
    const { changed_bytes, digest, changed } = await indexFile(path, {
      ...{ index: copy.index, list: copy.list, seen: progress.advance },
      ...{ base: base?.indexes.get(`data/${name}`) ?? null, incremental: base !== null },
    });
    const stored = { path: `data/${name}`, bytes, format, digest, changed };
    databases.push({ stored, copy: { ...copy, changed_bytes } });
  }
  const { position, log_root, sealing } = taken.snapshot;
  const { secrets, excluded } = options.secretsOf(
    files.map(({ stored }) => stored.path),
    taken.snapshot,
  );
  const manifest: Manifest = {
    ...{ version: backupVersion, id: system.uuid(), created_at: system.now(), dbx: version },
    base: base === null ? null : { id: base.id, file: basename(base.path) },
    ...{ position, log_root, sealing, data_dir, config_path: taken.config.path },
    ...{ secrets: [...secrets], excluded: [...excluded], chunk_bytes: chunkBytes },
    files: files.map(({ stored }) => stored),
    databases: databases.map(({ stored }) => stored),
  };
  return { manifest, files, databases };
}

function storedFile({ path, bytes, sha256, executable }: FoundFile, base: Base | null): StoredFile {
  const own = `data/${path}`;
  const isKnown = base?.files.get(own) === `${sha256} ${executable}`;
  return { path: own, bytes, sha256, executable, stored: !isKnown };
}

function configFile(text: string): { stored: StoredFile; source: Source & FoundFile } {
  const content = Buffer.from(text);
  const path = "config.toml";
  const sha256 = sha256Of(content);
  const stored = { path, bytes: content.length, sha256, executable: false, stored: true };
  return { stored, source: { ...stored, source: path, modified: 0, content } };
}

/** The manifest first, so that one look tells what a backup is; then what a next one asks for. */
async function* filesOf(
  { manifest, files, databases }: Contents,
  { progress }: BackupOptions,
): AsyncGenerator<ArchiveFile> {
  const modified = Math.floor(Date.parse(manifest.created_at) / 1000);
  const textFile = (path: string, text: string): ArchiveFile => {
    const content = Buffer.from(text);
    return { path, bytes: content.length, executable: false, modified, content: [content] };
  };
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  yield textFile(manifestName, text);
  for (const { stored, copy } of databases) {
    const content = piecesOf(copy.index);
    const { size: bytes } = await stat(copy.index);
    yield { path: indexName(stored.path), bytes, executable: false, modified, content };
  }
  for (const { stored, source } of files) {
    if (!stored.stored) continue;
    const content = source.content === null ? createReadStream(source.source) : [source.content];
    yield { ...stored, modified, content };
  }
  for (const { stored, copy } of databases) {
    const whole = stored.changed === null;
    const content = whole ? piecesOf(copy.path) : changedChunks(copy.path, copy.list);
    yield {
      path: whole ? stored.path : changesName(stored.path),
      bytes: whole ? stored.bytes : copy.changed_bytes,
      ...{ executable: false, modified, content },
    };
    progress.advance(stored.bytes);
  }
  const end = { id: manifest.id, manifest_sha256: sha256Of(text) };
  yield textFile(endName, `${JSON.stringify(end)}\n`);
}

/** From here on it is there, whatever happens. */
async function publish(packed: string, { output, replace }: BackupOptions): Promise<void> {
  try {
    if (replace) await rename(packed, output);
    else await linkNew(packed, output);
    await syncDirectory(dirname(output));
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    if (reason === "EEXIST") throw exists(output);
    throw unavailable(`cannot write ${output} (${reason})`, { output, reason }, { cause });
  }
}

/** Unlike a rename, a link fails where the name is taken; some file systems have none. */
async function linkNew(packed: string, output: string): Promise<void> {
  try {
    await link(packed, output);
    await rm(packed);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code === "EEXIST" || (await stat(output).catch(() => null)) !== null) throw cause;
    await rename(packed, output);
  }
}

export const exists = (output: string) =>
  alreadyExists(`backup target ${output} already exists (use --force to overwrite)`, { output });

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
