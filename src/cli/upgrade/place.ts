// Where the executable is, and how another one takes its place: staged beside it on the same file
// system, and by one rename. The former one stays until the new one has answered from there.

import {
  chown,
  copyFile,
  link,
  mkdtemp,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
} from "node:fs/promises";
import { existsSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DbxError, failedPrecondition, permissionDenied } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { syncDirectory } from "../../storage/documents.ts";
import type { Shell } from "../shell.ts";

export interface Site {
  /** The running executable itself, no link to it. */
  readonly path: string;
  readonly directory: string;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

/** Throws where the file that runs is there no more. */
export function siteOf(executable: string): Site {
  // What Linux calls a file that something else has taken the place of.
  if (!existsSync(executable)) {
    const path = executable.replace(/ \(deleted\)$/, "");
    throw failedPrecondition(
      `another executable has taken the place of this one at ${path} meanwhile; see dbx --version`,
      { path },
    );
  }
  const path = realpathSync(executable);
  const { mode, uid, gid } = statSync(path);
  return { path, directory: dirname(path), mode: mode & 0o777, owner: { uid, gid } };
}

const stagePrefix = ".dbx-upgrade-";
/** Whose it is, and what `mkdtemp` puts behind. */
const stageName = /^\.dbx-upgrade-(\d{1,10})-[0-9A-Za-z]{6}$/;

export interface Stage extends AsyncDisposable {
  readonly path: string;
}

/** A folder of our own beside the executable; what killed upgrades left there goes first. */
export async function openStage({ path, directory }: Site, now: string): Promise<Stage> {
  let stage: string;
  try {
    await removeLeftovers(directory, now);
    stage = await mkdtemp(join(directory, `${stagePrefix}${process.pid}-`));
  } catch (cause) {
    const code = codeOf(cause);
    if (!["EACCES", "EPERM", "EROFS"].includes(code)) throw cause;
    throw permissionDenied(
      `may not write to ${directory}, where ${basename(path)} is (${code}); run dbx upgrade as the ` +
        "user who may (sudo), or install it with the installer into a folder of yours",
      { directory, reason: code },
    );
  }
  return {
    path: stage,
    [Symbol.asyncDispose]: () => removeStage(stage),
  };
}

/** Those whose process is gone, and those that are older than any upgrade takes. */
async function removeLeftovers(directory: string, now: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const pid = Number(stageName.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid)) continue;
    const path = join(directory, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    const isOld = mtimeMs < Date.parse(now) - limits.upgrade_stage_ms_max;
    if (isOld || !isAlive(pid)) await removeStage(path);
  }
}

/**
 * File by file: there are no folders in it, and not every Windows removes whole trees. Never
 * throws, because the work is done by then, and the next upgrade tries again.
 */
async function removeStage(path: string): Promise<void> {
  try {
    for (const name of await readdir(path)) await unlink(join(path, name));
    await rmdir(path);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
  }
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/**
 * How a file that runs is replaced: by renaming over it, or, where the system forbids that, by
 * renaming it away first.
 */
export type Way = "over" | "aside";

export const wayOf = (platform: string): Way => (platform === "win32" ? "aside" : "over");

export interface Replacement {
  /** Whole, on the disk, and tried. */
  readonly staged: string;
  readonly stage: Stage;
  readonly way: Way;
  /** Throws where what is at its place now does not answer as it must. */
  readonly verify: (path: string) => Promise<void>;
}

/** Whatever fails, or is killed, a working executable is there; with `aside` perhaps as `.old`. */
export async function replaceProgram(site: Site, replacement: Replacement): Promise<void> {
  const { path, directory } = site;
  const { staged, stage, way, verify } = replacement;
  await keepOwner(staged, site);
  const former = way === "over" ? join(stage.path, "former") : await freeFormer(path);
  if (way === "over") await link(path, former).catch(() => copyFile(path, former));
  else await rename(path, former);
  try {
    await rename(staged, path);
    await syncDirectory(directory);
    await verify(path);
  } catch (cause) {
    // One that does not run may still be held by the system where files are renamed away.
    if (way === "aside") await rm(path, { force: true });
    await rename(former, path);
    await syncDirectory(directory);
    throw cause;
  }
}

/** Where the administrator upgrades what somebody else owns, it stays his. */
async function keepOwner(staged: string, { owner }: Site): Promise<void> {
  if (process.getuid?.() !== 0) return;
  await chown(staged, owner.uid, owner.gid);
}

const formerName = (path: string): string => `${path}.old`;

/** A name for the former executable: an older one may still run under the usual one. */
async function freeFormer(path: string): Promise<string> {
  await removeFormer(path);
  const usual = formerName(path);
  return existsSync(usual) ? `${usual}-${process.pid}` : usual;
}

/** What was renamed away, as far as nothing runs from it any more. Never throws. */
export async function removeFormer(path: string): Promise<void> {
  const begin = basename(formerName(path));
  const names = await readdir(dirname(path)).catch(() => []);
  for (const name of names) {
    const isFormer = name === begin || /^-\d+$/.test(name.slice(begin.length));
    if (!name.startsWith(begin) || !isFormer) continue;
    await rm(join(dirname(path), name), { force: true }).catch(() => {
      // It still runs; the next start or upgrade tries again.
    });
  }
}

/** Throws unless the file runs and says that it is of this version. */
export async function requireVersion(
  path: string,
  { version, env }: { readonly version: string; readonly env: Shell["env"] },
): Promise<void> {
  const said = await versionSaid(path, env);
  const found = /^(?:dbx|eventdbx) v?(\S+)/.exec(said.text)?.[1];
  if (said.exit === 0 && found === version) return;
  const what = said.text === "" ? "nothing" : JSON.stringify(said.text.slice(0, 200));
  throw failedPrecondition(
    `the new executable does not run here: asked for its version it said ${what} and ended with ` +
      `${said.exit ?? "a signal"}, where dbx ${version} was expected; the former one stays`,
    { version, exit: said.exit, said: said.text.slice(0, 200) },
  );
}

async function versionSaid(
  path: string,
  env: Shell["env"],
): Promise<{ readonly text: string; readonly exit: number | string | null }> {
  // What the runtime within would obey instead of answering.
  const own = Object.entries(env).filter(([name]) => !name.startsWith("BUN_"));
  try {
    const child = Bun.spawn([path, "--version"], {
      env: Object.fromEntries(own),
      cwd: dirname(path),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
      timeout: limits.upgrade_answer_ms,
      killSignal: "SIGKILL",
    });
    const [text, exit] = await Promise.all([child.stdout.text(), child.exited]);
    return { text: text.trim(), exit: child.signalCode === null ? exit : child.signalCode };
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    // The system takes it for no program at all.
    return { text: "", exit: codeOf(cause) };
  }
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
