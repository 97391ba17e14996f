// How a place of the command line is written into the scripts whose shells have no words of their
// own for it: `--format=csv|json`. Behind `=` may stand `+` (it repeats) and `~` (it may lack its
// value), then `@` for a file, or what may be chosen.

import type { FlagRow, TreeRow } from "../tree.ts";

export const specOf = ({ flag, value, repeats }: FlagRow): string => {
  if (value === null) return flag;
  const { choices, isFile, mayLack } = value;
  const offered = isFile ? "@" : choices.join("|");
  return `${flag}=${repeats ? "+" : ""}${mayLack ? "~" : ""}${offered}`;
};

/** `token list`; nothing for the tree itself. */
export const placeOf = ({ path }: TreeRow): string => path.join(" ");

/** Words of a shell, in single quotes. */
export const quoted = (words: readonly string[]): string =>
  `'${words.join(" ").replaceAll("'", String.raw`'\''`)}'`;

/** The first sentence, which is what fits beside a name. */
export const brief = (summary: string): string =>
  summary.replaceAll("`", "").split(/[.;](?:\s|$)/)[0] ?? "";
