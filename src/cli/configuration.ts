// The configuration, loaded once: default < file < environment < flag. What comes out is frozen
// and passed by value; nobody below reads the environment or the file again.

import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";
import { Config, surfaces } from "../model/config.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import { didYouMean } from "../model/nearest.ts";
import { readDocument, replaceDocument } from "../storage/documents.ts";
import {
  configKeys,
  fromWord,
  ignoredKeys,
  normalize,
  otherVariables,
  surfacesOf,
  variablesOf,
  type ConfigKey,
} from "./keys.ts";
import { readKeyFile } from "./key-file.ts";
import type { Shell } from "./shell.ts";
import { newConfigText } from "./template.ts";
import { changeToml, lineOf, lookUp, readToml, type Change, type TomlValue } from "./toml.ts";

/** Values of flags by configuration key: `{ "api.rest": true }`. */
export type Given = Readonly<Record<string, TomlValue>>;

export interface Configuration {
  readonly path: string;
  readonly config: Config;
  /** Sentences for people: unknown keys and the like. */
  readonly warnings: readonly string[];
  /** Where each key that is not at its default comes from. */
  readonly origins: ReadonlyMap<string, Origin>;
}

type Origin = "file" | "environment" | "flag" | "key file";

interface Value {
  readonly value: unknown;
  readonly origin: Origin;
  /** How the value is named in a complaint about it: `/…/config.toml, line 3: page_limit`. */
  readonly place: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export async function loadConfiguration(
  shell: Pick<Shell, "env" | "cwd" | "home" | "configPath">,
  given: Given,
): Promise<Configuration> {
  return assembleFrom({ text: await readText(shell.configPath), shell, given });
}

/**
 * For commands that only have to find a server: `stop` and `status` must work whatever else is
 * wrong with the file or the environment. A fault becomes a warning, unless it may hide which
 * data directory is meant.
 */
export async function locateServer(
  shell: Pick<Shell, "env" | "cwd" | "home" | "configPath">,
): Promise<Configuration> {
  try {
    return await loadConfiguration(shell, {});
  } catch (error) {
    if (!(error instanceof DbxError) || error.code !== "invalid_argument") throw error;
    const file = Bun.file(shell.configPath);
    const text = onlyDataDir((await file.exists()) ? await file.text() : "");
    const own = configKeys.filter(({ name }) => name === "data_dir").flatMap(variablesOf);
    const env = Object.fromEntries(own.map((name) => [name, shell.env[name]]));
    try {
      if (text === null) throw error;
      const located = assembleFrom({ text, shell: { ...shell, env }, given: {} });
      return { ...located, warnings: [`${error.message}; only data_dir is read`] };
    } catch {
      throw error;
    }
  }
}

/** The line that sets data_dir, which the rest of a broken file cannot spoil; null in doubt. */
function onlyDataDir(text: string): string | null {
  const spellings = configKeys.filter(({ name }) => name === "data_dir").flatMap(spellingsOf);
  const found = spellings.map((spelling) => lineOf(text, spelling)).find(Boolean);
  const lines = text.split("\n");
  if (found !== undefined) {
    const line = lines[found - 1] ?? "";
    return line.includes("\ufffd") ? null : line;
  }
  const isNamed = (line: string) => spellings.some((name) => line.split("#")[0]?.includes(name));
  return lines.some(isNamed) ? null : "";
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readDocument(path);
  } catch (cause) {
    if (!(cause instanceof DbxError) || cause.code !== "data_corrupted") throw cause;
    // Somebody's editor wrote it; no data of dbx is damaged.
    throw invalidArgument(cause.message, { file: path }, { cause });
  }
}

function assembleFrom(options: {
  text: string | null;
  shell: Pick<Shell, "env" | "cwd" | "home" | "configPath">;
  given: Given;
}): Configuration {
  const { text, shell, given } = options;
  const { configPath: path } = shell;
  const warnings: string[] = [];
  const values = new Map<string, Value>();
  if (text !== null) fromFile({ text, path, values, warnings });
  fromEnvironment({ env: shell.env, values, warnings });
  for (const key of configKeys) {
    const value = given[key.name];
    if (value === undefined) continue;
    if (isAbsent(key, value)) {
      if (values.get(key.name)?.origin === "file") values.delete(key.name);
      continue;
    }
    const flag = `--${key.name.replaceAll("_", "-")}`;
    values.set(key.name, { value, origin: "flag", place: flag, details: { flag } });
  }
  takeKeyFrom(values, shell, path);
  const config = assemble(values);
  const base = values.get("data_dir")?.origin === "file" ? dirname(path) : shell.cwd;
  config.data_dir = expandHome(config.data_dir, { home: shell.home, base });
  for (const name of ["cert", "key"] as const) {
    const file = config.tls[name];
    if (file === undefined) continue;
    config.tls[name] = expandHome(file, { home: shell.home, base: dirname(path) });
  }
  const origins = new Map([...values].map(([name, { origin }]) => [name, origin]));
  return { path, config: deepFreeze(config), warnings, origins };
}

