// What a command knows of the process around it: one record, made once, so that nothing below
// reads the environment or writes to a stream on its own.

import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { resolve } from "node:path";
import type { Dbx } from "../api/dbx.ts";
import type { Actor } from "../model/actor.ts";
import { invalidArgument } from "../model/error.ts";
import { createOutput, type Output } from "./output.ts";

/** What somebody asked for, and the flag or the variable he said it with. */
export interface Named {
  readonly text: string;
  readonly place: string;
}

/** Whom commands ask. */
export type Reach =
  /** This machine's server or, where none runs, its data directory. */
  | { readonly kind: "machine" }
  /** A server elsewhere, over HTTP; named by a flag, or by the environment. */
  | { readonly kind: "url"; readonly url: Named; readonly ca_file: Named | null }
  /** The server that this command came to over a socket, and whose process it runs in. */
  | {
      readonly kind: "served";
      readonly dbx: Dbx;
      readonly authenticate: (token: string) => Actor;
      /** Takes a defect, whose stack is not the caller's to see. */
      readonly failed: (error: unknown) => void;
    };

/** Who runs words, and what is judged before they are looked at. */
export interface Place {
  readonly shell: Shell;
  readonly check: () => void;
}

/** In: the words after `dbx`, and who runs them. Out: the exit code; never throws. */
export type RunWords = (
  args: readonly string[],
  placeFor: (given: {
    readonly json: boolean;
    /** Flags of every command that have a value. */
    readonly named: Readonly<Partial<Record<string, string>>>;
  }) => Place,
) => Promise<number>;

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
  readonly reach: Reach;
  readonly output: Output;
  /** The command tree, for a server that runs commands of others. */
  readonly runWords: RunWords;
}

export interface ShellOptions {
  readonly configPath: string | undefined;
  readonly url: string | undefined;
  readonly caFile: string | undefined;
  readonly json: boolean;
  readonly runWords: RunWords;
}

export function openShell(options: ShellOptions): Shell {
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
    reach: reachOf(options, { env, cwd }),
    output: createOutput({ json: options.json, noColor: Boolean(env["NO_COLOR"]) }),
    runWords: options.runWords,
  };
}

function reachOf({ url, caFile }: ShellOptions, { env, cwd }: Pick<Shell, "env" | "cwd">): Reach {
  const named = namedBy({ flag: "--url", word: url }, { env, variable: "EVENTDBX_URL" });
  if (named === null) return { kind: "machine" };
  const file = namedBy({ flag: "--ca-file", word: caFile }, { env, variable: "EVENTDBX_CA_FILE" });
  const ca_file = file === null ? null : { ...file, text: resolve(cwd, file.text) };
  return { kind: "url", url: named, ca_file };
}

/** By the flag, else by the variable, of which a blank one counts as absent. */
export function namedBy(
  { flag, word }: { flag: string; word: string | undefined },
  { env, variable }: { env: Shell["env"]; variable: string },
): Named | null {
  if (word !== undefined) return { text: word, place: flag };
  const text = env[variable]?.trim() ?? "";
  return text === "" ? null : { text, place: variable };
}

/** Throws where the caller's stdin and files are not within reach: he is at the other end. */
export function requireFiles({ reach }: Pick<Shell, "reach">, flag: string): void {
  if (reach.kind !== "served") return;
  throw invalidArgument(`${flag} names something on your side, which the server cannot read`, {
    flag,
  });
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
