// `dbx completions`: what a shell needs to complete the words of dbx, from the tables that help is
// made of. The scripts hold all of it, so a key press starts no process and opens no database.

import { Type, type Static } from "@sinclair/typebox";
import { command, type Command, type Group } from "../command.ts";
import { treeRows, type TreeRow } from "../tree.ts";

const shells = ["bash", "zsh", "fish", "powershell"] as const;
type ShellName = (typeof shells)[number];

const Name = Type.Union(
  shells.map((name) => Type.Literal(name)),
  { hint: shells.join("|"), description: "The shell that is to complete." },
);

const flags = Type.Object(
  {
    shell: Name,
    json: Type.Optional(
      Type.Boolean({ description: "Print the script as a member of an object." }),
    ),
  },
  { additionalProperties: false },
);

const scripts: Readonly<Record<ShellName, (rows: readonly TreeRow[]) => Promise<string>>> = {
  bash: async (rows) => (await import("../completions/bash.ts")).bashScript(rows),
  zsh: async (rows) => (await import("../completions/zsh.ts")).zshScript(rows),
  fish: async (rows) => (await import("../completions/fish.ts")).fishScript(rows),
  powershell: async (rows) => (await import("../completions/powershell.ts")).powershellScript(rows),
};

/** In: the tree that this command is part of. */
export const completionsOf = (tree: Group): Command =>
  command({
    summary: "Print a script that makes a shell complete the words of dbx.",
    about:
      "It completes commands, flags, the values of those that take one of a few words, and files. It knows\n" +
      "the command line of the dbx that printed it and asks nobody, so print it again after an upgrade.",
    flags,
    words: ["shell"],
    examples: [
      "source <(dbx completions bash)",
      'dbx completions zsh >"${fpath[1]}/_dbx"',
      "dbx completions fish >~/.config/fish/completions/dbx.fish",
      "dbx completions powershell | Out-String | Invoke-Expression",
    ],
    run: async ({ shell }: Static<typeof flags>, { output }) => {
      const script = await scripts[shell](await treeRows(tree));
      if (output.json) await output.jsonValue({ shell, script });
      else await output.raw(script);
    },
  });
