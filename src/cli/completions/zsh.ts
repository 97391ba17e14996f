// Completions for zsh, by its own _arguments: one function for each place of the command line.

import type { FlagRow, TreeRow, ValueRow } from "../tree.ts";
import { brief } from "./spec.ts";

export function zshScript(rows: readonly TreeRow[]): string {
  return `${head}${rows.map(functionOf).join("\n")}\n${tail}`;
}

const head = `#compdef dbx
# Completions of dbx for zsh, written by: dbx completions zsh
# They know the command line alone and ask nobody: no server and no database.

`;

/** A file on fpath is the function itself; one that is sourced only defines it. */
const tail = `if [[ \${funcstack[1]} == _dbx ]]; then
  _dbx "$@"
elif (( $+functions[compdef] )); then
  compdef _dbx dbx
fi
`;

function functionOf(row: TreeRow): string {
  const flags = row.flags.map(flagOf);
  const name = nameOf(row);
  if (row.commands.length === 0) {
    return `${name}() {\n${argumentsOf([...flags, ...row.words.map(wordOf)])}\n}\n`;
  }
  const commands = row.commands.map((each) =>
    literal(`${each.name}:${plain(brief(each.summary))}`),
  );
  const below = row.commands.map((each) => each.name).filter((each) => !answered.includes(each));
  const cases = below.map((each) => `      ${each}) ${name}_${identifier(each)} ;;`);
  return `${name}() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
${argumentsOf([...flags, "'1: :->command'", "'*:: :->rest'"], "-C -A '-*' ")}
  case $state in
  command)
    local -a commands=(
      ${commands.join("\n      ")}
    )
    _describe -t commands 'dbx command' commands
    ;;
  rest)
    curcontext="\${curcontext%:*:*}:dbx-$words[1]:"
    case $words[1] in
${[...cases, ...(row.path.length === 0 ? [`      help) ${name} ;;`] : [])].join("\n")}
    esac
    ;;
  esac
}
`;
}

/** Words that the tree answers itself, so they have no function. */
const answered: readonly string[] = ["help", "version"];

const identifier = (word: string): string => word.replaceAll("-", "_");
const nameOf = (row: TreeRow): string => identifier(["_dbx", ...row.path].join("_"));

const argumentsOf = (specs: readonly string[], options = ""): string =>
  `  _arguments ${options}-S : \\\n    ${specs.join(" \\\n    ")}`;

function flagOf({ flag, summary, value, repeats, opposite }: FlagRow): string {
  const before = repeats ? "*" : opposite === null ? "" : `(${flag} ${opposite})`;
  const what = `[${plain(brief(summary))}]`;
  if (value === null) return literal(`${before}${flag}${what}`);
  return literal(`${before}${flag}=${what}:${value.mayLack ? ":" : ""}${valueOf(value)}`);
}

function wordOf({ flag, required, repeats, value }: FlagRow): string {
  const name = flag.slice(2);
  const action = value === null ? " " : actionOf(value);
  return literal(`${repeats ? "*" : required ? "" : ":"}:${name}:${action}`);
}

const valueOf = (value: ValueRow): string => `${plain(value.hint)}:${actionOf(value)}`;

/** A blank offers nothing and says what is wanted. */
const actionOf = ({ isFile, choices }: ValueRow): string => {
  if (isFile) return "_files";
  return choices.length === 0 ? " " : `(${choices.join(" ")})`;
};

/** What zsh would read as a part of its own. */
const plain = (text: string): string => text.replaceAll(/[\\:[\]]/g, String.raw`\$&`);
const literal = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
