// The shell installer as people run it: from a home of its own, with the tools that a test leaves
// it, against releases on loopback.

import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
} from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { withChecksums, type Assets, type Releases } from "./releases.ts";

export const installerPath = join(root, "scripts/eventdbx-installer.sh");
export const installerText = readFileSync(installerPath, "utf8");

const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
/** What the installer must make of the machine that the tests run on. */
export const triple = `${machine}-unknown-linux-gnu`;
export const archiveName = (ending: "tar.gz" | "tar.xz"): string => `eventdbx-${triple}.${ending}`;

/** Without it most of the tests have nothing to load with. */
export const lacking: boolean = Bun.which("curl") === null;

/** Stands for dbx where what it does is of no matter: it says its version. */
export const standIn = (version: string): string => `#!/bin/sh
case \${1:-} in --version) echo 'dbx ${version}' ;; *) exit 3 ;; esac
`;

/** An archive as a release has it, of any executable; `level` as of gzip. */
export function packed(
  folder: string,
  options: { executable: { text: string } | { path: string }; ending: "tar.gz" | "tar.xz" },
): Uint8Array {
  const place = mkdtempSync(join(folder, "pack-"));
  const top = join(place, `eventdbx-${triple}`);
  mkdirSync(top);
  const { executable, ending } = options;
  if ("path" in executable) symlinkSync(executable.path, join(top, "dbx"));
  else writeFileSync(join(top, "dbx"), executable.text);
  if ("text" in executable) chmodSync(join(top, "dbx"), 0o755);
  for (const name of ["LICENSE", "README.md"]) symlinkSync(join(root, name), join(top, name));
  const filter = ending === "tar.gz" ? "gzip -1" : "xz -0";
  const archive = join(place, "archive");
  const argv = ["tar", "-chf", archive, "-I", filter, "-C", place, `eventdbx-${triple}`];
  const { success, stderr } = Bun.spawnSync(argv);
  if (!success) throw new Error(`tar: ${stderr.toString()}`);
  return readFileSync(archive);
}

/** A release of the stand-in for this machine, with its checksums. */
export const releaseOf = (folder: string, version: string): Assets =>
  withChecksums({
    [archiveName("tar.gz")]: packed(folder, {
      executable: { text: standIn(version) },
      ending: "tar.gz",
    }),
  });

/** What the installer uses whatever it finds; whoever downloads, checks and unpacks comes on top. */
const plainTools = [
  ...["cat", "chmod", "cp", "cut", "date", "getconf", "grep", "head", "ldd", "mkdir", "mktemp"],
  ...["mv", "readlink", "rm", "rmdir", "sed", "sync", "tail", "tar", "tr", "uname"],
];

/** A folder for PATH that has these tools besides the plain ones, and no other. */
export function pathWith(folder: string, tools: readonly string[]): string {
  const place = mkdtempSync(join(folder, "path-"));
  for (const tool of [...plainTools, ...tools]) {
    const found = Bun.which(tool);
    if (found === null) throw new Error(`${tool} is not on this machine`);
    symlinkSync(found, join(place, tool));
  }
  return place;
}

export interface Installing {
  readonly home: string;
  readonly releases: Releases;
  readonly args?: readonly string[];
  readonly shell?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Another text of the script, or the part of it that arrived. */
  readonly script?: string;
  /** Piped into the shell instead of read from its file. */
  readonly piped?: boolean;
}

/** How to spawn the installer, for tests that do something to it on its way. */
export function installerCommand(options: Installing) {
  const { home, releases, args = [], shell = ["sh"], env = {}, script, piped = false } = options;
  const path = script === undefined ? installerPath : join(home, "..", "installer.sh");
  if (script !== undefined) writeFileSync(path, script);
  return {
    command: piped ? [...shell, "-s", "--", ...args] : [...shell, path, ...args],
    options: {
      cwd: home,
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: home,
        SHELL: "/bin/bash",
        DBX_RELEASES_URL: releases.url,
        ...env,
      },
      stdin: piped ? Bun.file(path) : ("ignore" as const),
      stdout: "pipe" as const,
      stderr: "pipe" as const,
      timeout: 60_000,
    },
  };
}

export async function install(options: Installing) {
  const { command, options: where } = installerCommand(options);
  const child = Bun.spawn(command, where);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}
