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
  const expected = [...options.bases, join(folder, file)];
  let useless: { readonly candidate: string; readonly fault: DbxError } | null = null;
  for (const candidate of new Set([...expected, ...beside])) {
    const manifest = await manifestOf(candidate, options.read);
    if (manifest instanceof DbxError) {
      // Of a stranger's files beside it nobody expects anything.
      if (expected.includes(candidate)) useless ??= { candidate, fault: manifest };
    } else if (manifest?.id === id) return { path: candidate, manifest };
  }
  const needs = `${path} is incremental and needs the backup ${file} (id ${id})`;
  if (useless === null) {
    throw failedPrecondition(`${needs}, which is not beside it; name it with --base`, {
      ...{ path, base: { id, file } },
    });
  }
  const { candidate, fault } = useless;
  const { code, message, details } = fault;
  const told = { ...details, input: path, base: { id, file } };
  throw new DbxError(code, `${needs}, and ${candidate} is of no use: ${message}`, told, {
    cause: fault,
  });
}

/** Null for what is no file; why not, where there is no manifest to be had of one. */
async function manifestOf(
  path: string,
  read: (path: string) => Promise<Manifest>,
): Promise<Manifest | DbxError | null> {
  if ((await stat(path).catch(() => null))?.isFile() !== true) return null;
  try {
    await kindOf(path);
    return await read(path);
  } catch (error) {
    if (error instanceof DbxError) return error;
    throw error;
  }
}
