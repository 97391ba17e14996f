// Small JSON and TOML files (configuration, tokens, schemas, ...) replaced as a whole: after a
// crash there is the old text or the new one, never a mixture. Not for anything that grows with the
// log.

import { randomBytes } from "node:crypto";
import { link, open, readFile, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { dataCorrupted, unavailable } from "../model/error.ts";
import { isSealed } from "./seal.ts";
import type { Vault } from "./storage.ts";

/** The text of the file without byte-order mark, or null where there is none. */
export async function readDocument(path: string): Promise<string | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) return null;
    throw unavailable(`cannot read ${path}`, { path, reason: codeOf(cause) }, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw dataCorrupted(`${path} is not UTF-8 text`, { path }, { cause });
  }
}

/**
 * Puts `text` in place of what the file held, durably when resolved. `mode` holds for the new file
 * whatever the umask and the old file's mode were. A link is followed, so that it stays a link.
 */
export async function replaceDocument(
  path: string,
  text: string,
  { mode }: { mode: number },
): Promise<void> {
  try {
    const target = await linkTarget(path);
    const fresh = freshName(target);
    try {
      await writeDurably(fresh, text, mode);
      await rename(fresh, target);
    } catch (cause) {
      await rm(fresh, { force: true });
      throw cause;
    }
    await syncDirectory(dirname(target));
  } catch (cause) {
    throw unavailable(`cannot write ${path}`, { path, reason: codeOf(cause) }, { cause });
  }
}

/**
 * Makes a file, whole and durable when resolved. Out: false where one has that name already, which
 * stays as it is.
 */
export async function createDocument(
  path: string,
  content: Uint8Array,
  { mode }: { mode: number },
): Promise<boolean> {
  const fresh = freshName(path);
  try {
    try {
      await writeDurably(fresh, content, mode);
      // Unlike a rename, it fails where the name is taken.
      await link(fresh, path);
    } finally {
      await rm(fresh, { force: true });
    }
    await syncDirectory(dirname(path));
  } catch (cause) {
    if (hasCode(cause, "EEXIST")) return false;
    throw unavailable(`cannot write ${path}`, { path, reason: codeOf(cause) }, { cause });
  }
  return true;
}

/** A document that nobody reads without the key of the store, if that has one. */
export interface SealedDocument {
  readonly path: string;
  /** Like `readDocument`. In clear is read, too: somebody may have put it there. */
  read(): Promise<string | null>;
  /** Like `replaceDocument`, readable for its owner alone. */
  replace(text: string): Promise<void>;
  /** Seals what is there in clear. */
  sealPlain(): Promise<void>;
}

/** `vault` null: nothing is sealed. */
export function sealedDocument(path: string, vault: Vault | null): SealedDocument {
  // Bound in, so that one document does not open in the place of another.
  const purpose = basename(path);
  const replace = (text: string): Promise<void> =>
    replaceDocument(path, vault?.seal(purpose, text) ?? text, { mode: 0o600 });
  return {
    path,
    replace,
    read: async () => {
      const text = await readDocument(path);
      if (text === null || !isSealed(text)) return text;
      if (vault !== null) return vault.unseal(purpose, text);
      throw dataCorrupted(`${path} is encrypted, but this store is not; it is of another one`, {
        path,
      });
    },
    sealPlain: async () => {
      const text = vault === null ? null : await readDocument(path);
      if (text !== null && !isSealed(text)) await replace(text);
    },
  };
}

/** Makes the names in a directory durable. Windows has no such call and needs none. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function linkTarget(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return path;
    throw error;
  }
}

/**
 * In the same directory, because a rename is atomic only within one file system; random, because
 * another process may write the same file at this moment.
 */
const freshName = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);

async function writeDurably(
  path: string,
  content: string | Uint8Array,
  mode: number,
): Promise<void> {
  const file = await open(path, "wx", mode);
  try {
    // `open` takes the umask off the mode.
    await file.chmod(mode);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "unknown";

const hasCode = (error: unknown, code: string): boolean => codeOf(error) === code;
