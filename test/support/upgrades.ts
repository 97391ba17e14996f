/**
 * dbx as somebody has installed it, and releases for it to be upgraded to. What is to be upgraded
 * is the compiled file; what it becomes may be a script of two lines that says its version.
 */
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { hostTarget } from "../../scripts/runtimes.ts";
import { mainFormat } from "../../src/storage/sqlite/migrations.ts";
import { tarOf } from "../plugins/archives.ts";
import { compiledDbx, compiledEnvironment } from "./compiled.ts";
import type { Ran } from "./cli.ts";
import { withChecksums, type Assets } from "./releases.ts";
import { tempDir, type TempDir } from "./temp.ts";

const host = hostTarget();
if (host === undefined) throw new Error("dbx is released for no machine like this one");
export const target = host;
export const { triple } = target;
export const asset = `eventdbx-${triple}.tar.gz`;

/** Of the databases that the present sources make. */
export const dataFormat = mainFormat.migrations.length;

export const scriptSaying = (version: string): string => `#!/bin/sh\necho "dbx ${version}"\n`;

/** A release as ours are: archive, checksums, installers, manifest. */
export function releaseOf(options: {
  readonly version: string;
  readonly program: string | Uint8Array;
  readonly data_format?: number;
}): Assets {
  const { version, program, data_format = dataFormat } = options;
  const top = `eventdbx-${triple}`;
  const tar = tarOf([
    { name: `${top}/`, kind: "5", mode: 0o755 },
    { name: `${top}/LICENSE`, content: "MIT" },
    { name: `${top}/dbx`, content: program, mode: 0o755 },
  ]);
  const archive = gzipSync(tar, { level: 1 });
  const sha256 = new Bun.CryptoHasher("sha256").update(archive).digest("hex");
  const artifacts = [{ name: asset, target: triple, sha256, bytes: archive.length }];
  const manifest = { version, tag: `v${version}`, commit: "0", data_format, artifacts };
  return {
    ...withChecksums({ [asset]: archive }),
    "eventdbx-installer.sh": "#!/bin/sh\n",
    "dist-manifest.json": JSON.stringify({ format: 1, ...manifest }),
  };
}

/** The compiled file of another version, as a release's program. */
export const compiledProgram = async (version: string): Promise<Uint8Array> =>
  readFileSync(await compiledDbx(version));

export interface Installation extends Disposable {
  readonly home: string;
  readonly bin: string;
  /** The installed executable. */
  readonly path: string;
  readonly run: (args: readonly string[], options?: RunOptions) => Promise<Ran>;
  readonly spawn: (
    args: readonly string[],
    options?: RunOptions,
  ) => Bun.Subprocess<"ignore", "pipe", "pipe">;
}

interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of the executable alone: a link to it, or a program before it. */
  readonly command?: readonly string[];
}

/** In a home of its own; `parent` is where that is made. */
export async function installed(parent?: string): Promise<Installation> {
  const dir: TempDir = tempDir(parent);
  const home = dir.path;
  const bin = join(home, "bin");
  const path = join(bin, "dbx");
  mkdirSync(bin);
  copyFileSync(await compiledDbx(), path);
  const spawn: Installation["spawn"] = (args, { env = {}, command = [path] } = {}) =>
    Bun.spawn([...command, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ...compiledEnvironment(home), ...env },
      cwd: home,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  return {
    ...{ home, bin, path, spawn },
    run: async (args, options) => {
      const child = spawn(args, options);
      const [stdout, stderr, code] = await Promise.all([
        child.stdout.text(),
        child.stderr.text(),
        child.exited,
      ]);
      return { stdout, stderr, code };
    },
    [Symbol.dispose]: dir[Symbol.dispose],
  };
}
