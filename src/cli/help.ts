// What `--help` says. citty lays out usage, flags and sub-commands; examples and exit codes are
// added below.

import { defineCommand, renderUsage, type ArgDef } from "citty";
import { flagName, type Command, type Group } from "./command.ts";
import { everywhere, flagsOf, jsonFlag, versionFlag, type FlagRow } from "./tree.ts";

export async function helpText(node: Command | Group, path: readonly string[]): Promise<string> {
  const name = ["dbx", ...path].join(" ");
  // citty decides about colour when it is loaded, before it knows where the text goes.
  const usage = Bun.stripANSI(await renderUsage(toCitty(node, name)));
  const body = leftAligned(usage.slice(usage.indexOf("\n\nOPTIONS")).trim());
  const words = node.kind === "group" ? "<command>" : wordsOf(node);
  const top = `${node.summary}\n\nUSAGE\n\n  ${[name, words, "[flags]"].filter(Boolean).join(" ")}\n\n`;
  return `${top}${body}${node.kind === "group" ? `\n\n${groupNotes}` : commandNotes(node)}`;
}

/** Words may stand for flags: `<aggregate> <aggregate-id>`. */
function wordsOf({ words, flags }: Command): string {
  const required = flags.required ?? [];
  return words
    .map((word) => (required.includes(word) ? `<${flagName(word)}>` : `[<${flagName(word)}>]`))
    .join(" ");
}

/**
 * citty aligns names to the right and fills lines with blanks; both are hard to read in a long
 * list.
 */
function leftAligned(text: string): string {
  const rows = text
    .split("\n")
    .map((line) => /^ +(\S.*?) {2,}(\S.*?) *$/.exec(line) ?? line.trimEnd());
  const names = rows.flatMap((row) => (typeof row === "string" ? [] : [row[1]?.length ?? 0]));
  const width = Math.max(0, ...names);
  return rows
    .map((row) => (typeof row === "string" ? row : `  ${row[1]?.padEnd(width)}  ${row[2]}`))
    .join("\n");
}

function toCitty(node: Command | Group, name: string) {
  if (node.kind === "command") {
    const args = Object.fromEntries([...flagsOf(node), ...everywhere(node)].map(toArg));
    return defineCommand({ meta: { name, description: node.summary }, args });
  }
  const subCommands = Object.entries(node.commands).map(([word, load]) => [
    word,
    async () => defineCommand({ meta: { name: word, description: (await load()).summary } }),
  ]);
  const ofRoot = name === "dbx" ? [versionFlag] : [];
  return defineCommand({
    meta: { name, description: node.summary },
    args: Object.fromEntries([...everywhere(node), jsonFlag, ...ofRoot].map(toArg)),
    subCommands: Object.fromEntries(subCommands),
  });
}

function toArg({ flag, summary, required, value }: FlagRow): [string, ArgDef] {
  const description = `${summary}${required ? " Required." : ""}`;
  const name = flag.slice(2);
  if (value === null) return [name, { type: "boolean", description }];
  return [name, { type: "string", valueHint: value.hint, description }];
}

const groupNotes = `Guide: dbx start --foreground; then, elsewhere,
  dbx token generate --group admin --user jane --expiration 3600
  dbx aggregate apply person p-002 person-added --field name="Jane Doe"
  dbx aggregate get person p-002`;

export const usualExits: Readonly<Record<number, string>> = {
  0: "success",
  1: "a defect in dbx, or what it did is done but its output could not be written",
  2: "the command or its input does not fit",
  3: "no such aggregate, schema or token",
  4: "refused: a conflict, or not in this state",
  5: "no valid token, or one that may not",
  6: "the event breaks its schema, or is too large",
  7: "not available now: locked, overloaded, stopping or the disk failed",
  8: "stored data does not verify",
};

function commandNotes({ about, examples, exits, words }: Command): string {
  const codes = Object.entries({ ...usualExits, ...exits });
  const byPlace = "Words fill, in this order, the flags that are not given.";
  return [
    ...(words.length === 0 ? [] : ["", byPlace]),
    ...(about === "" ? [] : ["", about]),
    "",
    "EXAMPLES",
    "",
    ...examples.map((example) => `  ${example}`),
    "",
    "EXIT CODES",
    "",
    ...codes.map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`),
  ]
    .map((line) => `\n${line}`)
    .join("");
}
