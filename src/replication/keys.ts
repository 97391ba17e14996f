// This node's own key: the file that nobody else may read, the file that everybody may have, and
// signing. It is made at first need and never replaced: other nodes know this one by it.

import { createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Config } from "../model/config.ts";
import { assert, DbxError, failedPrecondition, unavailable } from "../model/error.ts";
import { publicKeyBytes, publicKeyText } from "../model/remote.ts";
import { createDocument, readDocument } from "../storage/documents.ts";

export interface NodeKeys {
  /** 43 signs of base64. */
  readonly public_key: string;
  readonly publicBytes: Uint8Array;
  /** 64 bytes of Ed25519. */
  readonly sign: (message: Uint8Array) => Uint8Array;
  readonly key_path: string;
  readonly pub_path: string;
}

/** Where `replication.identity_key` is: relative to the data directory. */
export const keyPathOf = (config: Pick<Config, "data_dir" | "replication">): string =>
  resolve(config.data_dir, config.replication.identity_key);

/**
 * The key of this node, which is made where there is none. Throws `failed_precondition` for files
 * that are not as dbx makes them.
 */
export async function ensureKeys(
  key_path: string,
  random: (bytes: number) => Uint8Array,
): Promise<NodeKeys> {
  if ((await readSeed(key_path)) === null) {
    await makeDirectory(dirname(key_path));
    // Another command may have made it meanwhile: then that one holds.
    await createDocument(key_path, random(seedBytes), { mode: 0o600 });
  }
  const seed = await readSeed(key_path);
  if (seed === null) throw failedPrecondition(`${key_path} was removed while it was made`);
  const keys = keysOf(seed, key_path);
  const told = await readDocument(keys.pub_path);
  if (told === null) {
    await createDocument(keys.pub_path, Buffer.from(keys.public_key), { mode: 0o644 });
  } else if (textOf(told) !== keys.public_key) {
    throw failedPrecondition(
      `${keys.pub_path} does not belong to ${key_path}, whose public key is ${keys.public_key}; ` +
        "remove the first file, and it is made anew, or put the right key back",
      { path: keys.pub_path, public_key: keys.public_key },
    );
  }
  return keys;
}

/** This node's public key, or null where it has none yet. Makes nothing. */
export async function readPublicKey(key_path: string): Promise<string | null> {
  const seed = await readSeed(key_path);
  return seed === null ? null : keysOf(seed, key_path).public_key;
}

const seedBytes = 32;

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unavailable(`cannot make ${path}`, { path }, { cause });
  }
}

/** Null where there is no such file. */
async function readSeed(path: string): Promise<Uint8Array | null> {
  let seed: Uint8Array;
  let mode: number;
  try {
    mode = (await stat(path)).mode;
    seed = await readFile(path);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    if (reason === "ENOENT") return null;
    throw unavailable(`cannot read ${path}`, { path, reason }, { cause });
  }
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw failedPrecondition(
      `${path} is open to others (mode ${(mode & 0o777).toString(8).padStart(4, "0")}); whoever ` +
        `has read it can pass for this node: chmod 600 it, or remove it for a new key`,
      { path },
    );
  }
  if (seed.length !== seedBytes) {
    throw failedPrecondition(
      `invalid replication key length at ${path}: ${seed.length} bytes instead of ${seedBytes}; ` +
        "put the right file back, or remove it for a new key, which other nodes must be told",
      { path, bytes: seed.length },
    );
  }
  return seed;
}

function keysOf(seed: Uint8Array, key_path: string): NodeKeys {
  const key = privateKeyOf(seed);
  const publicBytes = rawPublicKey(createPublicKey(key));
  return {
    public_key: publicKeyText(publicBytes),
    publicBytes,
    sign: (message) => sign(null, message, key),
    key_path,
    pub_path: key_path.replace(/(?:\.key)?$/, ".pub"),
  };
}

/** What PKCS #8 has before the seed of an Ed25519 key (RFC 8410). */
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");

export const privateKeyOf = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });

function rawPublicKey(key: KeyObject): Uint8Array {
  const spki = key.export({ format: "der", type: "spki" });
  assert(spki.length === 44, "an Ed25519 key has 12 bytes before its 32");
  return new Uint8Array(spki.subarray(12));
}

/** Anybody may have written the file: it is compared, never believed. */
function textOf(told: string): string | null {
  try {
    return publicKeyText(publicKeyBytes(told));
  } catch (error) {
    if (error instanceof DbxError) return null;
    throw error;
  }
}
