// The manual page, from the tables that help is made of: every command with its flags and
// examples, the environment, files and exit codes.

import { statusOf } from "../api/errors.ts";
import type { Group } from "./command.ts";
import { usualExits } from "./help.ts";
import { configKeys, installerVariables, variablesOf } from "./keys.ts";
import { entry, literal, paragraphs, roff, section, subsection } from "./roff.ts";
import { flagsOf, treeRows, type FlagRow, type TreeRow } from "./tree.ts";

export async function manualPage(tree: Group, version: string): Promise<string> {
  const [root, ...rows] = await treeRows(tree);
  if (root === undefined) return "";
  const lines = [
    `.TH DBX 1 "" "dbx ${roff(version)}"`,
    ".nh",
    section("NAME"),
    `dbx \\- ${roff(root.summary.replace(/\.$/, ""))}`,
    section("SYNOPSIS"),
    ".B dbx",
    ".I command",
    "[\\fIwords\\fR] [\\fIflags\\fR]",
    section("DESCRIPTION"),
    ...paragraphs(description),
    section("FLAGS OF EVERY COMMAND"),
    ...root.flags.flatMap(flagEntry),
    section("COMMANDS"),
    ...rows.flatMap(commandLines),
    section("ENVIRONMENT"),
    ...environment(),
    section("FILES"),
    ...files.flatMap(([name, about]) => entry(name, "", about)),
    section("EXIT STATUS"),
    ...Object.entries(usualExits).flatMap(([code, meaning]) => entry(code, "", meaning)),
    ...paragraphs("By the code of an error, which it prints as well:"),
    ...Object.entries(statusOf).flatMap(([code, { exit, when }]) =>
      entry(`${exit} ${code}`, "", when),
    ),
    section("SEE ALSO"),
    ".B dbx help",
    roff("says the same of one command."),
  ];
  // A title opens a paragraph by itself.
  return `${lines.join("\n")}\n`.replaceAll(/^(\.S[HS] .*)\n\.PP$/gm, "$1");
}

const description = `dbx keeps events: facts that are appended, never changed, and folded into the
state of the aggregates that they are about. Everything is hashed, so that a change behind its back
is found. One program serves it (dbx start) and is its command line, which works with the server
running or stopped.

Data goes to the standard output, words to the standard error. With --json every command that prints
prints JSON. Words fill, in their order, the flags that are not given.`;

const files: readonly (readonly [string, string])[] = [
  ["~/.eventdbx/config.toml", "The configuration; --config names another."],
  ["~/.eventdbx", "The data directory, unless the configuration names another."],
];

function commandLines({ path, node, flags, words, commands }: TreeRow): string[] {
  const name = ["dbx", ...path].join(" ");
  if (node.kind === "group") {
    const below = commands.map((each) => `${name} ${each.name}`).join(", ");
    return [subsection(name), ...paragraphs(`${node.summary} It has: ${below}.`)];
  }
  const placed = words.map(({ flag, required }) =>
    required ? `<${flag.slice(2)}>` : `[<${flag.slice(2)}>]`,
  );
  const own = flagsOf(node);
  return [
    subsection([name, ...placed].join(" ")),
    ...paragraphs([node.summary, node.about].filter((part) => part !== "").join("\n\n")),
    ...flags.filter(({ flag }) => own.some((each) => each.flag === flag)).flatMap(flagEntry),
    ...Object.entries(node.exits).flatMap(([code, meaning]) => entry(`exit ${code}`, "", meaning)),
    ...literal(node.examples),
  ];
}

function flagEntry({ flag, value, summary, required }: FlagRow): string[] {
  const about = `${summary}${required ? " Required." : ""}`;
  if (value === null) return entry(flag, "", about);
  return value.mayLack
    ? entry(`${flag}=`, `[${value.hint}]`, about)
    : entry(`${flag} `, value.hint, about);
}

function environment(): string[] {
  return [
    ...variables.flatMap(([name, about]) => entry(name, "", about)),
    ...configKeys
      .filter(({ reserved }) => !reserved)
      .flatMap((key) => {
        const names = variablesOf(key).join(", ");
        return entry(names, "", `The key ${key.name}. ${String(key.schema["description"] ?? "")}`);
      }),
  ];
}

/** Of the command line alone; what they mean is in the README as well. */
const variables: readonly (readonly [string, string])[] = [
  ["EVENTDBX_TOKEN", "The token that commands act by, unless they are given one."],
  ["EVENTDBX_URL", "The server that commands ask, instead of this machine's."],
  ["EVENTDBX_CA_FILE", "Certificates (PEM) to trust there, too."],
  ["EVENTDBX_MASTER_KEY", "The first master key, for dbx config."],
  ["EVENTDBX_API", "The surfaces to serve: rest, graphql, grpc or all."],
  ["EVENTDBX_BACKUP_PASSPHRASE", "The passphrase of dbx backup and dbx restore."],
  ["DBX_RELEASES_URL", "Where dbx upgrade looks for releases, in place of GitHub."],
  ["EVENTDBX_GITHUB_TOKEN, GITHUB_TOKEN", "What dbx upgrade acts by there, against a rate limit."],
  ["DBX_INSTALLED_BY", "Who keeps this dbx up to date, so that dbx upgrade does not."],
  ["NO_COLOR", "Anything in it: no colours."],
  [installerVariables.join(", "), "What the installers take; dbx does not read them."],
];
