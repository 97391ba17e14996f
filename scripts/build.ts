/**
 * Compiles dbx into one file for the machine it runs on. The file never reads the .env,
 * bunfig.toml, tsconfig.json or package.json of the folder it is started in: a database must not
 * run what happens to lie there.
 */
import { mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "./root.ts";
import { workerEntries } from "./sources.ts";

const flags = [
  "--minify",
  "--bytecode",
  // Bytecode alone means CommonJS, in which a top-level await does not build.
  "--format=esm",
  "--splitting",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
];

export interface Built {
  readonly file: string;
  readonly bytes: number;
  readonly ms: number;
}

/** Built beside its place and moved there, so that nobody ever starts half a file. */
export async function compile(options: {
  outfile: string;
  entry?: string;
  /** Instead of the one in package.json. */
  version?: string;
}): Promise<Built> {
  const started = performance.now();
  const folder = join(root, "dist", `build-${process.pid}-${Bun.randomUUIDv7()}`);
  mkdirSync(folder, { recursive: true });
  try {
    // The name inside stays the same: it is part of the bytes, and builds should be reproducible.
    const made = join(folder, "dbx");
    const entries = [options.entry ?? "src/main.ts", ...workerEntries(root)];
    const commit = `BUILD_COMMIT=${JSON.stringify(await commitHash())}`;
    const { version } = options;
    const told =
      version === undefined ? [] : ["--define", `BUILD_VERSION=${JSON.stringify(version)}`];
    await bunBuild([...flags, "--define", commit, ...told, ...entries, "--outfile", made]);
    mkdirSync(dirname(options.outfile), { recursive: true });
    renameSync(made, options.outfile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const bytes = statSync(options.outfile).size;
  return { file: options.outfile, bytes, ms: performance.now() - started };
}

async function bunBuild(args: readonly string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, "--no-env-file", "build", "--compile", ...args], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`bun build failed:\n${stdout}${stderr}`);
}

/** The commit, with `+` behind it when tracked files differ from it; empty outside a checkout. */
async function commitHash(): Promise<string> {
  if (Bun.which("git") === null) return "";
  const child = Bun.spawn(
    ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
    {
      cwd: root,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    },
  );
  const hash = (await child.stdout.text()).trim();
  return (await child.exited) === 0 ? hash : "";
}

if (import.meta.main) {
  const { file, bytes, ms } = await compile({ outfile: join(root, "dist", "dbx") });
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  process.stdout.write(`${file}  ${size}, built in ${(ms / 1000).toFixed(1)} s\n`);
}
