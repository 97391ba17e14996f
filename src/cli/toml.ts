// TOML text: read with line and column in every complaint, and changed line by line, so that
// comments, order and unknown keys survive. The home of smol-toml.

import { parse as parseToml, stringify, TomlError } from "smol-toml";
import { failedPrecondition, invalidArgument } from "../model/error.ts";

export type TomlTable = { [key: string]: unknown };

/** `file` is for the message. Throws `invalid_argument` with line and column. */
export function readToml(text: string, file: string): TomlTable {
  try {
    return parseToml(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const { line, column } = cause;
    const problem = cause.message.split("\n")[0]?.replace(/^Invalid TOML document: /, "") ?? "";
    throw invalidArgument(
      `${file}, line ${line}, column ${column}: ${problem}`,
      { file, line, column },
      { cause },
    );
  }
}

export const writeToml = (table: TomlTable): string => stringify(table).trimEnd();

export type TomlValue = string | number | boolean | readonly string[];

export interface Change {
  /** `page_limit` or `api.rest`. */
  readonly key: string;
  /** Older spellings; the one that the file uses stays. */
  readonly aliases: readonly string[];
  readonly value: TomlValue;
}

/** The number of the line (from 1) that sets a key, or undefined. */
export function lineOf(text: string, key: string): number | undefined {
  const found = entriesOf(text).findLast(({ path }) => path === key || key.startsWith(`${path}.`));
  return found === undefined ? undefined : found.index + 1;
}

/**
 * The text with these keys set and nothing else changed: the result is parsed again to prove it.
 * Throws `failed_precondition` for a file that is written in a way dbx cannot change safely.
 */
export function changeToml(text: string, changes: readonly Change[], file: string): string {
  let changed = text;
  const expected = structuredClone(readToml(text, file));
  for (const change of changes) {
    const key = [change.key, ...change.aliases].find((spelling) => has(expected, spelling));
    changed = setKey(changed, { key: key ?? change.key, value: change.value }, expected);
    assign(expected, key ?? change.key, change.value);
  }
  const keys = changes.map(({ key }) => key);
  requireEqual(changed, expected, { file, keys });
  return changed;
}

/**
 * The text without the table of this name, and nothing else changed, comments included; as
 * `changeToml`.
 */
export function removeToml(text: string, key: string, file: string): string {
  const expected = structuredClone(readToml(text, file));
  const parent = lookUp(expected, parentOf(key));
  if (!isTable(parent) || !Object.hasOwn(parent, lastPart(key))) return text;
  delete parent[lastPart(key)];
  const lines = text.split("\n");
  const isOwn = (path: string) => path === key || path.startsWith(`${key}.`);
  const gone = new Set(entriesOf(text).flatMap(({ path, index }) => (isOwn(path) ? [index] : [])));
  for (const [index, line] of linesOf(text).entries()) {
    if (!isOwn(unquote(header.exec(line)?.[1] ?? ""))) continue;
    gone.add(index);
    // One of the blank lines that were around it.
    if ((lines[index - 1] ?? "-").trim() === "") gone.add(index - 1);
  }
  const changed = lines.filter((_, index) => !gone.has(index)).join("\n");
  // A table that only headings of tables below it have made is gone with the last of them.
  const without = structuredClone(expected);
  removeEmpty(without, parentOf(key));
  const wanted = provesEqual(changed, without, file) ? without : expected;
  requireEqual(changed, wanted, { file, keys: [key] });
  return changed;
}

function removeEmpty(table: TomlTable, key: string): void {
  const empty = lookUp(table, key);
  const parent = key.includes(".") ? lookUp(table, parentOf(key)) : table;
  if (isTable(empty) && Object.keys(empty).length === 0 && isTable(parent)) {
    delete parent[lastPart(key)];
  }
}

function requireEqual(
  changed: string,
  expected: TomlTable,
  { file, keys }: { file: string; keys: readonly string[] },
): void {
  if (provesEqual(changed, expected, file)) return;
  throw failedPrecondition(
    `cannot change ${keys.join(", ")} in ${file} without touching the rest; edit it by hand`,
    { file, keys },
  );
}

function provesEqual(text: string, expected: TomlTable, file: string): boolean {
  try {
    return Bun.deepEquals(readToml(text, file), expected);
  } catch {
    // What does not even parse is no proof; the caller refuses it.
    return false;
  }
}

interface Entry {
  /** Table and key joined by dots. */
  readonly path: string;
  /** Number of the line, from 0. */
  readonly index: number;
  /** Where the value stands in the line. */
  readonly from: number;
  readonly to: number;
}

const header = /^\s*\[\s*([^[\]]+?)\s*\]\s*(?:#.*)?$/;
const assignment = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=\s*/;
/** A value on one line: strings may hold `#`, a comment follows everything else. */
const oneLineValue = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^#"'])*/;

/** The keys of a file, in order. Values that go over several lines are passed over. */
function entriesOf(text: string): Entry[] {
  const entries: Entry[] = [];
  let table = "";
  let closing: string | null = null;
  for (const [index, line] of linesOf(text).entries()) {
    if (closing !== null) {
      if (line.includes(closing)) closing = null;
      continue;
    }
    const name = header.exec(line)?.[1];
    if (name !== undefined) table = unquote(name);
    else if (/^\s*\[\[/.test(line)) table = `[[${index}]]`;
    const match = name === undefined ? assignment.exec(line) : null;
    if (match?.[1] === undefined) continue;
    const path = table === "" ? unquote(match[1]) : `${table}.${unquote(match[1])}`;
    const from = match[0].length;
    const value = line.slice(from);
    const fence = /^("""|''')/.exec(value)?.[1] ?? null;
    if (fence !== null && !value.slice(3).includes(fence)) closing = fence;
    else if (/^\[[^\]]*$/.test(value)) closing = "]";
    const to = from + (oneLineValue.exec(value)?.[0] ?? "").trimEnd().length;
    entries.push({ path, index, from, to });
  }
  return entries;
}

const linesOf = (text: string): string[] => text.split("\n").map((line) => line.replace(/\r$/, ""));

const unquote = (name: string): string =>
  name
    .split(".")
    .map((part) => part.trim().replace(/^(["'])(.*)\1$/, "$2"))
    .join(".");

function setKey(
  text: string,
  { key, value }: { key: string; value: TomlValue },
  table: TomlTable,
): string {
  const entries = entriesOf(text);
  const own = entries.findLast(({ path }) => path === key);
  if (own !== undefined) return replaceValue(text, own, tomlValue(value));
  const parent = parentOf(key);
  const inline = entries.findLast(({ path }) => path === parent);
  if (inline !== undefined) {
    // `api = "all"` or `api = { rest = true }`: the whole value is written anew.
    const old: unknown = table[parent];
    const members = { ...(isTable(old) ? old : {}), [lastPart(key)]: value };
    const list = Object.entries(members).map(([name, inner]) => `${name} = ${tomlValue(inner)}`);
    return replaceValue(text, inline, `{ ${list.join(", ")} }`);
  }
  return insertLine(text, { parent, line: `${lastPart(key)} = ${tomlValue(value)}`, entries });
}

function replaceValue(text: string, entry: Entry, value: string): string {
  const lines = text.split("\n");
  const line = lines[entry.index] ?? "";
  lines[entry.index] = line.slice(0, entry.from) + value + line.slice(entry.to);
  return lines.join("\n");
}

/** After the last key of its table; a table that does not exist yet goes to the end. */
function insertLine(
  text: string,
  { parent, line, entries }: { parent: string; line: string; entries: readonly Entry[] },
): string {
  const newline = text.includes("\r\n") ? "\r\n" : "\n";
  const ending = newline === "\r\n" ? "\r" : "";
  const plain = linesOf(text);
  const isHeader = (one: string) => unquote(header.exec(one)?.[1] ?? "") === parent;
  const headerAt = parent === "" ? -1 : plain.findIndex(isHeader);
  if (parent !== "" && headerAt === -1) {
    const gap = text === "" || text.endsWith("\n") ? "" : newline;
    return `${text}${gap}${text === "" ? "" : newline}[${parent}]${newline}${line}${newline}`;
  }
  const isOwn = ({ path }: Entry) => parentOf(path) === parent;
  const last = entries.findLast(isOwn)?.index ?? headerAt;
  const lines = text.split("\n");
  lines.splice((commentedOut(plain, { headerAt, line }) ?? last) + 1, 0, line + ending);
  return lines.join("\n");
}

/** Where the table shows the key as a comment, as the file that dbx makes does for every key. */
function commentedOut(
  lines: readonly string[],
  { headerAt, line }: { headerAt: number; line: string },
): number | undefined {
  const [key = ""] = line.split(" ");
  for (let index = headerAt + 1; index < lines.length; index++) {
    const text = lines[index] ?? "";
    if (/^\s*\[/.test(text)) return undefined;
    if (new RegExp(`^\\s*#\\s*${RegExp.escape(key)}\\s*=`).test(text)) return index;
  }
  return undefined;
}

const parentOf = (key: string): string => key.split(".").slice(0, -1).join(".");

const lastPart = (key: string): string => key.split(".").at(-1) ?? key;

function tomlValue(value: unknown): string {
  // JSON's escapes are TOML's, but for the delete character, which TOML wants escaped.
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

const isTable = (value: unknown): value is TomlTable =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function has(table: TomlTable, key: string): boolean {
  return lookUp(table, key) !== undefined;
}

/** The value under a dotted key, or undefined. */
export function lookUp(table: TomlTable, key: string): unknown {
  let value: unknown = table;
  for (const part of key.split(".")) {
    value = isTable(value) && Object.hasOwn(value, part) ? value[part] : undefined;
  }
  return value;
}

function assign(table: TomlTable, key: string, value: TomlValue): void {
  const parts = key.split(".");
  let inner = table;
  for (const part of parts.slice(0, -1)) {
    const next = inner[part];
    const kept = isTable(next) ? next : {};
    inner[part] = kept;
    inner = kept;
  }
  inner[lastPart(key)] = value;
}
