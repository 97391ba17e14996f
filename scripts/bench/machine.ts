// What a figure depends on besides the code: the machine, its software, and the place on its disk
// where the benchmarks keep their directories.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, statfsSync } from "node:fs";
import { arch, availableParallelism, cpus, release, tmpdir, totalmem, type } from "node:os";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { root } from "../root.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly kernel: string;
  readonly file_system: string;
  readonly bun: string;
  readonly sqlite: string;
}

export function describeMachine(directory: string): Machine {
  const database = new Database(":memory:");
  const [row] = database.query<{ version: string }, []>("SELECT sqlite_version() AS version").all();
  database.close();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory_bytes: totalmem(),
    kernel: `${type()} ${release()} ${arch()}`,
    file_system: fileSystemOf(directory),
    bun: Bun.version,
    sqlite: row?.version ?? "unknown",
  };
}

/** A directory of the benchmark's own on a real disk, removed by `using`. */
export function benchDirectory(): Disposable & { readonly path: string } {
  // An fsync to memory costs nothing: such figures would be worthless.
  const parent = isMemory(tmpdir()) ? join(root, "dist") : tmpdir();
  if (isMemory(parent))
    throw new Error(`${parent} is in memory; set TMPDIR to a directory on disk`);
  const path = mkdtempSync(join(parent, "dbx-bench-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const tmpfsMagic = 0x01021994;
const ramfsMagic = 0x858458f6;
const isMemory = (path: string): boolean =>
  existsSync(path) && [tmpfsMagic, ramfsMagic].includes(statfsSync(path).type >>> 0);

/** By the longest mount point that holds it; Linux only. */
function fileSystemOf(directory: string): string {
  if (!existsSync("/proc/mounts")) return "unknown";
  const mounts = readFileSync("/proc/mounts", "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, point = ""]) => `${directory}/`.startsWith(point === "/" ? "/" : `${point}/`))
    .sort(([, left = ""], [, right = ""]) => right.length - left.length);
  return mounts[0]?.[2] ?? "unknown";
}

/** The commit, with `+` behind it where tracked files differ from it. */
export function commitHash(): string {
  const git = Bun.spawnSync(
    ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
    {
      cwd: root,
    },
  );
  return git.success ? git.stdout.toString().trim() : "unknown";
}

/** The most memory a process has had resident so far; null where the system does not tell. */
export function peakMemory(pid: number | "self"): number | null {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return null;
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(path, "utf8"));
  return found === null ? null : Number(found[1]) * 1024;
}

/** The memory a process has resident now; NaN where the system does not tell. */
export function residentMemory(pid: number): number {
  const path = `/proc/${pid}/status`;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? NaN) * 1024;
}

/** Watches how large SQLite's log gets; the returned function ends it. */
export function watchWal(directory: string): () => number {
  const path = join(directory, "dbx.db-wal");
  let most = 0;
  const look = () => {
    most = Math.max(most, statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  };
  const timer = setInterval(look, 20);
  return () => {
    clearInterval(timer);
    look();
    return most;
  };
}
