// What only the data encryption key can tell of a restored store: whether each payload is what its
// event says. The key is looked for where commands would find it.

import type { Unpacked } from "../backup/restore.ts";
import { call } from "../api/call.ts";
import { silentLog } from "../log.ts";
import type { Config } from "../model/config.ts";
import { dataCorrupted, DbxError } from "../model/error.ts";
import { realSystem } from "../system.ts";
import { loadConfiguration } from "./configuration.ts";
import type { Shell } from "./shell.ts";

export type Verified =
  { readonly verified: true } | { readonly verified: false; readonly reason: string };

export interface Judged {
  readonly verified: Verified;
  /** The key that has opened it; null for none. */
  readonly dek: Uint8Array | null;
}

/** Throws `data_corrupted` with what is wrong. */
export async function verifyWithKeys(
  { data, config, manifest }: Unpacked,
  shell: Shell,
): Promise<Judged> {
  // The unpacked configuration first: it may hold the key that the backup was made under.
  const paths = [...(config === null ? [] : [config]), shell.configPath];
  for (const configPath of paths) {
    const loaded = await configAt({ ...shell, configPath });
    if (loaded === null) continue;
    if (manifest.sealing !== "none" && loaded.data_encryption_key === undefined) continue;
    if (!(await verifies({ ...loaded, data_dir: data }, shell))) continue;
    const dek = manifest.sealing === "none" ? undefined : loaded.data_encryption_key;
    return {
      verified: { verified: true },
      dek: dek === undefined ? null : Uint8Array.fromBase64(dek),
    };
  }
  const reason =
    "payloads are encrypted, and their key is not at hand; hashes, tree, tables and files were. " +
    "Run dbx aggregate verify --all with the key";
  return { verified: { verified: false, reason }, dek: null };
}

/** Null where it cannot be loaded: a key file is not on this machine, say. */
async function configAt(shell: Shell): Promise<Config | null> {
  try {
    return (await loadConfiguration(shell, {})).config;
  } catch (error) {
    if (error instanceof DbxError) return null;
    throw error;
  }
}

/** False where the key is another one. */
async function verifies(config: Config, shell: Shell): Promise<boolean> {
  const { open } = await import("../open.ts");
  let opened: Awaited<ReturnType<typeof open>>;
  try {
    opened = await open({
      ...{ config, log: silentLog, system: realSystem, access: "read" as const },
      ...{ opener: shell.user, lock_wait_ms: 0, threads: false, plugins: false, env: shell.env },
      ...{ reload: null, keepKey: null, keepRemote: null },
    });
  } catch (error) {
    if (error instanceof DbxError && error.code === "failed_precondition") return false;
    throw error;
  }
  try {
    const actor = opened.authenticate(opened.openSession(shell.user).token);
    await call(opened.dbx, { operation: "verifyLog", input: {}, actor });
    return true;
  } catch (error) {
    if (!(error instanceof DbxError) || error.code !== "data_corrupted") throw error;
    throw dataCorrupted(`what the backup holds does not verify: ${error.message}`, error.details);
  } finally {
    await opened.close();
  }
}
