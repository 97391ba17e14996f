/**
 * Compiles dbx into one file: for the machine it runs on, or for any platform of
 * scripts/targets.ts. The file never reads the .env, bunfig.toml, tsconfig.json or package.json of
 * the folder it is started in: a database must not run what happens to lie there.
 * Run: scripts/build [--all | --target NAME…]
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { gatherLicenses } from "../src/cli/licenses.ts";
import { root } from "./root.ts";
import { hostTarget, runtimeOf } from "./runtimes.ts";
import { workerEntries } from "./sources.ts";
import { targetOf, targets, type Target } from "./targets.ts";
import { brandedRuntime } from "./windows.ts";

const flags = [
  "--minify",
  // Twice as fast to the first word as without, for 13 MB more.
  "--bytecode",
  // Bytecode alone means CommonJS, in which a top-level await does not build.
  "--format=esm",
  "--splitting",
  // Else the folder of this checkout is in the file, from grpc-js, which looks there for what dbx
  // never asks it for: the bytes would depend on where they were made.
  "--define",
  '__dirname="/"',
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

interface CompileOptions {
  readonly outfile: string;
  readonly entry?: string;
  /** Without one, for this machine, with the very Bun that runs this. */
  readonly target?: Target;
  /** Instead of the one in package.json. */
  readonly version?: string;
}

/** Built beside its place and moved there, so that nobody ever starts half a file. */
export async function compile(options: CompileOptions): Promise<Built> {
  const { outfile, entry, target } = options;
  const started = performance.now();
  const folder = join(root, "dist", `build-${process.pid}-${Bun.randomUUIDv7()}`);
  mkdirSync(folder, { recursive: true });
  try {
    // The name inside stays the same: it is part of the bytes, and builds should be reproducible.
    const made = join(folder, target?.executable ?? "dbx");
    const entries = [entry ?? "src/main.ts", ...workerEntries(root)];
    const platform = target === undefined ? [] : await platformFlags(target);
    const defines = await definitions(options);
    await bunBuild([...flags, ...platform, ...defines, ...entries, "--outfile", made]);
    mkdirSync(dirname(outfile), { recursive: true });
    renameSync(made, outfile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { file: outfile, bytes: statSync(outfile).size, ms: performance.now() - started };
}

async function platformFlags({ bun, executable }: Target): Promise<string[]> {
  const runtime = await runtimeOf({ bun });
  const windows = executable === "dbx.exe";
  const base = windows ? [`--compile-executable-path=${brandedRuntime(runtime)}`] : [];
  return [`--target=${bun}`, ...base];
}

/** What the file knows of itself. Licenses are deflated, because an argument has its limit. */
async function definitions({ target, version }: CompileOptions): Promise<string[]> {
  const licenses = Buffer.from(JSON.stringify(gatherLicenses(root)));
  const values = {
    BUILD_COMMIT: await commitHash(),
    BUILD_TARGET: (target ?? hostTarget())?.triple ?? "",
    BUILD_LICENSES: Bun.deflateSync(licenses, { level: 9 }).toBase64(),
    ...(version === undefined ? {} : { BUILD_VERSION: version }),
  };
  return Object.entries(values).flatMap(([name, value]) => [
    "--define",
    `${name}=${JSON.stringify(value)}`,
  ]);
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
export async function commitHash(): Promise<string> {
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

/** The executable of a target in a folder that has one folder for each. */
export const executableIn = (folder: string, { triple, executable }: Target): string =>
  join(folder, triple, executable);

/**
 * Compiles for a platform, and proves that older processors need no file of their own: Bun's
 * baseline must give the same bytes.
 */
export async function buildTarget(target: Target, folder: string): Promise<Built> {
  const built = await compile({ outfile: executableIn(folder, target), target });
  const { baseline } = target;
  if (baseline === undefined) return built;
  const outfile = join(folder, `${target.triple}-baseline`, target.executable);
  try {
    await compile({ outfile, target: { ...target, bun: baseline } });
    if (sha256(outfile) !== sha256(built.file)) {
      throw new Error(
        `${baseline} differs from ${target.bun} now: older processors need a target of their own`,
      );
    }
  } finally {
    rmSync(dirname(outfile), { recursive: true, force: true });
  }
  return built;
}

export const sha256 = (path: string): string =>
  createHash("sha256").update(readFileSync(path)).digest("hex");

function say({ file, bytes, ms }: Built, more = ""): void {
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  process.stdout.write(`${file}  ${size}, built in ${(ms / 1000).toFixed(1)} s${more}\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      all: { type: "boolean", default: false },
      target: { type: "string", multiple: true, default: [] },
    },
  });
  const chosen = values.all ? targets : values.target.map(targetOf);
  if (chosen.length === 0) say(await compile({ outfile: join(root, "dist", "dbx") }));
  for (const target of chosen) {
    const built = await buildTarget(target, join(root, "dist", "targets"));
    say(built, target.baseline === undefined ? "" : ", the same bytes as its baseline");
  }
}

if (import.meta.main) await main();
