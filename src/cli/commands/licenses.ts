// `dbx licenses`: what dbx is made of that others wrote, with the texts of their licenses.

import { Type } from "@sinclair/typebox";
import { command } from "../command.ts";
import { licensesHere } from "../licenses.ts";
import { callFlags, strict } from "./key-flags.ts";

export const licenses = command({
  summary: "Show the licenses of everything that is inside this program.",
  about:
    "The texts are part of the file, so no network is needed. --json lists name, version and license.",
  flags: Type.Object({ json: Type.Optional(callFlags.json) }, strict),
  examples: ["dbx licenses", "dbx licenses --json"],
  run: async (_flags, { output }) => {
    const all = licensesHere();
    if (output.json) {
      return output.jsonValue(
        all.map(({ name, version, license }) => ({ name, version, license })),
      );
    }
    const rule = "-".repeat(72);
    return output.data(
      all
        .map(({ name, version, license, text }) => `${name} ${version} (${license})\n\n${text}\n`)
        .join(`\n${rule}\n\n`),
    );
  },
});
