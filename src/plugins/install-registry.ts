// `plugins/registry.json`: which bundles are installed where. Written by installs, read by whoever
// starts one of them.

import { join } from "node:path";
import { decode } from "../api/decode.ts";
import { fromJson } from "../api/json.ts";
import {
  InstalledBundles,
  targetOf,
  type BundleName,
  type InstalledBundle,
  type Target,
} from "../model/bundle.ts";
import { canonicalize } from "../model/canonical.ts";
import { failedPrecondition } from "../model/error.ts";
import { readDocument, replaceDocument } from "../storage/documents.ts";

/** Where the bundles of a data directory are. */
export const bundlesIn = (data_dir: string): string => join(data_dir, "plugins");

const registryIn = (directory: string): string => join(directory, "registry.json");

export function thisTarget(): Target {
  const { platform, arch } = process;
  const target = targetOf({ platform, arch });
  if (target !== null) return target;
  throw failedPrecondition(`process plugins do not run on ${platform}/${arch}`, { platform, arch });
}

export type BundleKey = Pick<InstalledBundle, "name" | "version" | "target">;

export const isOf = (record: InstalledBundle, { name, version, target }: BundleKey): boolean =>
  record.name === name && record.version === version && record.target === target;

/** None where there is no file or a blank one; an unreadable one is an error, never "none". */
export async function readRegistry(directory: string): Promise<InstalledBundle[]> {
  const path = registryIn(directory);
  const text = await readDocument(path);
  if (text === null || text.trim() === "") return [];
  try {
    return decode(InstalledBundles, fromJson(InstalledBundles, canonicalize(text)));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw failedPrecondition(
      `${path} cannot be read: ${why}; restore it, or move it away and install the plugins again`,
      { path },
      { cause },
    );
  }
}

/** Puts the record in the place of the one of its name, version and target. MUST be alone in this. */
export async function recordBundle(directory: string, record: InstalledBundle): Promise<void> {
  const others = (await readRegistry(directory)).filter((other) => !isOf(other, record));
  const sortKey = ({ name, version, target }: BundleKey) => [name, version, target].join("\0");
  const all = [...others, record].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  await replaceDocument(registryIn(directory), `${JSON.stringify(all.map(inOrder), null, 2)}\n`, {
    mode: 0o600,
  });
}

/** Members as EventDBX writes them; what was read is in another order. */
function inOrder({ name, version, target, install_dir, binary_path, ...rest }: InstalledBundle) {
  const { source, checksum, installed_at } = rest;
  const from = source === undefined || source === null ? source : sourceInOrder(source);
  const paths = { install_dir, binary_path };
  return { name, version, target, ...paths, source: from, checksum, installed_at };
}

const sourceInOrder = (source: NonNullable<InstalledBundle["source"]>) =>
  source.type === "local"
    ? { type: source.type, path: source.path }
    : { type: source.type, registry: source.registry };

/** The bundle for this machine, by either name of its target. */
export async function findBundle(
  directory: string,
  { name, version }: BundleName,
): Promise<InstalledBundle> {
  const { target, older } = thisTarget();
  const records = await readRegistry(directory);
  const [found] = [target, older].flatMap((one) =>
    records.filter((record) => isOf(record, { name, version, target: one })),
  );
  if (found !== undefined) return found;
  throw failedPrecondition(
    `plugin '${name}' version ${version} is not installed for target ${target}; ` +
      "run `dbx plugin install` first",
    { plugin: name, version, target },
  );
}
