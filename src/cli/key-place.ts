// Where the data encryption key stands that is in force, and putting another in its place: in the
// configuration file, or in a file of its own.

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { failedPrecondition } from "../model/error.ts";
import { replaceDocument } from "../storage/documents.ts";
import { keepInFile, type Configuration } from "./configuration.ts";
import { codeOf, modeOf, readKeyFile } from "./key-file.ts";

/** Where the key stands that is in force; null where it is in no file. */
const fileOfKey = ({ config, origins, path }: Configuration): string | null => {
  if (config.data_encryption_key === undefined) return null;
  const origin = origins.get("data_encryption_key");
  if (origin === "key file") return config.dek_file ?? null;
  return origin === "file" ? path : null;
};

/** The file that holds the key in force, where more than its owner may read it. */
export function exposedKey(configuration: Configuration): { path: string; mode: string } | null {
  const path = fileOfKey(configuration);
  if (path === null || process.platform === "win32") return null;
  const found = statSync(path);
  return (found.mode & 0o077) === 0 ? null : { path, mode: modeOf(found) };
}

/** Where another key is kept: in the file that is named for it, else in the configuration. */
export const placeOfKey = ({ config, path }: Configuration): string => config.dek_file ?? path;

/** The key in force comes from the environment, and no file is named for it. */
export const isKeyFromOutside = ({ config, origins }: Configuration): boolean =>
  origins.get("data_encryption_key") === "environment" && config.dek_file === undefined;

/**
 * Keeps another key where the present one is. Throws `failed_precondition`, before anything is
 * changed, where that cannot be written; what comes out keeps a key.
 */
export async function keeperOf(
  configuration: Configuration,
): Promise<(data_encryption_key: string) => Promise<void>> {
  const place = placeOfKey(configuration);
  if (isKeyFromOutside(configuration)) throw keptNowhere(place);
  requireSameKey(configuration);
  requireReplaceable(place);
  return async (data_encryption_key) => {
    if (place !== configuration.path) {
      return replaceDocument(place, `${data_encryption_key}\n`, { mode: 0o600 });
    }
    await keepInFile(place, { data_encryption_key });
  };
}

/** Where the environment is stronger than the file, nobody has looked yet what is in that. */
function requireSameKey({ config, origins }: Configuration): void {
  const { dek_file: file, data_encryption_key: key } = config;
  if (file === undefined || origins.get("data_encryption_key") !== "environment") return;
  if (statSync(file, { throwIfNoEntry: false }) === undefined) return;
  const kept = readKeyFile(file, "dek_file");
  const bare = (text: string | undefined) => text?.replace(/=$/, "");
  if (kept === "" || bare(kept) === bare(key)) return;
  throw failedPrecondition(
    `${file} holds another key than the environment, and would lose it; name another file with ` +
      "dbx config --dek-file, or take that key into the environment; nothing was changed",
    { file },
  );
}

/**
 * Its directory takes another file, and nobody has said that the file stays as it is. A file that
 * is not there yet is made.
 */
function requireReplaceable(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  try {
    if (found === undefined) return;
    accessSync(path, constants.W_OK);
    accessSync(dirname(realpathSync(path)), constants.W_OK);
    // Who is root may write to it all the same, but should not without being told to.
    if (process.platform === "win32" || (found.mode & 0o200) !== 0) return;
  } catch (cause) {
    throw readOnly(path, codeOf(cause));
  }
  throw readOnly(path, `mode ${modeOf(found)}`);
}

/**
 * Beside the data is where its owner did not want the key; and where nothing keeps another, it is
 * lost with whoever made it up.
 */
const keptNowhere = (path: string) =>
  failedPrecondition(
    "the data encryption key comes from the environment, and another is not put into " +
      `${path} unasked; write the present one into a file that lies elsewhere, run ` +
      "dbx config --dek-file <path>, rotate again, and take the new key into the environment; " +
      "nothing was changed",
    { key: "data_encryption_key" },
  );

const readOnly = (path: string, reason: string) =>
  failedPrecondition(
    `${path} holds the present key and is read-only (${reason}), so another could not be kept ` +
      "there; make it writable, or rotate where it is; nothing was changed",
    { file: path, reason },
  );
