// What a command is, and how its words become typed flags. Unknown flags, a flag given twice, one
// without its value and a word too many are usage errors. Annotations beside JSON Schema's own:
// `aliases` (other names), `hint` (the value's name in help), `choices` (what shells offer where
// the schema lists nothing), `valueWhenBare` (the value may be left out), `negatable` (`--no-…`
// too), `member` (what the operation calls it) and `hidden` (not in help).

import { parseArgs } from "node:util";
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import { nearest } from "../model/nearest.ts";
import type { Shell } from "./shell.ts";

/** Flags of every command, each with a value; cli/cli.ts takes them out of the line. */
export const globalFlags = ["config", "url", "ca-file"] as const;

/**
 * What a command cannot do without: the `machine` that the database is on (its processes and
 * configuration), or the caller's own `files`.
 */
export type Needs = "machine" | "files" | null;

export interface Command {
  readonly kind: "command";
  readonly summary: string;
  readonly about: string;
  readonly flags: TObject;
  readonly words: readonly string[];
  readonly examples: readonly string[];
  readonly exits: Readonly<Record<number, string>>;
  readonly needs: Needs;
  /** Decodes the arguments, then runs. Out: the exit code. */
  readonly invoke: (args: readonly string[], shell: Shell) => Promise<number>;
}

export interface Group {
  readonly kind: "group";
  readonly summary: string;
  /** Loaded when asked for, so that one command does not pay for all. */
  readonly commands: Readonly<Record<string, () => Promise<Command | Group>>>;
  /** What is done where no command follows: `dbx queue`. */
  readonly bare?: () => Promise<Command>;
  /** What a word that is no command names when nothing else is said: `dbx schema person`. */
  readonly lookUp?: () => Promise<Command>;
  /** The group is a command as well, with words, flags and help: `dbx upgrade 2.1.0 --force`. */
  readonly lookUpTakesFlags?: boolean;
}

interface CommandOptions<Flags extends TObject> {
  readonly summary: string;
  /** More sentences for `--help`. */
  readonly about?: string;
  readonly flags: Flags;
  /** Flags that may also be given by their place; the last one may be a list. */
  readonly words?: readonly (keyof Static<Flags> & string)[];
  readonly examples: readonly string[];
  readonly exits?: Readonly<Record<number, string>>;
  readonly needs?: Needs;
  readonly run: (flags: Static<Flags>, shell: Shell) => Promise<number | void>;
}

export function command<Flags extends TObject>(options: CommandOptions<Flags>): Command {
  const { summary, about = "", flags, words = [], examples, exits = {}, run } = options;
  const { needs = null } = options;
  return {
    kind: "command",
    summary,
    about,
    flags,
    words,
    examples,
    exits,
    needs,
    invoke: async (args, shell) => {
      try {
        return (await run(decodeFlags(flags, readFlags({ flags, words, args })), shell)) ?? 0;
      } catch (error) {
        throw error instanceof DbxError ? inFlagWords(flags, error) : error;
      }
    },
  };
}

/** `page_limit` as a flag: `page-limit`. */
export const flagName = (name: string): string => name.replaceAll("_", "-");

/** Every spelling of the flags of a schema, and the member each stands for. */
function flagNames(flags: TObject): Map<string, string> {
  const names = new Map<string, string>();
  for (const [name, schema] of Object.entries(flags.properties)) {
    for (const spelling of [name, ...aliasesOf(schema)]) names.set(flagName(spelling), name);
    if (schema["negatable"] === true) names.set(`no-${flagName(name)}`, name);
  }
  return names;
}

const aliasesOf = (schema: TSchema): string[] =>
  Array.isArray(schema["aliases"]) ? schema["aliases"].map(String) : [];

interface Arguments {
  readonly flags: TObject;
  readonly words: readonly string[];
  readonly args: readonly string[];
}

/** The values as they were written, by member; a list where the flag may repeat. */
function readFlags({ flags, words, args }: Arguments): Record<string, unknown> {
  const names = flagNames(flags);
  const { tokens } = parseArgs({
    args: shorten(fillBareValues(flags, names, args), (flag) => {
      const name = flag.startsWith("--") ? names.get(flag.slice(2)) : undefined;
      return name !== undefined && optionType(flags, name) === "string";
    }),
    // Not strict here: its messages do not name the nearest flag and change with the runtime.
    // Every token is checked below instead.
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(
      [...names].map(([spelling, name]) => [spelling, { type: optionType(flags, name) }]),
    ),
  });
  const values: Record<string, unknown> = {};
  const placed: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") placed.push(token.value);
    if (token.kind !== "option") continue;
    const name = names.get(token.name);
    if (name === undefined || !token.rawName.startsWith("--")) {
      const { rawName } = token;
      // Of short ones only the first letter is known here, which is like many a flag.
      const known = rawName.startsWith("--") ? [...names.keys(), ...globalFlags] : [];
      const guess = nearest(token.name, known);
      const asName = words.length === 0 ? "" : "; write -- before a name that begins with a dash";
      const meant = guess === undefined ? asName : `; did you mean --${guess}?`;
      throw invalidArgument(`unknown flag ${rawName}${meant}`, { flag: rawName });
    }
    setFlag(flags, values, { ...token, name });
  }
  placeWords(flags, { values, words, placed });
  return values;
}

