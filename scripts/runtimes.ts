/**
 * Bun's runtimes for other platforms: the larger part of each executable. Bun gets one from npm's
 * registry when it is first asked for, and keeps it in its cache, where this finds it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./root.ts";
import { targets, type Target } from "./targets.ts";

/** For this machine the one that runs this. Throws where it cannot be had. */
export async function runtimeOf({ bun }: Pick<Target, "bun">): Promise<string> {
  const known = await cachedRuntime({ bun });
  if (known !== null) return known;
  await fetchRuntime(bun);
  const path = await cachedRuntime({ bun });
  if (path === null) throw new Error(`Bun did not keep its runtime for ${bun}`);
  return path;
}

/** Null where it would have to be fetched. */
export async function cachedRuntime({ bun }: Pick<Target, "bun">): Promise<string | null> {
  if (bun === hostTarget()?.bun) return process.execPath;
  // Bun's own word for the processor differs from the one it takes.
  const name = `${bun.replace("-arm64", "-aarch64")}-v${Bun.version}`;
  const path = join(await cacheFolder(), name);
  return existsSync(path) ? path : null;
}

/** The platform of this machine; undefined where dbx is released for none like it. */
export function hostTarget(): Target | undefined {
  // Both C libraries may be installed; what runs this is linked to one.
  const maps = "/proc/self/maps";
  const musl = existsSync(maps) && readFileSync(maps, "utf8").includes("/ld-musl-");
  const system = process.platform === "win32" ? "windows" : process.platform;
  const name = `bun-${system}-${process.arch}${musl ? "-musl" : ""}`;
  return targets.find(({ bun }) => bun === name);
}

async function cacheFolder(): Promise<string> {
  const { stdout } = await bunCommand(["pm", "cache"]);
  return stdout.trim();
}

/** By compiling next to nothing, which is the one thing that makes Bun get it. */
async function fetchRuntime(bun: string): Promise<void> {
  const folder = join(root, "dist", `runtime-${process.pid}-${Bun.randomUUIDv7()}`);
  mkdirSync(folder, { recursive: true });
  try {
    const entry = join(folder, "nothing.ts");
    writeFileSync(entry, "export {};\n");
    await bunCommand(["build", "--compile", `--target=${bun}`, entry, "--outfile", `${entry}.out`]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A slow line gets a runtime of some 40 MB in this time; one that is dead must not hold a test run. */
const fetch_ms_max = 5 * 60_000;

async function bunCommand(args: readonly string[]): Promise<{ stdout: string }> {
  const child = Bun.spawn([process.execPath, "--no-env-file", ...args], {
    ...{ cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    timeout: fetch_ms_max,
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`bun ${args[0]} failed:\n${stdout}${stderr}`);
  return { stdout };
}
