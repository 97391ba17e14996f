// What `--help` says. citty lays out usage, flags and sub-commands; examples and exit codes are added below.

import { defineCommand, renderUsage, type ArgsDef } from "citty";
import type { TSchema } from "@sinclair/typebox";
import { flagName, type Command, type Group } from "./command.ts";

export async function helpText(node: Command | Group, path: readonly string[]): Promise<string> {
  const name = ["dbx", ...path].join(" ");
  // citty decides about colour when it is loaded, before it knows where the text goes.
  const usage = Bun.stripANSI(await renderUsage(toCitty(node, name))).trimEnd();
  return node.kind === "group" ? `${usage}\n\n${groupNotes}` : `${usage}${commandNotes(node)}`;
}

const common: ArgsDef = {
  config: {
    type: "string",
    valueHint: "path",
    description: "Configuration file; ~/.eventdbx/config.toml when missing.",
  },
  help: { type: "boolean", description: "Show this." },
};

function toCitty(node: Command | Group, name: string) {
  if (node.kind === "command") {
    const args = { ...flagsOf(node), ...common };
    return defineCommand({ meta: { name, description: node.summary }, args });
  }
  const subCommands = Object.entries(node.commands).map(([word, load]) => [
    word,
    async () => defineCommand({ meta: { name: word, description: (await load()).summary } }),
  ]);
  return defineCommand({
    meta: { name, description: node.summary },
    args: common,
    subCommands: Object.fromEntries(subCommands),
  });
}

function flagsOf({ flags, words }: Command): ArgsDef {
  const required = flags.required ?? [];
  const rows = Object.entries(flags.properties).flatMap(([name, schema]: [string, TSchema]) => {
    if (schema["hidden"] === true) return [];
    const place = words.indexOf(name) === -1 ? "" : ` Also by place: ${placeOf(words, name)}.`;
    const need = required.includes(name) ? " Required." : "";
    const description = `${String(schema["description"] ?? "")}${place}${need}`;
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

const placeOf = (words: readonly string[], name: string): string =>
  words.map((word) => (word === name ? `<${flagName(word)}>` : "…")).join(" ");

const groupNotes = `Guide: dbx start --foreground; then, elsewhere,
  dbx token generate --group admin --user jane --expiration 3600
  dbx aggregate apply person p-002 person-added --field name="Jane Doe"
  dbx aggregate get person p-002`;

const usualExits: Readonly<Record<number, string>> = {
  0: "success",
  1: "a defect in dbx",
  2: "the command or its input does not fit",
  3: "no such aggregate or token",
  4: "refused: a conflict, or not in this state",
  5: "no valid token, or one that may not",
  6: "the event breaks its schema, or is too large",
  7: "not available now: locked, overloaded, stopping or the disk failed",
  8: "stored data does not verify",
};

function commandNotes({ about, examples, exits }: Command): string {
  const codes = Object.entries({ ...usualExits, ...exits });
  return [
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
