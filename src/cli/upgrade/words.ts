// The other ways to write `dbx upgrade`: `upgrade@1.2.3`, and the `-n` of its list. They become the
// words of the one way before the command is looked for.

import { invalidArgument } from "../../model/error.ts";

const isFlag = (word: string): boolean => word === "--json";

/** In: the words after `dbx`, without flags of every command. Out: the same in their long form. */
export function upgradeWords(args: readonly string[]): readonly string[] {
  const at = args.findIndex((word) => !isFlag(word));
  const word = args[at] ?? "";
  const [before, after] = [args.slice(0, Math.max(at, 0)), args.slice(at + 1)];
  if (word.startsWith("upgrade@")) {
    const extra = after.find((each) => !isFlag(each));
    if (extra !== undefined) {
      throw invalidArgument(`unexpected arguments after '${word}'`, { argument: extra });
    }
    const named = word.slice("upgrade@".length);
    const what = named.toLowerCase() === "list" ? "list" : named === "" ? "latest" : named;
    // Behind `--` no tag can be taken for a flag.
    return [...before, "upgrade", ...after, ...(what === "list" ? [what] : ["--", what])];
  }
  if (word !== "upgrade" || after.find((each) => !isFlag(each)) !== "list") return args;
  return [...before, word, ...after.map(longLimit)];
}

/** `-n`, `-n5` and `-n=5` as `--limit` has them. */
function longLimit(word: string): string {
  const value = /^-n=?(.*)$/.exec(word)?.[1];
  if (value === undefined) return word;
  return value === "" && word === "-n" ? "--limit" : `--limit=${value}`;
}
