// The data encryption key in a file of its own, as secrets are mounted into containers. It is never
// printed.

import { accessSync, constants, readFileSync, statSync, type Stats } from "node:fs";
import { invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";

/**
 * The key as text. Throws `invalid_argument` where the file cannot be read or others can read it;
 * `place` is where the file was named. What is in it is checked like any key.
 */
export function readKeyFile(path: string, place: string): string {
  const found = look(path, place);
  if (!found.isFile() || found.size > limits.key_file_bytes_max) {
    throw invalidArgument(`${place}: ${path} holds no key: it is no file of one short line`, {
      file: path,
    });
  }
  if (readableByOthers(found)) {
    const mode = modeOf(found);
    throw invalidArgument(
      `${place}: everybody on this machine can read ${path} (mode ${mode}); run: chmod 600 ${path}, ` +
        "or mount the secret with mode 0400",
      { file: path, mode },
    );
  }
  return readFileSync(path, "utf8").trim();
}

function look(path: string, place: string): Stats {
  try {
    // Readable, too, by whoever this process is.
    accessSync(path, constants.R_OK);
    return statSync(path);
  } catch (cause) {
    const reason = codeOf(cause);
    throw invalidArgument(`${place}: cannot read the key file ${path} (${reason})`, {
      ...{ file: path, reason },
    });
  }
}

/** Windows has no such bits. */
const readableByOthers = ({ mode }: Stats): boolean =>
  process.platform !== "win32" && (mode & 0o007) !== 0;

export const modeOf = ({ mode }: Stats): string => (mode & 0o777).toString(8).padStart(4, "0");

export const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "unknown";
