/** A checkout of the test's own: the real scripts around a tree that the test fills. */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../../scripts/root.ts";

/** Copies the scripts and the pinned manifest into `folder`, then writes `files` over them. */
export function makeCheckout(
  folder: string,
  options: { packages: "none" | "linked"; files: Readonly<Record<string, string>> },
): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ["scripts", "package.json", "bun.lock", "bunfig.toml", "tsconfig.json"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  for (const [name, content] of Object.entries(options.files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  if (options.packages === "linked") {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  }
}

export interface Ran {
  readonly code: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function run(
  argv: readonly string[],
  options: { cwd: string; env?: Record<string, string | undefined>; stdin?: string },
): Promise<Ran> {
  const child = Bun.spawn([...argv], {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdin: new Blob([options.stdin ?? ""]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { code: child.exitCode, signal: child.signalCode, stdout, stderr };
}
