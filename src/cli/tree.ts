// The command tree as plain rows: what completions and the manual are written from, and where
// help takes its flags from. Everything is loaded for it, so only they ask.

import type { TSchema } from "@sinclair/typebox";
import { flagName, type Command, type Group } from "./command.ts";

export interface FlagRow {
  /** As it is written: `--data-dir`. */
  readonly flag: string;
  readonly summary: string;
  readonly required: boolean;
  readonly repeats: boolean;
  /** Null where it takes none. */
  readonly value: ValueRow | null;
  /** The flag that says the opposite, and cannot stand beside it. */
  readonly opposite: string | null;
}

export interface ValueRow {
  /** What help calls it. */
  readonly hint: string;
  /** All that it may be, or all that is worth offering; empty where anything may be said. */
  readonly choices: readonly string[];
  readonly isFile: boolean;
  /** The flag may stand without it. */
  readonly mayLack: boolean;
}

/** A group or a command, with all that may follow it. */
export interface TreeRow {
  /** The words after `dbx`; none for the tree itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly node: Command | Group;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  /** Its own flags, then those of every command. */
  readonly flags: readonly FlagRow[];
  /** Flags that may be given by their place alone, in their order. */
  readonly words: readonly FlagRow[];
}

/** The tree, then everything below it, in the order in which help shows it. */
export async function treeRows(tree: Group): Promise<readonly TreeRow[]> {
  const [root, ...others] = await rowsBelow(tree, []);
  if (root === undefined) return [];
  const flags = [...root.flags, versionFlag];
  return [{ ...root, commands: [...root.commands, ...rootWords], flags }, ...others];
}

/** Words that the tree answers itself. */
const rootWords: TreeRow["commands"] = [
  { name: "help", summary: "Say what a command does and takes." },
  { name: "version", summary: "Print the version." },
];

async function rowsBelow(node: Command | Group, path: readonly string[]): Promise<TreeRow[]> {
  const { summary } = node;
  if (node.kind === "command") {
    const flags = [...flagsOf(node), ...everywhere(node)];
    return [{ path, summary, node, commands: [], flags, words: wordsOf(node) }];
  }
  const below: TreeRow[][] = [];
  const commands: { name: string; summary: string }[] = [];
  for (const [name, load] of Object.entries(node.commands)) {
    const child = await load();
    commands.push({ name, summary: child.summary });
    below.push(await rowsBelow(child, [...path, name]));
  }
  const bare = await node.bare?.();
  const given = bare === undefined ? [] : flagsOf(bare);
  const own = given.some(({ flag }) => flag === jsonFlag.flag) ? given : [...given, jsonFlag];
  const flags = [...own, ...everywhere(node)];
  const isCommand = bare !== undefined && node.lookUpTakesFlags === true;
  const row = isCommand ? { node: bare, words: wordsOf(bare) } : { node, words: [] };
  return [{ path, summary, commands, flags, ...row }, ...below.flat()];
}

/** Flags that may be given by their place, in that order. */
function wordsOf(node: Command): FlagRow[] {
  const own = flagsOf(node);
  return node.words.flatMap((word) => own.filter(({ flag }) => flag === `--${flagName(word)}`));
}

/** Flags of a command that are not hidden, in the order of their definition. */
export function flagsOf({ flags }: Command): FlagRow[] {
  const required = flags.required ?? [];
  return Object.entries(flags.properties).flatMap(([name, schema]: [string, TSchema]) => {
    if (schema["hidden"] === true) return [];
    const flag = `--${flagName(name)}`;
    const summary = String(schema["description"] ?? "");
    const isNegatable = schema["negatable"] === true;
    const opposite = isNegatable ? `--no-${flagName(name)}` : null;
    const row: FlagRow = {
      ...{ flag, summary, opposite },
      required: required.includes(name),
      repeats: schema["type"] === "array",
      value: schema["type"] === "boolean" ? null : valueOf(schema),
    };
    if (opposite === null) return [row];
    return [row, { ...row, flag: opposite, summary: `Not: ${summary}`, opposite: flag }];
  });
}

function valueOf(schema: TSchema): ValueRow {
  const hint = String(schema["hint"] ?? (schema["type"] === "integer" ? "n" : "text"));
  return {
    hint,
    choices: choicesOf(schema),
    isFile: fileHints.includes(hint),
    mayLack: "valueWhenBare" in schema,
  };
}

/** Hints of values that name something in the caller's file system. */
const fileHints: readonly string[] = ["path", "path|-", "path|url", "file", "directory", "backup"];

/** Those that the schema allows, or that it says are worth offering. */
function choicesOf(schema: TSchema): readonly string[] {
  const said: unknown = schema["choices"];
  if (Array.isArray(said)) return said.map(String);
  const items: TSchema | undefined = schema["items"];
  const union: unknown = schema["anyOf"] ?? items?.["anyOf"];
  if (!Array.isArray(union)) return [];
  return union.flatMap((one: TSchema) => ("const" in one ? [String(one["const"])] : []));
}

const valued = (flag: string, hint: string, summary: string): FlagRow => ({
  ...{ flag, summary, required: false, repeats: false, opposite: null },
  value: { hint, choices: [], isFile: fileHints.includes(hint), mayLack: false },
});
const plain = (flag: string, summary: string): FlagRow => ({
  ...{ flag, summary, required: false, repeats: false, value: null, opposite: null },
});

/** Flags that a command takes without having them in its own list. */
export function everywhere(node: Command | Group): readonly FlagRow[] {
  return [...common, ...(node.kind === "command" && node.needs === "machine" ? [] : ofReach)];
}

const common: readonly FlagRow[] = [
  valued("--config", "path", "Configuration file; ~/.eventdbx/config.toml when missing."),
  plain("--help", "Show this."),
];
const ofReach: readonly FlagRow[] = [
  valued(
    "--url",
    "url",
    "Ask the server there instead of this machine's; EVENTDBX_URL does the same.",
  ),
  valued(
    "--ca-file",
    "path",
    "Certificates (PEM) to trust there, too; EVENTDBX_CA_FILE does the same.",
  ),
];
export const jsonFlag = plain("--json", "Print JSON; before or after the command.");
export const versionFlag = plain("--version", "Print the version.");
