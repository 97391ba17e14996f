// `dbx plugin install`: a bundle is fetched, checked and unpacked beside the place where it
// belongs, and appears there by one rename. What fails, or is killed, leaves what was there before.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { requireBundleName, type InstalledBundle } from "../model/bundle.ts";
import { alreadyExists, failedPrecondition, invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { syncDirectory } from "../storage/documents.ts";
import type { System } from "../system.ts";
import { unpackBundle } from "./install-bundle.ts";
import { fetchBundle, type FetchOptions } from "./install-fetch.ts";
import {
  bundlesIn,
  isOf,
  readRegistry,
  recordBundle,
  thisTarget,
  type BundleKey,
} from "./install-registry.ts";

export interface InstallRequest {
  readonly name: string;
  readonly version: string;
  /** Path or URL. */
  readonly source: string;
  readonly bin: string | undefined;
  /** SHA-256, hex. */
  readonly checksum: string | undefined;
  readonly force: boolean;
}

export interface InstallDeps extends Pick<FetchOptions, "progress" | "idle_ms_max" | "signal"> {
  readonly data_dir: string;
  readonly now: System["now"];
  /** Keeps other installs of this machine away from the given directory, until it is released. */
  readonly lock: (directory: string) => Promise<() => void>;
}

export interface Installed {
  readonly record: InstalledBundle;
  /** It came from elsewhere, and nobody said what it must be. */
  readonly unchecked: boolean;
}

export async function installBundle(
  request: InstallRequest,
  deps: InstallDeps,
): Promise<Installed> {
  requireBundleName(request);
  const expected = request.checksum === undefined ? undefined : digestOf(request.checksum);
  const { target } = thisTarget();
  const directory = bundlesIn(deps.data_dir);
  const place = join(directory, request.name, request.version, target);
  const stages = join(directory, ".staging");
  await mkdir(stages, { recursive: true, mode: 0o700 });
  const { name, version } = request;
  const site: Site = { directory, place, stages, key: { name, version, target } };
  await alone(site, deps, async () => {
    await sweep(stages, deps.now());
    await requireFree(site, request);
  });

  const stage = await mkdtemp(join(stages, "install-"));
  try {
    const { progress, idle_ms_max, signal, now } = deps;
    const path = join(stage, "bundle");
    const checked = expected !== undefined;
    const { source: from, bin } = request;
    const options = { to: path, checked, progress, idle_ms_max, signal };
    const fetched = await fetchBundle({ source: from, ...options });
    const { checksum, remote, source } = fetched;
    if (checked && checksum !== expected) {
      throw failedPrecondition(`checksum mismatch: expected ${expected}, computed ${checksum}`, {
        expected,
        computed: checksum,
      });
    }
    const root = join(stage, "files");
    await mkdir(root, { mode: 0o755 });
    const program = await unpackBundle({ ...fetched, path }, { root, signal, name, bin });
    await syncDirectory(root);
    const binary_path = join(place, program);
    const paths = { install_dir: place, binary_path };
    const record = { name, version, target, ...paths, source, checksum, installed_at: now() };
    await alone(site, deps, async () => {
      signal.throwIfAborted();
      // Somebody may have been faster.
      await requireFree(site, request);
      await publish(site, { root, stage, record });
    });
    return { record, unchecked: remote && !checked };
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

interface Site {
  /** Of all bundles. */
  readonly directory: string;
  /** Of this one. */
  readonly place: string;
  /** Of what is not finished; on the same file system, so that renames work. */
  readonly stages: string;
  readonly key: BundleKey;
}

function digestOf(text: string): string {
  const digest = text.trim().toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digest)) return digest;
  throw invalidArgument("--checksum must be a SHA-256: 64 hexadecimal digits", {
    flag: "--checksum",
  });
}

/** With no other install of this machine beside it, and after what a killed one left is settled. */
async function alone(site: Site, { lock }: InstallDeps, work: () => Promise<void>): Promise<void> {
  const release = await lock(site.stages);
  try {
    await settleFormer(site);
    await work();
  } finally {
    release();
  }
}

async function requireFree(site: Site, { force }: InstallRequest): Promise<void> {
  const { name, version, target } = site.key;
  // Files without a record are those of an install that was killed before it could write one.
  if (force || (await recordAt(site)) === undefined || !existsSync(site.place)) return;
  throw alreadyExists(
    `plugin '${name}' v${version} for target ${target} is already installed; ` +
      "rerun with --force to overwrite",
    { plugin: name, version, target },
  );
}

const recordAt = async ({ directory, key }: Site): Promise<InstalledBundle | undefined> =>
  (await readRegistry(directory)).find((record) => isOf(record, key));

/** Where the files of before wait while those with the given digest take their place. */
const formerOf = (place: string, checksum: string): string => `${place}.before-${checksum}`;

/** A killed install between two renames: its record decides which files are the ones. */
async function settleFormer(site: Site): Promise<void> {
  const { place } = site;
  const parent = dirname(place);
  if (!existsSync(parent)) return;
  for (const name of await readdir(parent)) {
    if (!name.startsWith(`${basename(place)}.before-`)) continue;
    const former = join(parent, name);
    const checksum = (await recordAt(site))?.checksum ?? "";
    if (former !== formerOf(place, checksum) || !existsSync(place)) {
      await rm(place, { recursive: true, force: true });
      await rename(former, place);
    } else await rm(former, { recursive: true, force: true });
  }
}

interface Publication {
  readonly root: string;
  readonly stage: string;
  readonly record: InstalledBundle;
}

async function publish(site: Site, { root, stage, record }: Publication): Promise<void> {
  const { directory, place } = site;
  const former = formerOf(place, record.checksum ?? "");
  const made = await mkdir(dirname(place), { recursive: true, mode: 0o755 });
  const replaces = existsSync(place);
  if (replaces) await rename(place, former);
  try {
    await rename(root, place);
    await syncDirectory(dirname(place));
    await recordBundle(directory, record);
  } catch (cause) {
    // As it was: the files of before, or none.
    await rm(place, { recursive: true, force: true });
    if (replaces) await rename(former, place);
    else await removeEmpty(made, place);
    throw cause;
  }
  if (replaces) await rename(former, join(stage, "former"));
}

/** The directories that were made for `place`, from the innermost one. */
async function removeEmpty(made: string | undefined, place: string): Promise<void> {
  if (made === undefined) return;
  for (let path = dirname(place); path.startsWith(made); path = dirname(path)) await rmdir(path);
}

/** Removes what killed installs left; none that runs is as old. */
async function sweep(stages: string, now: string): Promise<void> {
  const limit = Date.parse(now) - limits.plugin_staging_ms_max;
  for (const name of await readdir(stages)) {
    if (!name.startsWith("install-")) continue;
    const path = join(stages, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    if (mtimeMs < limit) await rm(path, { recursive: true, force: true });
  }
}
