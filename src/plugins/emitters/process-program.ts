// Which program a process plugin is, and whether it may be run: what others may write to must not
// run as dbx does.

import type { Stats } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import type { InstalledBundle } from "../../model/bundle.ts";
import { DbxError, failedPrecondition } from "../../model/error.ts";
import type { ProcessConfig } from "../../model/plugin.ts";
import { bundlesIn, findBundle } from "../install-registry.ts";
import type { Program } from "./process-child.ts";

export interface ProgramDeps {
  readonly data_dir: string;
  /** Of dbx; the usual variables are taken from it, and no other ones. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface FoundProgram {
  readonly bundle: InstalledBundle;
  readonly program: Program;
}

/** Throws `failed_precondition` where it is not there, or may not be run. */
export async function findProgram(
  config: ProcessConfig,
  { data_dir, env }: ProgramDeps,
): Promise<FoundProgram> {
  const bundle = await findBundle(bundlesIn(data_dir), config);
  const directory = await look(bundle.install_dir);
  const program = await look(bundle.binary_path);
  const say = (what: string) => failedPrecondition(what, { path: bundle.binary_path });
  if (!program.stats.isFile()) throw say(`${bundle.binary_path} is no file`);
  if (!program.path.startsWith(join(directory.path, sep))) {
    throw say(`${bundle.binary_path} leads out of ${bundle.install_dir}`);
  }
  if (process.platform !== "win32") {
    if ((program.stats.mode & 0o111) === 0) throw say(`${bundle.binary_path} is not executable`);
    for (const { path, stats } of [program, directory]) {
      if ((stats.mode & 0o002) === 0) continue;
      throw say(`${path} can be written by everybody, so it is not run; take that right away`);
    }
  }
  const cwd = config.working_dir ?? bundle.install_dir;
  const { stats } = await look(cwd);
  if (!stats.isDirectory()) throw say(`the working directory ${cwd} is no directory`);
  return {
    bundle,
    program: {
      ...{ path: bundle.binary_path, args: config.args, cwd },
      env: { ...usual(env), ...config.env },
    },
  };
}

async function look(path: string): Promise<{ readonly path: string; readonly stats: Stats }> {
  try {
    const real = await realpath(path);
    return { path: real, stats: await stat(real) };
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw failedPrecondition(`${path} cannot be looked at (${reason})`, { path }, { cause });
  }
}

/** What a program needs to find others, its files and its language; Windows starts none without. */
const usualNames = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "SystemRoot"];

function usual(env: ProgramDeps["env"]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of usualNames) {
    const value = env[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}
