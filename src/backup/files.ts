// The files of a data directory besides its databases: which of them a backup takes, and what they
// hold. Everything is taken but what is of no use elsewhere; files that dbx did not make, too.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { backupPathPattern } from "../model/backup.ts";
import { tooLarge, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { databaseNames } from "../storage/sqlite/snapshot.ts";
import { sha256Of } from "./archive.ts";
import { workplacePattern } from "./workplace.ts";

export interface FoundFile {
  /** From the data directory on, with forward slashes. */
  readonly path: string;
  readonly source: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly executable: boolean;
  /** When it was changed last, in milliseconds since 1970. */
  readonly modified: number;
  /** Of small files, which must fit the databases; others are read again when they are packed. */
  readonly content: Uint8Array | null;
}

export interface Found {
  readonly files: readonly FoundFile[];
  /** Links to directories, sockets and the like; names that another system would not take. */
  readonly skipped: readonly string[];
}

/** The lock, the databases and their logs, the server's PID, and files that are being replaced. */
const left: readonly RegExp[] = [
  /^lock\.db(?:-journal|-wal|-shm)?$/,
  ...databaseNames.map(
    (name) => new RegExp(`^${name.replace(".", "\\.")}(?:-wal|-shm|-journal)?$`),
  ),
  /^eventdbx\.pid$/,
  /^logs$/,
  /^\.[\w.]+\.[0-9a-f]{12}\.tmp$/,
  workplacePattern,
  // Bundles of plugins that are not unpacked yet.
  /^plugins\/\.staging$/,
];

/**
 * `without`: absolute paths of files that are left out, such as keys. `known`: what was found a
 * moment ago; large files that seem to be the same are not read again.
 */
export async function findFiles(
  data_dir: string,
  { without, known }: { readonly without: readonly string[]; readonly known: Found | null },
): Promise<Found> {
  const before = new Map(known?.files.map((file) => [file.path, file]));
  const files: FoundFile[] = [];
  const skipped: string[] = [];
  const walk = async (folder: string, depth: number): Promise<void> => {
    for (const name of (await readdir(join(data_dir, folder))).sort()) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const source = join(data_dir, path);
      if (left.some((pattern) => pattern.test(path)) || without.includes(source)) continue;
      const kind = backupPathPattern.test(path) ? await kindOf(source) : "other";
      if (kind === "gone") continue;
      if (kind === "directory" && depth < limits.backup_depth_max) await walk(path, depth + 1);
      else if (kind === "file") {
        files.push(await readOne({ path, source, known: before.get(path) }, folder === ""));
      } else skipped.push(path);
      if (files.length > limits.backup_files_max) {
        throw tooLarge(`${data_dir} has more than ${limits.backup_files_max} files`, { data_dir });
      }
    }
  };
  await walk("", 0);
  return { files, skipped };
}

/** A link to a file counts as that file; one to a directory might lead in a circle. */
async function kindOf(source: string): Promise<"file" | "directory" | "gone" | "other"> {
  const own = await lstat(source).catch(() => null);
  if (own === null) return "gone";
  if (own.isDirectory()) return "directory";
  const target = own.isSymbolicLink() ? await stat(source).catch(() => null) : own;
  return target?.isFile() === true ? "file" : "other";
}

async function readOne(
  {
    path,
    source,
    known,
  }: { readonly path: string; readonly source: string; readonly known: FoundFile | undefined },
  top: boolean,
): Promise<FoundFile> {
  try {
    const { size, mode, mtimeMs: modified } = await stat(source);
    const executable = (mode & 0o100) !== 0;
    if (top && size <= limits.backup_small_bytes_max) {
      const content = await readFile(source);
      const sha256 = sha256Of(content);
      return { path, source, bytes: content.length, sha256, executable, modified, content };
    }
    if (known?.bytes === size && known.modified === modified) return known;
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const piece of createReadStream(source)) {
      hash.update(piece);
      bytes += piece.length;
    }
    return { path, source, bytes, sha256: hash.digest("hex"), executable, modified, content: null };
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw unavailable(`cannot read ${source} (${reason})`, { path: source, reason }, { cause });
  }
}

/** Copies that a server writes for people at any time; they need not fit anything. */
const loose: readonly string[] = ["plugins.json", "plugin_queue.json"];

/** Whether both are the same files, as far as they have to fit the databases. */
export const isSame = (one: Found, other: Found): boolean => markOf(one) === markOf(other);

const markOf = ({ files }: Found): string =>
  files
    .filter(({ path }) => !loose.includes(path))
    .map(({ path, sha256 }) => `${path} ${sha256}`)
    .join("\n");
