// What a command knows of the process around it: one record, made once, so that nothing below
// reads the environment or writes to a stream on its own.

import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { resolve } from "node:path";
import { createOutput, type Output } from "./output.ts";

export interface Shell {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** The operating system's user: it becomes part of the actor `cli:<user>`. */
  readonly user: string;
  /** Absolute path of the configuration file, whether it exists or not. */
  readonly configPath: string;
  /** Somebody named that path, instead of leaving it at the usual one. */
  readonly configGiven: boolean;
  readonly output: Output;
}

export function openShell(options: { configPath: string | undefined; json: boolean }): Shell {
  const { env } = process;
  const cwd = process.cwd();
  // Without any home directory the predecessor used the working directory; so does dbx.
  const home = env["HOME"] || env["USERPROFILE"] || homedir() || cwd;
  return {
    env,
    cwd,
    home,
    user: userName(),
    configPath: resolve(cwd, options.configPath ?? `${home}/.eventdbx/config.toml`),
    configGiven: options.configPath !== undefined,
    output: createOutput({ json: options.json, noColor: Boolean(env["NO_COLOR"]) }),
  };
}

/**
 * Never from USER or LOGNAME, which anybody sets to any name: what is recorded with every event
 * must be true. Bun's `userInfo` asks them first where they exist, so the user database is asked
 * here.
 */
function userName(): string {
  const uid = process.getuid?.();
  const known = uid === undefined ? userInfo().username : (listedName(uid) ?? foundName());
  const printable = known.replace(/[\u0000-\u001f\u007f-\u009f]/g, "").trim();
  return printable.slice(0, 100) || `uid-${uid ?? "none"}`;
}

/** The name in the local file, which is where most systems have it. */
function listedName(uid: number): string | undefined {
  try {
    const rows = readFileSync("/etc/passwd", "utf8").split("\n");
    return rows.map((row) => row.split(":")).find((row) => row[2] === String(uid))?.[0];
  } catch {
    // A system that keeps its users elsewhere; `id` knows where.
    return undefined;
  }
}

/** The name in a directory service; empty for an id without a name, as containers have. */
function foundName(): string {
  try {
    const { success, stdout } = Bun.spawnSync(["/usr/bin/id", "-un"], {
      env: {},
      stderr: "ignore",
    });
    return success ? stdout.toString() : "";
  } catch {
    // No such program, in a small container.
    return "";
  }
}
