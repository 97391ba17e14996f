/**
 * What the bundler and the architecture test both need to know about src: which imports a file
 * has, and which files start as workers. Read from the text, because the transpiler's own scan
 * leaves out `import type`, through which types could leak the wrong way.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Comments blanked out, line numbers kept. Strings stay: import paths are strings. */
export function withoutComments(text: string): string {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return text.replaceAll(token, (found) =>
    found.startsWith("/") ? found.replaceAll(/[^\n]/g, " ") : found,
  );
}

/** Every module a text names: `import`, `import type`, `export … from`, and `import()`. */
export function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const patterns = [
    /^[ \t]*(?:import|export)\b[^"'`;()]*?\bfrom\s*["']([^"']+)["']/gm,
    /^[ \t]*import\s*["']([^"']+)["']/gm,
    /\bimport\s*\(\s*["'`]([^"'`]+)["'`]/g,
    /\brequire\s*\(\s*["'`]([^"'`]+)["'`]/g,
  ];
  return patterns.flatMap((pattern) =>
    [...code.matchAll(pattern)].flatMap(([, name]) => name ?? []),
  );
}

/** Modules that a text starts as workers, relative to it. */
export function workersOf(text: string): string[] {
  const code = withoutComments(text);
  const patterns = [
    /new\s+URL\(\s*["'](\.[^"']+\.ts)["']\s*,\s*import\.meta\.url/g,
    /new\s+Worker\(\s*["'](\.[^"']+\.ts)["']/g,
  ];
  return patterns.flatMap((pattern) =>
    [...code.matchAll(pattern)].flatMap(([, name]) => name ?? []),
  );
}

/** All worker entry points under `root`/src, as paths relative to `root`. */
export function workerEntries(root: string): string[] {
  const entries = new Set<string>();
  for (const file of new Bun.Glob("src/**/*.ts").scanSync(root)) {
    for (const worker of workersOf(readFileSync(join(root, file), "utf8"))) {
      entries.add(join(dirname(file), worker));
    }
  }
  return [...entries].sort();
}