/**
 * Of the key and the file that holds one, the place decides that is stronger; in the same place
 * nobody could tell which is meant.
 */
function takeKeyFrom(
  values: Map<string, Value>,
  { cwd, home }: Pick<Shell, "cwd" | "home">,
  path: string,
): void {
  const named = values.get("dek_file");
  if (named === undefined || typeof named.value !== "string") return;
  const base = named.origin === "flag" ? cwd : dirname(path);
  const file = expandHome(named.value, { home, base });
  values.set("dek_file", { ...named, value: file });
  const direct = values.get("data_encryption_key");
  if (direct?.origin === named.origin) {
    throw invalidArgument(
      `${named.place} and ${direct.place} both give the data encryption key; keep one of them`,
      named.details,
    );
  }
  const order = ["file", "environment", "flag"];
  if (direct !== undefined && order.indexOf(direct.origin) > order.indexOf(named.origin)) return;
  const key = { value: readKeyFile(file, named.place), details: { ...named.details, file } };
  values.set("data_encryption_key", { ...key, origin: "key file", place: file });
}

/** A blank secret counts as absent: that is how older files leave it out; and so do the tools. */
const isAbsent = (key: ConfigKey, value: unknown): boolean =>
  (key.secret || key.name === "dek_file") && typeof value === "string" && value.trim() === "";

function fromFile(options: {
  text: string;
  path: string;
  values: Map<string, Value>;
  warnings: string[];
}): void {
  const { text, path, values, warnings } = options;
  const table = readToml(text, path);
  const put = (key: ConfigKey, value: unknown, spelling: string) => {
    const line = lineOf(text, spelling);
    const place = `${path}${line === undefined ? "" : `, line ${line}`}: ${spelling}`;
    const details = { file: path, key: spelling, ...(line === undefined ? {} : { line }) };
    values.set(key.name, { value, origin: "file", place, details });
  };
  const known = new Set<string>(ignoredKeys);
  for (const spelling of ["api_mode", "api"]) {
    const word = table[spelling];
    if (typeof word !== "string") continue;
    known.add(spelling);
    for (const [surface, on] of Object.entries(surfacesFrom(word, { spelling, text, path }))) {
      const key = configKeys.find(({ name }) => name === `api.${surface}`);
      if (key !== undefined) put(key, on, spelling);
    }
  }
  // The predecessor's switch for gRPC, from before there was an [api] table.
  known.add("grpc.enabled");
  const grpc = configKeys.find(({ name }) => name === "api.grpc");
  if (lookUp(table, "grpc.enabled") === true && grpc !== undefined) put(grpc, true, "grpc.enabled");
  for (const key of configKeys) {
    for (const spelling of spellingsOf(key)) {
      known.add(spelling);
      const value = lookUp(table, spelling);
      if (value !== undefined && !isAbsent(key, value)) put(key, value, spelling);
    }
  }
  warnings.push(...unknownKeys(table, { known, text, path }));
}

/** The canonical name last, so that it wins where a file has both. */
const spellingsOf = (key: ConfigKey): string[] => [
  ...(key.name.startsWith("api.") ? [key.name.replace(/^api\./, "api_mode.")] : []),
  ...key.aliases,
  key.name,
];

function surfacesFrom(
  word: string,
  { spelling, text, path }: { spelling: string; text: string; path: string },
): Record<string, boolean> {
  const chosen = surfacesOf(word);
  if (chosen !== undefined) return chosen;
  const line = lineOf(text, spelling);
  throw invalidArgument(
    `${path}${line === undefined ? "" : `, line ${line}`}: invalid api value '${word}'`,
    { file: path, key: spelling, ...(line === undefined ? {} : { line }) },
  );
}

function unknownKeys(
  table: Readonly<Record<string, unknown>>,
  { known, text, path }: { known: ReadonlySet<string>; text: string; path: string },
): string[] {
  const tables = new Set([...known].map((name) => name.split(".")[0] ?? ""));
  return Object.entries(table).flatMap(([name, value]) => {
    if (known.has(name)) return [];
    const nested = typeof value === "object" && value !== null && !Array.isArray(value);
    const names =
      nested && tables.has(name) ? Object.keys(value).map((key) => `${name}.${key}`) : [name];
    return names
      .filter((full) => !known.has(full))
      .map((full) => {
        const line = lineOf(text, full);
        const place = `${path}${line === undefined ? "" : `, line ${line}`}`;
        return `${place}: unknown key ${full}${didYouMean(full, [...known, ...tables])}`;
      });
  });
}

