// From one backup to all that it needs: an incremental one names the backup it stands on by its id
// and its file, which is looked for beside it and among what the caller names.

import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Manifest } from "../model/backup.ts";
import { dataCorrupted, DbxError, failedPrecondition } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { kindOf } from "./archive.ts";
import { readManifest } from "./read.ts";

export interface Link {
  readonly path: string;
  readonly manifest: Manifest;
}

/** The whole backup first, `input` last. Throws `failed_precondition` where one is missing. */
export async function findChain(
  input: string,
  options: { readonly bases: readonly string[]; readonly passphrase: string | null },
): Promise<readonly Link[]> {
  const { passphrase } = options;
  const read = (path: string) => readManifest(path, { passphrase, read: () => undefined });
  const links: Link[] = [{ path: input, manifest: await read(input) }];
  for (;;) {
    const [first] = links;
    if (first === undefined || first.manifest.base === null) return links;
    if (links.length === limits.backup_chain_max) {
      throw dataCorrupted(`${input} stands on more than ${links.length} others`, { path: input });
    }
    links.unshift(await findBase(first, { bases: options.bases, read }));
  }
}

async function findBase(
  { path, manifest: { base } }: Link,
  options: {
    readonly bases: readonly string[];
    readonly read: (path: string) => Promise<Manifest>;
  },
): Promise<Link> {
  const { id = "", file = "" } = base ?? {};
  const folder = dirname(path);
  // Its own name first; renamed, it is found by its id.
  const beside = (await readdir(folder)).sort().map((name) => join(folder, name));
  const candidates = [...options.bases, join(folder, file), ...beside];
  for (const candidate of new Set(candidates)) {
    const manifest = await manifestOf(candidate, options.read);
    if (manifest?.id === id) return { path: candidate, manifest };
  }
  throw failedPrecondition(
    `${path} is incremental and needs the backup ${file} (id ${id}), which is not beside it; ` +
      "name it with --base",
    { path, base: { id, file } },
  );
}

/** Null for what is no backup, or one that the passphrase does not open: it is none of this chain. */
async function manifestOf(
  path: string,
  read: (path: string) => Promise<Manifest>,
): Promise<Manifest | null> {
  if ((await stat(path).catch(() => null))?.isFile() !== true) return null;
  try {
    await kindOf(path);
    return await read(path);
  } catch (error) {
    if (error instanceof DbxError) return null;
    throw error;
  }
}
