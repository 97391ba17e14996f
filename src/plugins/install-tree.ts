// Where the files of a bundle go while they are unpacked: below one fresh directory and nowhere
// else, plain files and directories, within limits. The names and sizes come from strangers.

import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { failedPrecondition, tooLarge, type DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";

export interface FileEntry {
  /** As the archive has it: bytes, or text where it says that these are UTF-8. */
  readonly name: Uint8Array | string;
  readonly executable: boolean;
}

export interface Tree {
  readonly addDirectory: (name: FileEntry["name"]) => Promise<void>;
  readonly addFile: (entry: FileEntry, pieces: AsyncIterable<Uint8Array>) => Promise<void>;
  /** Files so far, relative to the directory, sorted. */
  readonly files: () => readonly string[];
}

/** `root` MUST be an empty directory that only this process writes to. */
export function createTree(root: string): Tree {
  const known = new Map<string, Known>();
  let entries = 0;
  const count = () => {
    entries += 1;
    if (entries > limits.plugin_bundle_entries_max) throw tooMany();
  };
  const addParents = async (parts: readonly string[]) => {
    for (let depth = 1; depth <= parts.length; depth++) {
      const path = parts.slice(0, depth).join("/");
      const place = known.get(folded(path));
      if (place !== undefined && (place.kind !== "directory" || place.path !== path)) {
        throw twice(path, place.path);
      }
      if (place !== undefined) continue;
      if (known.size >= limits.plugin_bundle_entries_max) throw tooMany();
      known.set(folded(path), { kind: "directory", path });
      await mkdir(join(root, path), { mode: 0o755 });
    }
  };
  return {
    addDirectory: async (name) => {
      count();
      await addParents(partsOf(name));
    },
    addFile: async ({ name, executable }, pieces) => {
      count();
      const parts = partsOf(name);
      const path = parts.join("/");
      if (parts.length === 0) throw refused("a file without a name");
      await addParents(parts.slice(0, -1));
      const place = known.get(folded(path));
      if (place !== undefined) throw twice(path, place.path);
      known.set(folded(path), { kind: "file", path });
      await writeFile(join(root, path), executable ? 0o755 : 0o644, pieces);
    },
    files: () =>
      [...known.values()].flatMap(({ kind, path }) => (kind === "file" ? [path] : [])).sort(),
  };
}

interface Known {
  readonly kind: "file" | "directory";
  readonly path: string;
}

/** Counts what is unpacked against the size of what it is unpacked from; throws when told to stop. */
export function createBudget(packed_bytes: number, signal: AbortSignal): (bytes: number) => void {
  let unpacked = 0;
  return (bytes) => {
    signal.throwIfAborted();
    unpacked += bytes;
    if (unpacked > limits.plugin_unpacked_bytes_max) {
      throw tooLarge(
        `plugin bundle unpacks to more than ${limits.plugin_unpacked_bytes_max} bytes`,
        { limit: limits.plugin_unpacked_bytes_max },
      );
    }
    if (
      unpacked > limits.plugin_unpacked_bytes_free &&
      unpacked > packed_bytes * limits.plugin_unpacked_ratio_max
    ) {
      throw tooLarge(
        `plugin bundle unpacks to more than ${limits.plugin_unpacked_ratio_max} times its size`,
        { packed_bytes, limit: limits.plugin_unpacked_ratio_max },
      );
    }
  };
}

/** What is wrong with the content of an archive. */
export const refused = (what: string, options?: ErrorOptions): DbxError =>
  failedPrecondition(`archive is refused: ${what}`, {}, options);

const tooMany = () =>
  tooLarge(`plugin bundle has more than ${limits.plugin_bundle_entries_max} entries`, {
    limit: limits.plugin_bundle_entries_max,
  });

const twice = (path: string, other: string) =>
  refused(
    path === other
      ? `${shown(path)} is in it twice`
      : `${shown(path)} and ${shown(other)} are one name on some systems`,
  );

/** Names that some system takes for one. */
const folded = (path: string): string => path.normalize("NFC").toLowerCase();

export const shown = (name: string): string => {
  const text = JSON.stringify(name.slice(0, limits.name_chars_max));
  return text.replaceAll(/[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "?");
};

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** In: a name of the archive. Out: its parts, which stay below where they begin. */
function partsOf(name: FileEntry["name"]): string[] {
  const text = typeof name === "string" ? name : decodeName(name);
  const say = (what: string) => refused(`${shown(text)} ${what}`);
  if (/^\/|^[A-Za-z]:/.test(text)) throw say("is an absolute name");
  if (/[\u0000-\u001f\u007f\\]/.test(text)) throw say("has characters that no name may have");
  if (Buffer.byteLength(text) > limits.plugin_bundle_path_bytes_max) throw say("is too long");
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw say("leads out of its directory");
  if (parts.length > limits.plugin_bundle_depth_max) throw say("is too deep");
  for (const part of parts) {
    if (Buffer.byteLength(part) > limits.plugin_bundle_part_bytes_max) throw say("is too long");
    if (/[. ]$/.test(part)) throw say("ends with a dot or a blank");
    if (/[<>:"|?*]/.test(part)) throw say("has characters that no name may have");
  }
  return parts;
}

function decodeName(name: Uint8Array): string {
  try {
    return utf8.decode(name);
  } catch (cause) {
    throw refused(`the name ${shown(Buffer.from(name).toString("latin1"))} is not UTF-8`, {
      cause,
    });
  }
}

async function writeFile(
  path: string,
  mode: number,
  pieces: AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(path, "wx", mode);
  try {
    for await (const piece of pieces) await file.writeFile(piece);
    // `open` takes the umask off the mode.
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}