function fromEnvironment(options: {
  env: Shell["env"];
  values: Map<string, Value>;
  warnings: string[];
}): void {
  const { env, values, warnings } = options;
  const known = new Set([...otherVariables, "EVENTDBX_API"]);
  const word = env["EVENTDBX_API"]?.trim();
  if (word !== undefined && word !== "") {
    const chosen = surfacesOf(word);
    if (chosen === undefined) {
      throw invalidArgument(`EVENTDBX_API: invalid api value '${word}'`, { key: "EVENTDBX_API" });
    }
    for (const surface of surfaces) {
      const place = "EVENTDBX_API";
      const details = { key: place };
      values.set(`api.${surface}`, {
        value: chosen[surface],
        origin: "environment",
        place,
        details,
      });
    }
  }
  for (const key of configKeys) {
    for (const variable of variablesOf(key).reverse()) {
      known.add(variable);
      const text = env[variable];
      // Blank counts as absent: that is how many tools unset a variable.
      if (text === undefined || text.trim() === "") continue;
      const value = fromWord(key, text);
      const details = { key: variable };
      values.set(key.name, { value, origin: "environment", place: variable, details });
    }
  }
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith("EVENTDBX_") || known.has(variable)) continue;
    warnings.push(`environment: unknown variable ${variable}${didYouMean(variable, [...known])}`);
  }
}

/** Checks each value on its own, so that the complaint can say where it came from. */
function assemble(values: ReadonlyMap<string, Value>): Config {
  const tables: Record<string, Record<string, unknown>> = {};
  const config: Record<string, unknown> = tables;
  for (const [name, schema] of Object.entries(Config.properties)) {
    if ("properties" in schema) tables[name] = {};
  }
  for (const key of configKeys) {
    const found = values.get(key.name);
    const fallback: unknown = key.schema["default"];
    if (found === undefined && fallback === undefined) continue;
    const value = found === undefined ? fallback : checked(key, found);
    const [table = "", member] = key.name.split(".");
    if (member === undefined) config[table] = value;
    else tables[table] = { ...tables[table], [member]: value };
  }
  return decode(Config, config);
}

function checked(key: ConfigKey, found: Value): unknown {
  try {
    return decode(key.schema satisfies TSchema, normalize(key, found.value));
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    // `decode` names the value "the input", or a member of it; here its place is known better.
    const problem = error.message.replace(/^the input /, "");
    throw invalidArgument(`${found.place} ${problem}`, found.details, { cause: error });
  }
}

function expandHome(path: string, { home, base }: { home: string; base: string }): string {
  if (path === "~") return home;
  return /^~[\\/]/.test(path) ? resolve(home, path.slice(2)) : resolve(base, path);
}

function deepFreeze(config: Config): Config {
  for (const value of Object.values(config)) {
    if (typeof value === "object") Object.freeze(value);
  }
  return Object.freeze(config);
}

/**
 * Keeps values in the file, which is made with its comments where there is none. Nothing else in
 * it changes. Out: whether anything was written.
 */
export async function keepInFile(path: string, given: Given): Promise<boolean> {
  if (Object.keys(given).length === 0) return false;
  const old = await readDocument(path);
  const text = changeToml(old ?? newConfigText(), changesFor(old, given, path), path);
  if (text === old) return false;
  await keepText(path, text);
  return true;
}

export async function keepText(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceDocument(path, text, { mode: 0o600 });
}

/** Whether the file itself sets a key, whatever is stronger. */
export async function isInFile(path: string, name: string): Promise<boolean> {
  const text = await readText(path);
  const values = new Map<string, Value>();
  if (text !== null) fromFile({ text, path, values, warnings: [] });
  return values.has(name);
}

function changesFor(old: string | null, given: Given, path: string): Change[] {
  const values = { ...givenWithSurfaces(old, given, path) };
  return configKeys.flatMap((key) => {
    const value = values[key.name];
    if (value === undefined) return [];
    return [
      { key: key.name, aliases: spellingsOf(key).filter((name) => name !== key.name), value },
    ];
  });
}

/** A file with `api = "rest"` cannot take one surface alone: all three are written then. */
function givenWithSurfaces(old: string | null, given: Given, path: string): Given {
  const changesOne = surfaces.some((surface) => `api.${surface}` in given);
  const table = old === null ? {} : readToml(old, path);
  const word = [table["api"], table["api_mode"]].find((value) => typeof value === "string");
  if (!changesOne || typeof word !== "string") return given;
  const chosen = surfacesFrom(word, { spelling: "api", text: old ?? "", path });
  const written = Object.entries(chosen).map(([surface, on]) => [`api.${surface}`, on]);
  return { ...Object.fromEntries(written), ...given };
}