const optionType = (flags: TObject, name: string): "boolean" | "string" =>
  flags.properties[name]?.["type"] === "boolean" ? "boolean" : "string";

interface FlagToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function setFlag(flags: TObject, values: Record<string, unknown>, token: FlagToken): void {
  const { name, rawName, value, inlineValue } = token;
  const schema = flags.properties[name];
  const flag = { flag: rawName };
  if (schema?.["type"] === "boolean") {
    if (value !== undefined) throw invalidArgument(`${rawName} takes no value`, flag);
    const wanted = !rawName.startsWith("--no-") || schema["negatable"] !== true;
    if (Object.hasOwn(values, name) && values[name] !== wanted) {
      throw invalidArgument(
        `${rawName} contradicts --${wanted ? "no-" : ""}${flagName(name)}`,
        flag,
      );
    }
    values[name] = wanted;
    return;
  }
  if (value === undefined) throw invalidArgument(`${rawName} needs a value`, flag);
  // A forgotten value would otherwise swallow the next flag. What looks like one can be given
  // with `=`.
  if (inlineValue !== true && /^--./.test(value)) {
    throw invalidArgument(
      `${rawName} needs a value; write ${rawName}=${value} if that is it`,
      flag,
    );
  }
  if (isList(flags, name)) {
    values[name] = listed(values[name], value);
    return;
  }
  if (Object.hasOwn(values, name)) throw invalidArgument(`${rawName} is given twice`, flag);
  values[name] = value;
}

/**
 * Words fill, in order, the places that no flag has filled. Where the last place takes a list, it
 * takes all that are left.
 */
function placeWords(
  flags: TObject,
  options: {
    values: Record<string, unknown>;
    words: readonly string[];
    placed: readonly string[];
  },
): void {
  const { values, words, placed } = options;
  const open = words.filter((name) => !Object.hasOwn(values, name));
  placed.forEach((value, index) => {
    const name = open[Math.min(index, open.length - 1)];
    if (name === undefined || (index >= open.length && !isList(flags, name))) {
      throw invalidArgument(`unexpected argument ${JSON.stringify(value)}`, { argument: value });
    }
    values[name] = isList(flags, name) ? listed(values[name], value) : value;
  });
}

const isList = (flags: TObject, name: string): boolean =>
  flags.properties[name]?.["type"] === "array";

const listed = (list: unknown, value: string): unknown[] =>
  Array.isArray(list) ? [...list, value] : [value];

/** `--restrict` becomes `--restrict=default`, unless a value follows. */
function fillBareValues(
  flags: TObject,
  names: Map<string, string>,
  args: readonly string[],
): string[] {
  return args.map((arg, index) => {
    const name = arg.startsWith("--") ? names.get(arg.slice(2)) : undefined;
    const bare: unknown =
      name === undefined ? undefined : flags.properties[name]?.["valueWhenBare"];
    const next = args[index + 1];
    if (typeof bare !== "string" || (next !== undefined && !next.startsWith("-"))) return arg;
    return `${arg}=${bare}`;
  });
}

/**
 * Short flags, of which there are none, down to their first: `parseArgs` makes a token of each
 * letter of `-abc`, and a server runs words of others that have millions. Values stay whole.
 */
function shorten(args: readonly string[], takesValue: (flag: string) => boolean): string[] {
  let isValue = false;
  let isOver = false;
  return args.map((arg) => {
    if (isOver || isValue) {
      isValue = false;
      return arg;
    }
    isOver = arg === "--";
    isValue = takesValue(arg);
    return /^-[^-]/.test(arg) ? arg.slice(0, 2) : arg;
  });
}

/** Integers become numbers where the schema wants them; the rest is the schema's to judge. */
function decodeFlags<Flags extends TObject>(
  flags: Flags,
  values: Record<string, unknown>,
): Static<Flags> {
  const typed = Object.entries(values).map(([name, value]) => {
    const schema = flags.properties[name];
    return [name, wantsInteger(schema) && isInteger(value) ? Number(value) : value];
  });
  return decode(flags, Object.fromEntries(typed));
}

const isInteger = (value: unknown): boolean =>
  typeof value === "string" && /^-?\d{1,16}$/.test(value);

function wantsInteger(schema: TSchema | undefined): boolean {
  const choices: unknown = schema?.["anyOf"];
  if (Array.isArray(choices)) return choices.some((choice: TSchema) => wantsInteger(choice));
  return schema?.["type"] === "integer";
}

/**
 * `page_limit must be …` as the person wrote it: `--page-limit must be …`; what the gate says of a
 * member of the operation's input likewise.
 */
function inFlagWords(flags: TObject, error: DbxError): DbxError {
  const [, member = ""] = String(error.details["path"] ?? "").split("/");
  const [name] =
    Object.entries(flags.properties).find(
      ([known, schema]) => known === member || schema["member"] === member,
    ) ?? [];
  if (name === undefined || !error.message.startsWith(member)) return error;
  const message = `--${flagName(name)}${error.message.slice(member.length)}`;
  return new DbxError(error.code, message, { flag: `--${flagName(name)}` }, { cause: error });
}
