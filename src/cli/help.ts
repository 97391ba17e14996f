// What `--help` says. citty lays out usage, flags and sub-commands; examples and exit codes are
// added below.

import { defineCommand, renderUsage, type ArgsDef } from "citty";
import type { TSchema } from "@sinclair/typebox";
import { flagName, type Command, type Group } from "./command.ts";

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

const common: ArgsDef = {
  config: {
    type: "string",
    valueHint: "path",
    description: "Configuration file; ~/.eventdbx/config.toml when missing.",
  },
  help: { type: "boolean", description: "Show this." },
};

const ofReach: ArgsDef = {
  url: {
    type: "string",
    valueHint: "url",
    description: "Ask the server there instead of this machine's; EVENTDBX_URL does the same.",
  },
  "ca-file": {
    type: "string",
    valueHint: "path",
    description: "Certificates (PEM) to trust there, too; EVENTDBX_CA_FILE does the same.",
  },
};

const ofGroups: ArgsDef = {
  ...common,
  ...ofReach,
  json: { type: "boolean", description: "Print JSON; before or after the command." },
};
const ofRoot: ArgsDef = {
  ...ofGroups,
  version: { type: "boolean", description: "Print the version." },
};

function toCitty(node: Command | Group, name: string) {
  if (node.kind === "command") {
    const reach = node.needs === "machine" ? {} : ofReach;
    const args = { ...flagsOf(node), ...common, ...reach };
    return defineCommand({ meta: { name, description: node.summary }, args });
  }
  const subCommands = Object.entries(node.commands).map(([word, load]) => [
    word,
    async () => defineCommand({ meta: { name: word, description: (await load()).summary } }),
  ]);
  return defineCommand({
    meta: { name, description: node.summary },
    args: name === "dbx" ? ofRoot : ofGroups,
    subCommands: Object.fromEntries(subCommands),
  });
}

function flagsOf({ flags }: Command): ArgsDef {
  const required = flags.required ?? [];
  const rows = Object.entries(flags.properties).flatMap(([name, schema]: [string, TSchema]) => {
    if (schema["hidden"] === true) return [];
    const need = required.includes(name) ? " Required." : "";
    const description = `${String(schema["description"] ?? "")}${need}`;
    const flag = flagName(name);
    if (schema["type"] !== "boolean") {
      const valueHint = String(schema["hint"] ?? (schema["type"] === "integer" ? "n" : "text"));
      return [[flag, { type: "string", valueHint, description }]];
    }
    const yes = [flag, { type: "boolean", description }];
    const no = [`no-${flag}`, { type: "boolean", description: `Not: ${description}` }];
    return schema["negatable"] === true ? [yes, no] : [yes];
  });
  return Object.fromEntries(rows);
}

const groupNotes = `Guide: dbx start --foreground; then, elsewhere,
  dbx token generate --group admin --user jane --expiration 3600
  dbx aggregate apply person p-002 person-added --field name="Jane Doe"
  dbx aggregate get person p-002`;

const usualExits: Readonly<Record<number, string>> = {
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
