// Brings a backup back: unpacked and judged beside the data directory, which is not touched before
// everything has been found whole. What was there stays, under another name.

import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Manifest } from "../model/backup.ts";
import { alreadyExists, dataCorrupted, failedPrecondition, unavailable } from "../model/error.ts";
import { syncDirectory } from "../storage/documents.ts";
import { judgeDirectory, readFacts } from "../storage/sqlite/judge.ts";
import { takeLock } from "../storage/sqlite/lock.ts";
import { databaseNames } from "../storage/sqlite/snapshot.ts";
import type { Link } from "./chain.ts";
import { moveInto, putInPlace } from "./swap.ts";
import { unpackChain } from "./unpack.ts";
import { openWorkplace, requireRoom, workplacePattern } from "./workplace.ts";

export interface RestoreOptions {
  readonly links: readonly Link[];
  readonly passphrase: string | null;
  readonly data_dir: string;
  /** Whether a directory with something in it is put aside. */
  readonly replace: boolean;
  /** For the name of what is put aside. */
  readonly now: () => string;
  /**
   * Verifies everything, in a directory like a data directory. Throws `data_corrupted`. Out: false
   * where the key for it is not at hand. `config`: the file of the backup, or null.
   */
  readonly verify: (unpacked: Unpacked) => Promise<boolean>;
  /** Last changes to what is restored, before it gets its name: trail and configuration. */
  readonly prepare: (unpacked: Unpacked) => Promise<void>;
  readonly progress: { readonly read: (bytes: number) => void; readonly judging: () => void };
}

export interface Unpacked {
  readonly data: string;
  readonly config: string | null;
  readonly manifest: Manifest;
}

export interface Restored {
  readonly manifest: Manifest;
  /** Where the directory is that was replaced; null: nothing was there. */
  readonly replaced: string | null;
}

export async function restoreBackup(asked: RestoreOptions): Promise<Restored> {
  // A link stays a link; what it leads to is exchanged.
  const isThere = existsSync(asked.data_dir);
  const data_dir = isThere ? realpathSync(asked.data_dir) : asked.data_dir;
  const options = { ...asked, data_dir };
  const { links, progress } = options;
  await requireTarget(options);
  const parent = isMountPoint(data_dir) ? data_dir : dirname(data_dir);
  using workplace = await openWorkplace(parent, { kind: "restore", keep: isNeeded });
  const { path: work } = workplace;
  await requireRoom(work, { bytes: sizeOf(links), spare: 0 });
  const manifest = await unpackChain(links, {
    ...{ directory: work, passphrase: options.passphrase, read: progress.read },
  });
  progress.judging();
  const [data, config] = [join(work, "data"), join(work, "config.toml")];
  requireFacts(data, manifest);
  const unpacked = { data, config: existsSync(config) ? config : null, manifest };
  // Whoever verifies looks at all that can be judged without a key, too.
  if (!(await options.verify(unpacked))) judge(data);
  await options.prepare(unpacked);
  await removeLogs(data);
  await syncDirectory(data);
  const replaced = await swap({ work, data }, options);
  return { manifest, replaced };
}

/** Of what is unpacked: each database as large as the largest of the chain. */
function sizeOf(links: readonly Link[]): number {
  const sizes = new Map<string, number>();
  for (const { manifest } of links) {
    for (const { path, bytes } of [...manifest.databases, ...manifest.files]) {
      sizes.set(path, Math.max(bytes, sizes.get(path) ?? 0));
    }
  }
  return sizes.values().reduce((sum, bytes) => sum + bytes, 0);
}

async function requireTarget({ data_dir, replace }: RestoreOptions): Promise<void> {
  const names = await namesIn(data_dir);
  if (names.length === 0) return;
  if (isMountPoint(data_dir)) {
    throw failedPrecondition(
      `${data_dir} is a mount point, which cannot be exchanged, and not empty; empty it, or restore ` +
        "into a directory within it",
      { data_dir },
    );
  }
  if (replace) return;
  throw alreadyExists(`data directory ${data_dir} is not empty (use --force to overwrite)`, {
    data_dir,
  });
}

/** As volumes of containers are: it can neither be renamed nor exchanged. */
function isMountPoint(data_dir: string): boolean {
  if (!existsSync(data_dir)) return false;
  return statSync(data_dir).dev !== statSync(dirname(data_dir)).dev;
}

/** None where there is no such directory. */
async function namesIn(data_dir: string): Promise<readonly string[]> {
  try {
    return (await readdir(data_dir)).filter((name) => !workplacePattern.test(name));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : "unknown";
    if (code === "ENOENT") return [];
    throw failedPrecondition(`${data_dir} is no directory to restore into (${code})`, { data_dir });
  }
}

function requireFacts(data: string, { position, log_root, databases }: Manifest): void {
  if (databases.every(({ path }) => path !== "data/dbx.db")) {
    throw failedPrecondition("backup archive is missing the data directory");
  }
  const facts = readFacts(data);
  if (facts.position === position && facts.log_root === log_root) return;
  throw dataCorrupted(
    `the backup's manifest says position ${position} and root ${log_root}, its log ` +
      `${facts.position} and ${facts.log_root}`,
    { position, log_root },
  );
}

function judge(data: string): void {
  const { faults } = judgeDirectory(data);
  const [first] = faults;
  if (first !== undefined) {
    throw dataCorrupted(`what the backup holds is damaged: ${first}`, { faults });
  }
}

/** Reading has made them; there is nothing in them. */
async function removeLogs(data: string): Promise<void> {
  for (const name of databaseNames) {
    for (const ending of ["-wal", "-shm"]) await rm(join(data, name + ending), { force: true });
  }
}

/** In a workplace from which a directory is being put in place by two renames. */
const swapName = "swapping";

/** A crash between these two renames has left the only whole directory in there. */
function isNeeded(workplace: string): boolean {
  const mark = join(workplace, swapName);
  return existsSync(mark) && !existsSync(readFileSync(mark, "utf8"));
}

async function swap(
  { work, data }: { readonly work: string; readonly data: string },
  { data_dir, replace, now }: RestoreOptions,
): Promise<string | null> {
  const names = await namesIn(data_dir);
  if (names.length > 0 && !replace) {
    throw alreadyExists(`${data_dir} is not empty any more; nothing was changed`, { data_dir });
  }
  if (isMountPoint(data_dir)) {
    await moveInto({ fresh: data, target: data_dir });
    return null;
  }
  // Whoever waits for it meanwhile finds that another directory is here, and takes its lock.
  const release =
    names.length === 0 ? null : await takeLock({ directory: data_dir, lock_wait_ms: 0 });
  const aside = names.length === 0 ? null : freeName(data_dir, now());
  writeFileSync(join(work, swapName), data_dir);
  try {
    await putInPlace({ fresh: data, target: data_dir, aside });
  } catch (error) {
    const isLost = !existsSync(data_dir) && aside !== null && existsSync(aside);
    if (!isLost) throw error;
    throw unavailable(`${data_dir} could not be replaced; what was there is ${aside}`, { aside });
  } finally {
    release?.();
  }
  return aside;
}

/** `<dir>.replaced-20241201T172243Z`, numbered where that is taken. */
function freeName(data_dir: string, now: string): string {
  const time = `${now.slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  const base = join(dirname(data_dir), `${basename(data_dir)}.replaced-${time}`);
  for (let number = 1; ; number++) {
    const path = number === 1 ? base : `${base}-${number}`;
    if (!existsSync(path)) return path;
  }
}
