/**
 * Writes src/wire/generated from the schemas in capnp/, with capnp-es and the tool `capnp` (Debian:
 * package capnproto). What it writes is committed, so that neither is needed to build dbx; a test
 * compares where the tool is installed. Run by `bun scripts/capnp.ts`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./root.ts";

/** Schemas that dbx reads and writes messages of. */
export const schemas = ["control", "peer", "plugin", "replication"] as const;

export const generatedPath = (name: string): string => `src/wire/generated/${name}.ts`;

/** The generated file as it is committed. */
export async function generate(name: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "dbx-capnp-"));
  try {
    const compiler = join(root, "node_modules/capnp-es/dist/compiler/capnpc-js.mjs");
    const options = ["--src-prefix=capnp", `-ots:${folder}`, `capnp/${name}.capnp`];
    await run([compiler, ...options]);
    const made = readFileSync(join(folder, `${name}.ts`), "utf8");
    return await run(["fmt", `--stdin-filepath=${generatedPath(name)}`], adapted(name, made));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the compiler's strictest options ask for, and nothing that nobody imports. */
const adapted = (name: string, made: string): string =>
  made
    .replace(
      /^.*\n/,
      `// Made from capnp/${name}.capnp by scripts/capnp.ts; change that file instead.\n\n`,
    )
    .replaceAll(/^export const _capnpFileId = .*\n/gm, "")
    .replaceAll(/^ {2}static readonly _capnp = /gm, "  static override readonly _capnp = ")
    .replaceAll(/^ {2}toString\(\): string/gm, "  override toString(): string");

async function run(args: readonly string[], stdin = ""): Promise<string> {
  const child = Bun.spawn([process.execPath, "--no-env-file", ...args], {
    cwd: root,
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`${args.join(" ")} failed:\n${stderr}${stdout}`);
  return stdout;
}

if (import.meta.main) {
  for (const name of schemas) {
    writeFileSync(join(root, generatedPath(name)), await generate(name));
    process.stdout.write(`${generatedPath(name)}\n`);
  }
}
