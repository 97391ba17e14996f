// Puts what a chain of backups holds into a directory: the whole one first, then the changes of
// each that stands on it. Nothing is believed that was not compared with a manifest.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Manifest } from "../model/backup.ts";
import { dataCorrupted, unavailable } from "../model/error.ts";
import { syncDirectory } from "../storage/documents.ts";
import type { Link } from "./chain.ts";
import { digestOf } from "./chunks.ts";
import { readBackup, type Part, type Place } from "./read.ts";

/** `data/` and `config.toml` in `directory`, synced. Out: the manifest of the last link. */
export async function unpackChain(
  links: readonly Link[],
  options: {
    readonly directory: string;
    readonly passphrase: string | null;
    /** Told bytes of the backups. */
    readonly read: (bytes: number) => void;
  },
): Promise<Manifest> {
  const { directory } = options;
  let last: Manifest | null = null;
  for (const link of links) {
    last = await readBackup(link.path, {
      ...{ passphrase: options.passphrase, read: options.read },
      placeOf: (part) => placeOf(directory, part),
    });
    if (last.id !== link.manifest.id) {
      throw unavailable(`${link.path} has become another file; try again`, { path: link.path });
    }
  }
  if (last === null) throw new Error("a chain has a link");
  await removeOthers(directory, last);
  // Of one link everything was compared on its way here.
  if (links.length > 1) await requireAll(directory, last);
  await syncAll(directory);
  return last;
}

async function placeOf(directory: string, part: Part): Promise<Place | null> {
  if (part.kind === "index") return null;
  const path = join(directory, part.path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return part.kind === "changes" ? openChanged(path, part.bytes) : createPlace(path, part);
}

const write_bytes = 1_048_576;

/** A new file. What is written joins what was before it, so `at` needs no look. */
export async function createPlace(
  path: string,
  { executable }: { readonly executable: boolean },
): Promise<Place> {
  const file = await open(path, "w", executable ? 0o700 : 0o600);
  let [held, bytes]: [Uint8Array[], number] = [[], 0];
  const flush = async (): Promise<void> => {
    const all = Buffer.concat(held);
    [held, bytes] = [[], 0];
    await file.appendFile(all);
  };
  return {
    write: async (piece) => {
      held.push(piece);
      bytes += piece.length;
      if (bytes >= write_bytes) await flush();
    },
    close: async () => {
      try {
        await flush();
        await file.chmod(executable ? 0o700 : 0o600);
        await file.sync();
      } finally {
        await file.close();
      }
    },
  };
}

/** The file of an earlier link; a database that is new with this one begins empty. */
async function openChanged(path: string, bytes: number): Promise<Place> {
  const isThere = (await stat(path).catch(() => null)) !== null;
  const file = await open(path, isThere ? "r+" : "w+", 0o600);
  return {
    write: async (piece, at) => {
      await file.write(piece, 0, piece.length, at);
    },
    close: async () => {
      try {
        await file.truncate(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    },
  };
}

/** What an earlier link had and the last one has not. */
async function removeOthers(directory: string, { files, databases }: Manifest): Promise<void> {
  const known = new Set([...files, ...databases].map(({ path }) => path));
  for (const name of await readdir(directory, { recursive: true })) {
    const path = name.replaceAll("\\", "/");
    const isFile = (await stat(join(directory, path))).isFile();
    // Files of the workplace itself stand beside `data`.
    if (isFile && path.startsWith("data/") && !known.has(path)) await rm(join(directory, path));
  }
  if (!known.has("config.toml")) await rm(join(directory, "config.toml"), { force: true });
}

async function requireAll(directory: string, { files, databases }: Manifest): Promise<void> {
  const wrong = (path: string) =>
    dataCorrupted(`the backups do not fit each other: ${path} is not what the last one says`, {
      path,
    });
  for (const { path, digest, bytes } of databases) {
    const file = join(directory, path);
    if ((await stat(file).catch(() => null))?.size !== bytes) throw wrong(path);
    if ((await digestOf(file, () => undefined)) !== digest) throw wrong(path);
  }
  for (const { path, sha256 } of files) {
    const file = join(directory, path);
    if ((await stat(file).catch(() => null)) === null) throw wrong(path);
    const hash = createHash("sha256");
    for await (const piece of createReadStream(file)) hash.update(piece);
    if (hash.digest("hex") !== sha256) throw wrong(path);
  }
}

async function syncAll(directory: string): Promise<void> {
  for (const name of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (name.isDirectory()) await syncDirectory(join(name.parentPath, name.name));
  }
  await syncDirectory(directory);
}
