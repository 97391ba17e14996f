// The passphrase of a backup: from a file, from the environment or asked for, so that it is in no
// list of processes. It is never printed.

import { Type } from "@sinclair/typebox";
import { invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { resolve } from "node:path";
import { readKeyFile } from "./key-file.ts";
import type { Shell } from "./shell.ts";

const passphraseVariable = "EVENTDBX_BACKUP_PASSPHRASE";

/** What both commands take. */
export const passphraseFlags = (bare: string) => ({
  passphrase: Type.Optional(
    Type.String({ hint: "passphrase", valueWhenBare: "", description: bare }),
  ),
  passphrase_file: Type.Optional(
    Type.String({
      hint: "path",
      minLength: 1,
      description: `Read the passphrase from this file, which others may not read; else ${passphraseVariable}.`,
    }),
  ),
});

interface Given {
  readonly passphrase?: string;
  readonly passphrase_file?: string;
}

/** Null where nobody named one. Asks where `--passphrase` stands alone and nothing else has it. */
export async function readPassphrase(flags: Given, shell: Shell): Promise<string | null> {
  const { passphrase, passphrase_file: file } = flags;
  const given = passphrase !== undefined && passphrase !== "";
  if (given && file !== undefined) {
    throw invalidArgument("--passphrase-file and the value of --passphrase exclude each other", {
      flag: "--passphrase-file",
    });
  }
  if (given) {
    shell.output.words(
      `warning: a passphrase on the command line is seen in lists of processes; better in a file ` +
        `(--passphrase-file) or in ${passphraseVariable}`,
    );
    return passphrase;
  }
  if (file !== undefined) {
    const text = readKeyFile(resolve(shell.cwd, file), "--passphrase-file");
    if (text === "") throw invalidArgument(`--passphrase-file: ${file} is empty`, { file });
    return text;
  }
  const word = shell.env[passphraseVariable] ?? "";
  if (word.trim() !== "") return word;
  return passphrase === undefined ? null : askFor(shell, "passphrase: ");
}

/** A new one twice, because a mistyped one would lock the backup for ever. */
export async function readNewPassphrase(flags: Given, shell: Shell): Promise<string | null> {
  const passphrase = await readPassphrase(flags, shell);
  if (passphrase === null) return null;
  const { length } = [...passphrase];
  if (length < limits.passphrase_chars_min) {
    throw invalidArgument(
      `the passphrase has ${length} characters; it needs ${limits.passphrase_chars_min}, because ` +
        "who has the backup can guess as long as he likes",
      { flag: "--passphrase" },
    );
  }
  const asked = flags.passphrase === "" && flags.passphrase_file === undefined;
  if (!asked || (shell.env[passphraseVariable] ?? "").trim() !== "") return passphrase;
  if ((await askFor(shell, "the same again: ")) === passphrase) return passphrase;
  throw invalidArgument("these are two different passphrases", { flag: "--passphrase" });
}

export async function askFor({ output }: Shell, question: string): Promise<string> {
  if (!output.interactive) {
    throw invalidArgument(
      `nobody is here to be asked for the passphrase; give --passphrase-file, or set ${passphraseVariable}`,
      { flag: "--passphrase" },
    );
  }
  return output.askSecret(question);
}
