// Completions for fish, which shows beside each word what it is.

import type { FlagRow, TreeRow } from "../tree.ts";
import template from "./dbx.fish" with { type: "text" };
import { brief, placeOf } from "./spec.ts";

export function fishScript(rows: readonly TreeRow[]): string {
  const groups = rows.filter(({ commands }) => commands.length > 0);
  const cases = groups.map(
    (row) => `case ${literal(placeOf(row))}\n            echo ${namesOf(row).join(" ")}`,
  );
  const lines = rows.flatMap((row) => {
    const at = `complete -c dbx -n ${literal(`__dbx_at ${literal(placeOf(row))}`)}`;
    const commands = row.commands.map(
      ({ name, summary }) => `${at} -a ${name} -d ${literal(brief(summary))}`,
    );
    const words = row.words.flatMap(({ value }) => {
      const offered = value === null ? [] : offer(value);
      return offered.length === 0 ? [] : [`${at} ${offered.join(" ")}`];
    });
    return [...commands, ...words, ...row.flags.map((flag) => `${at} ${optionOf(flag)}`)];
  });
  return template.replace("#places", () => cases.join("\n        ")) + `${lines.join("\n")}\n`;
}

/** `help` is answered for every place, so it leads to none of its own. */
const namesOf = ({ commands, path }: TreeRow): string[] =>
  commands.map(({ name }) => name).filter((name) => path.length > 0 || name !== "help");

function optionOf({ flag, summary, value }: FlagRow): string {
  const words = [`-l ${flag.slice(2)}`];
  if (value !== null && !value.mayLack) words.push("-r");
  if (value !== null) words.push(...offer(value), ...(value.isFile ? [] : ["-f"]));
  return [...words, `-d ${literal(brief(summary))}`].join(" ");
}

function offer({ isFile, choices }: NonNullable<FlagRow["value"]>): string[] {
  if (isFile) return ["-F"];
  return choices.length === 0 ? [] : [`-a ${literal(choices.join(" "))}`];
}

const literal = (text: string): string =>
  `'${text.replaceAll("\\", "\\\\").replaceAll("'", String.raw`\'`)}'`;
