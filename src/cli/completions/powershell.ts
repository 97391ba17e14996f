// Completions for PowerShell, from the version on that Windows brings.

import type { FlagRow, TreeRow } from "../tree.ts";
import template from "./dbx.ps1" with { type: "text" };
import { brief, placeOf } from "./spec.ts";

export function powershellScript(rows: readonly TreeRow[]): string {
  const places = rows.map((row) => {
    const commands = row.commands.map(({ name, summary }) => list([name, brief(summary)]));
    const slots = row.words.map(({ flag }) => literal(flag));
    const members = [
      `commands = ${listOfLists(commands)}`,
      `slots = @(${slots.join(", ")})`,
      `flags = ${listOfLists(row.flags.map(flagOf))}`,
    ];
    return `${literal(placeOf(row))} = @{ ${members.join("; ")} }`;
  });
  return template.replace("#places", () => places.join("\n        "));
}

function flagOf({ flag, summary, value, repeats }: FlagRow): string {
  if (value === null) return list([flag, brief(summary)]);
  const offered = value.isFile ? "@" : value.choices.join("|");
  const words = [flag, brief(summary), offered].map(literal);
  return `@(${[...words, ...(repeats ? ["$true"] : [])].join(", ")})`;
}

/**
 * PowerShell of Windows takes what a program prints for text of the console's own code page, in
 * which bytes of UTF-8 may be quotes: so there are none but those of ASCII.
 */
const literal = (text: string): string => {
  const plain = text.replaceAll("…", "...").replaceAll(/[^\u0020-\u007e]/gu, "?");
  return `'${plain.replaceAll("'", "''")}'`;
};
const list = (words: readonly string[]): string => `@(${words.map(literal).join(", ")})`;

/** The comma in front keeps PowerShell from making one list of a list with one list in it. */
const listOfLists = (lists: readonly string[]): string =>
  lists.length === 0 ? "@()" : `@(${lists.map((each) => `,${each}`).join("; ")})`;
