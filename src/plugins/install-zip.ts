// Reads zip archives entry by entry, through yauzl, which goes by the directory at the end and
// holds each entry to the size that it names.

import { openPromise, type Entry, type ZipFile } from "yauzl";
import { DbxError, tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { refused, shown, type Tree } from "./install-tree.ts";

export async function unpackZip(
  path: string,
  { tree, spend }: { readonly tree: Tree; readonly spend: (bytes: number) => void },
): Promise<void> {
  try {
    // Names stay bytes: what yauzl makes of those without a mark is the character set of DOS.
    const zip = await openPromise(path, { decodeStrings: false, autoClose: true });
    if (zip.entryCount > limits.plugin_bundle_entries_max) {
      zip.close();
      throw tooLarge(`plugin bundle has more than ${limits.plugin_bundle_entries_max} entries`, {
        limit: limits.plugin_bundle_entries_max,
      });
    }
    for await (const entry of zip.eachEntry()) await unpackEntry(zip, { entry, tree, spend });
  } catch (cause) {
    if (cause instanceof DbxError || !isOfArchive(cause)) throw cause;
    throw refused(`it is no zip archive, or a broken one (${cause.message})`, { cause });
  }
}

/** Errors of the system have a code that begins with E; those of zlib and yauzl do not. */
const isOfArchive = (cause: unknown): cause is Error =>
  cause instanceof Error && !("code" in cause && /^E[A-Z]+$/.test(String(cause.code)));

async function unpackEntry(
  zip: ZipFile,
  { entry, tree, spend }: { entry: Entry; tree: Tree; spend: (bytes: number) => void },
): Promise<void> {
  const name = entry.fileNameRaw;
  const say = (what: string) => refused(`${shown(name.toString("latin1"))} ${what}`);
  const mode = entry.externalFileAttributes >>> 16;
  const kind = mode & kindMask;
  const isDirectory = name.at(-1) === 47;
  if (kind === link) throw say("is a symbolic link");
  if (kind !== 0 && kind !== (isDirectory ? directory : plain)) throw say("is no plain file");
  if (entry.isEncrypted()) throw say("is encrypted");
  if (isDirectory) return tree.addDirectory(name);
  if (!entry.canDecodeFileData()) {
    throw say(`is packed by method ${entry.compressionMethod}; use deflate, or none`);
  }
  const stream = await zip.openReadStreamPromise(entry);
  // It may fail before the first piece is asked for, and then nobody else would listen.
  stream.on("error", (error) => stream.destroy(error));
  async function* pieces(): AsyncGenerator<Uint8Array> {
    let crc = 0;
    for await (const piece of stream) {
      const bytes: Uint8Array = piece;
      spend(bytes.length);
      crc = Bun.hash.crc32(bytes, crc);
      yield bytes;
    }
    if (crc !== entry.crc32) throw say("does not have its checksum");
  }
  await tree.addFile({ name, executable: (mode & 0o111) !== 0 }, pieces());
}

/** The bits of a mode that say what something is. */
const kindMask = 0o170_000;
const link = 0o120_000;
const plain = 0o100_000;
const directory = 0o040_000;
