/**
 * Rules about how files hang together: who may import whom, where a package has its home, cycles,
 * files and exports nobody reaches. Pure functions over texts, so that each can be shown a culprit.
 */
import { posix } from "node:path";
import { importsOf, withoutComments, workersOf } from "../../scripts/sources.ts";

export interface SourceFile {
  /** Relative to the checkout, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** Keys are folders of src; values are folders or files of src that they may import. */
export type ImportTable = Readonly<Record<string, readonly string[]>>;

const inside = (path: string, place: string) => path === place || path.startsWith(`${place}/`);
const folderOf = (path: string) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : path);

/** Local imports of a file, as paths relative to the checkout. */
function localImports({ path, text }: SourceFile): string[] {
  const names = [...importsOf(text), ...workersOf(text)].filter((name) => name.startsWith("."));
  return [...new Set(names.map((name) => posix.join(posix.dirname(path), name)))];
}

/** Every import between folders of src must be in the table; a folder without a row is a fault. */
export function checkImportTable(files: readonly SourceFile[], table: ImportTable): string[] {
  const faults: string[] = [];
  for (const file of files) {
    const from = file.path.slice("src/".length);
    const own = folderOf(from);
    const allowed = table[own];
    if (allowed === undefined) faults.push(`${file.path}: ${own} has no row in the import table`);
    for (const target of localImports(file)) {
      // What is embedded from outside of src: the version, and the contracts.
      if (target === "package.json" || target.startsWith("proto/")) continue;
      const to = target.startsWith("src/") ? target.slice("src/".length) : undefined;
      const fine =
        to !== undefined &&
        (folderOf(to) === own || allowed?.some((place) => inside(to, place)) === true);
      if (!fine) faults.push(`${file.path}: may not import ${target}`);
    }
  }
  return faults;
}

/** Values of these modules may be imported only from the listed places; their types from all. */
export function checkTypeOnly(
  files: readonly SourceFile[],
  options: { module: string; values_from: readonly string[] },
): string[] {
  return files.flatMap(({ path, text }) => {
    if (path === options.module || options.values_from.some((place) => inside(path, place))) {
      return [];
    }
    return loadedImports({ path, text }).includes(options.module)
      ? [`${path}: only types of ${options.module}`]
      : [];
  });
}

/** A package is imported under one roof only, so that replacing it touches one place. */
export function checkHomes(
  files: readonly SourceFile[],
  homes: Readonly<Record<string, readonly string[]>>,
): string[] {
  const faults: string[] = [];
  for (const { path, text } of files) {
    for (const name of importsOf(text)) {
      if (name.startsWith(".")) continue;
      const home = homes[packageOf(name)];
      if (home === undefined) faults.push(`${path}: ${name} has no home`);
      else if (!home.some((place) => inside(path, `src/${place}`))) {
        faults.push(`${path}: ${name} may be imported only in ${home.join(", ")}`);
      }
    }
  }
  return faults;
}

/** `@scope/name/deep` is `@scope/name`; `node:fs/promises` is `node:fs`. */
export function packageOf(name: string): string {
  return name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");
}

const typeImport = /^[ \t]*(?:import|export)\s+type\b[^;]*;/gm;

/** What is loaded when a file is loaded: `import type` is erased. */
function loadedImports({ path, text }: SourceFile): string[] {
  return localImports({ path, text: withoutComments(text).replaceAll(typeImport, "") });
}

/** Import cycles, each once, as the chain of files. Two types may know each other; code may not. */
export function findCycles(files: readonly SourceFile[]): string[] {
  const imports = new Map(files.map((file) => [file.path, loadedImports(file)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].join(" -> "));
    if (start >= 0 || done.has(path)) return;
    for (const next of imports.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
  return cycles;
}

export function findDeadFiles(files: readonly SourceFile[], entry: string): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  if (!byPath.has(entry)) return [`${entry} does not exist`];
  const reached = new Set<string>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    waiting.push(...localImports(file));
  }
  return files
    .filter(({ path }) => !reached.has(path))
    .map(({ path }) => `${path}: nothing that starts at ${entry} imports it`);
}

/**
 * Exports of `files` that neither another one of them nor any of `users` imports. A type counts as
 * used when its own file mentions it elsewhere: then it is part of something that is exported.
 */
export function findUnusedExports(
  files: readonly SourceFile[],
  users: readonly SourceFile[],
): string[] {
  const used = new Set<string>();
  for (const { path, text } of [...files, ...users]) {
    for (const { module, name } of namedImports(text)) {
      used.add(`${posix.join(posix.dirname(path), module)} ${name}`);
    }
  }
  return files.flatMap(({ path, text }) =>
    exportsOf(text)
      .filter(({ name }) => !used.has(`${path} ${name}`) && !used.has(`${path} *`))
      .filter(({ name, isType }) => !isType || mentions(text, name) < 2)
      .map(({ name }) => `${path}: nobody imports ${name}`),
  );
}

function mentions(text: string, name: string): number {
  return withoutComments(text).match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
}

function exportsOf(text: string): { name: string; isType: boolean }[] {
  const code = withoutComments(text);
  const declared =
    /^export (?:declare )?(?:abstract )?(?:async )?(const|let|function\*?|class|interface|type|enum) (\w+)/gm;
  const listed = /^export (type )?\{([^}]*)\}/gm;
  return [
    ...[...code.matchAll(declared)].map(([, kind, name]) => ({
      name: name ?? "",
      isType: kind === "interface" || kind === "type",
    })),
    ...[...code.matchAll(listed)].flatMap(([, type, names]) =>
      clauses(names).map(({ local }) => ({ name: local, isType: type !== undefined })),
    ),
  ];
}

function* namedImports(text: string): Generator<{ module: string; name: string }> {
  const code = withoutComments(text);
  const pattern =
    /^[ \t]*(?:import|export)\s+(?:type\s+)?(\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*["']([^"']+)["']/gm;
  for (const [, clause, module] of code.matchAll(pattern)) {
    if (clause === undefined || module === undefined) continue;
    if (clause.startsWith("*")) yield { module, name: "*" };
    else for (const { imported } of clauses(clause.slice(1, -1))) yield { module, name: imported };
  }
  for (const [, module] of code.matchAll(/\bimport\s*\(\s*["']([^"']+)["']/g)) {
    if (module !== undefined) yield { module, name: "*" };
  }
}

/** `a, type B, c as d` as pairs of the name there and the name here. */
function clauses(text: string | undefined): { imported: string; local: string }[] {
  return (text ?? "")
    .split(",")
    .map((part) => part.trim().replace(/^type\s+/, ""))
    .filter((part) => part !== "")
    .map((part) => {
      const [imported = "", local = imported] = part.split(/\s+as\s+/);
      return { imported, local };
    });
}
