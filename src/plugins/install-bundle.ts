// What is in a bundle, and which of its files is the program. The content says what it is; a name
// only helps where an archive has no mark.

import { createReadStream } from "node:fs";
import { chmod, open } from "node:fs/promises";
import { basename, join } from "node:path";
import { createGunzip } from "node:zlib";
import { failedPrecondition, invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { unpackTar } from "./install-tar.ts";
import { createBudget, createTree, refused, shown, type Tree } from "./install-tree.ts";
import { unpackZip } from "./install-zip.ts";

export interface Bundle {
  /** The fetched file. */
  readonly path: string;
  readonly bytes: number;
  /** What it is called where it came from. */
  readonly file_name: string;
}

interface Wanted {
  /** The plugin. */
  readonly name: string;
  /** `--bin`. */
  readonly bin: string | undefined;
}

/** Unpacks into `root`, an empty directory. Out: the program's path relative to it. */
export async function unpackBundle(
  bundle: Bundle,
  { root, signal, ...wanted }: Wanted & { readonly root: string; readonly signal: AbortSignal },
): Promise<string> {
  const tree = createTree(root);
  const format = await formatOf(bundle);
  if (format === "bare") return addProgram(bundle, { tree, ...wanted });
  const spend = createBudget(bundle.bytes, signal);
  if (format === "zip") await unpackZip(bundle.path, { tree, spend });
  else await unpackTar(counted(openTar(bundle, format), spend), tree);
  const program = chooseProgram(tree.files(), wanted);
  await chmod(join(root, program), 0o755);
  return program;
}

type Format = "zip" | "tar" | "gzip" | "bare";

async function formatOf({ path, file_name }: Bundle): Promise<Format> {
  const start = await readStart(path);
  const begins = (...bytes: number[]) => bytes.every((byte, at) => start[at] === byte);
  if (start.length === 0) throw refused("it is empty");
  if (begins(0x50, 0x4b, 3, 4) || begins(0x50, 0x4b, 5, 6)) return "zip";
  if (begins(0x1f, 0x8b)) return "gzip";
  if (start.toString("latin1", 257, 262) === "ustar") return "tar";
  const other = [
    { name: "xz", found: begins(0xfd, 0x37, 0x7a, 0x58, 0x5a) },
    { name: "zstd", found: begins(0x28, 0xb5, 0x2f, 0xfd) },
    { name: "bzip2", found: begins(0x42, 0x5a, 0x68) },
    { name: "7z", found: begins(0x37, 0x7a, 0xbc, 0xaf) },
  ].find(({ found }) => found);
  if (other !== undefined) {
    throw refused(`it is packed with ${other.name}; pack it as zip, tar or tar.gz instead`);
  }
  const extension = /\.(zip|tar|tar\.gz|tgz)$/i.exec(file_name)?.[1]?.toLowerCase();
  // From before tar archives had a mark; the checksum in its header shows whether it is one.
  if (extension === "tar") return "tar";
  if (extension !== undefined) throw refused(`${shown(file_name)} is no ${extension} archive`);
  return "bare";
}

async function readStart(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function openTar({ path }: Bundle, format: "tar" | "gzip"): AsyncIterable<Uint8Array> {
  const packed = createReadStream(path, { highWaterMark: 65_536 });
  if (format === "tar") return packed;
  const plain = createGunzip({ chunkSize: 65_536 });
  packed.on("error", (error) => plain.destroy(error));
  return packed.pipe(plain);
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  spend: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of source) {
      spend(piece.length);
      yield piece;
    }
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && String(cause.code).startsWith("Z_")) {
      throw refused(`it is no gzip archive, or a broken one (${cause.message})`, { cause });
    }
    throw cause;
  }
}

async function addProgram(
  { path }: Bundle,
  { tree, name, bin }: Wanted & { readonly tree: Tree },
): Promise<string> {
  const program = bin ?? `${name}${suffix()}`;
  if (/[/\\]/.test(program)) {
    throw invalidArgument("--bin is the name of a file, without directories", { flag: "--bin" });
  }
  await tree.addFile({ name: program, executable: true }, createReadStream(path));
  return program;
}

/** Windows runs nothing without it. */
const suffix = (): string => (process.platform === "win32" ? ".exe" : "");

function chooseProgram(files: readonly string[], { name, bin }: Wanted): string {
  if (files.length === 0) {
    throw failedPrecondition("plugin bundle did not contain any files");
  }
  if (bin !== undefined) {
    const found =
      files.find((file) => file === bin) ?? files.find((file) => basename(file) === bin);
    if (found !== undefined) return found;
    throw failedPrecondition(
      `could not find binary '${bin}' in plugin bundle; available files: ${listed(files)}`,
      { bin },
    );
  }
  const [only, ...more] = files;
  if (only !== undefined && more.length === 0) return only;
  const named = files.filter((file) => [name, `${name}${suffix()}`].includes(basename(file)));
  if (named.length === 1 && named[0] !== undefined) return named[0];
  throw failedPrecondition(
    "plugin bundle contains multiple files; specify --bin <filename>. " +
      `candidates: ${listed(named.length > 0 ? named : files)}`,
  );
}

function listed(files: readonly string[]): string {
  const most = limits.plugin_bundle_names_shown;
  const more = files.length > most ? `, and ${files.length - most} more` : "";
  return `${files.slice(0, most).join(", ")}${more}`;
}
