// `dbx man`: the manual page, for whoever installs dbx and for those who have no page installed.

import { Type } from "@sinclair/typebox";
import { version } from "../../version.ts";
import { command, type Command, type Group } from "../command.ts";
import { manualPage } from "../manual.ts";

/** In: the tree that this command is part of. */
export const manOf = (tree: Group): Command =>
  command({
    summary: "Print the manual page, as roff.",
    about: "It is made of what --help says of every command.",
    flags: Type.Object(
      {
        json: Type.Optional(
          Type.Boolean({ description: "Print the page as a member of an object." }),
        ),
      },
      { additionalProperties: false },
    ),
    examples: ["dbx man | man -l -", "dbx man >~/.local/share/man/man1/dbx.1"],
    run: async (_flags, { output }) => {
      const page = await manualPage(tree, version);
      if (output.json) await output.jsonValue({ version, page });
      else await output.raw(page);
    },
  });
