// What a command knows of the process around it: one record, made once, so that nothing below
// reads the environment or writes to a stream on its own.

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
    user: userName(env),
    configPath: resolve(cwd, options.configPath ?? `${home}/.eventdbx/config.toml`),
    configGiven: options.configPath !== undefined,
    output: createOutput({ json: options.json, noColor: Boolean(env["NO_COLOR"]) }),
  };
}

/**
 * Bun takes the name from the environment too, and says `unknown` where that has none (cron,
 * containers).
 */
function userName(env: Shell["env"]): string {
  const known = env["USER"] || env["LOGNAME"] || env["USERNAME"] || systemUser() || "";
  const printable = known.replace(/[\u0000-\u001f\u007f-\u009f]/g, "").trim();
  return printable.slice(0, 100) || `uid-${process.getuid?.() ?? "none"}`;
}

function systemUser(): string | undefined {
  try {
    const { username } = userInfo();
    return username === "unknown" ? undefined : username;
  } catch {
    // A user id without an entry in the user database, as containers have: the id itself is used
    // then.
    return undefined;
  }
}
