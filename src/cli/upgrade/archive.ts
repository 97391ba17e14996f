// Takes the one program out of a release's archive. Everything else in it is read, because a
// broken end must show itself, and left.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { failedPrecondition, tooLarge } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { unpackTar } from "../../plugins/install-tar.ts";
import type { FileEntry, Tree } from "../../plugins/install-tree.ts";
import { unpackZip } from "../../plugins/install-zip.ts";
import type { ArchiveKind } from "./platform.ts";

interface UnpackOptions {
  /** The archive. */
  readonly path: string;
  readonly kind: ArchiveKind;
  /** What it is called at its place, for messages. */
  readonly name: string;
  /** `dbx`, or `dbx.exe`. */
  readonly program: string;
  /** A file that does not exist yet. */
  readonly to: string;
  readonly mode: number;
  readonly signal: AbortSignal;
}

/** Out: the number of bytes. What is written is on the disk. */
export async function unpackProgram(options: UnpackOptions): Promise<number> {
  const { path, kind, name, program, signal } = options;
  let written: number | null = null;
  const spend = createBudget(name, signal);
  const tree: Tree = {
    addDirectory: async () => {},
    addFile: async (entry, pieces) => {
      if (isProgram(entry, program)) {
        if (written !== null) throw failedPrecondition(`${program} is in ${name} twice`, { name });
        written = await writeProgram(pieces, options);
      } else for await (const piece of pieces) void piece;
    },
    files: () => [],
  };
  try {
    if (kind === "zip") await unpackZip(path, { tree, spend });
    else await unpackTar(counted(kind === "tar.xz" ? xz(options) : gunzip(path), spend), tree);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && String(cause.code).startsWith("Z_")) {
      throw failedPrecondition(`${name} is no gzip archive, or a broken one`, { name }, { cause });
    }
    throw cause;
  }
  if (written === null) throw failedPrecondition(`there is no ${program} in ${name}`, { name });
  return written;
}

/** At the root, or in the one directory that archives of releases have there. */
function isProgram({ name }: FileEntry, program: string): boolean {
  const text = typeof name === "string" ? name : Buffer.from(name).toString("latin1");
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  return parts.length <= 2 && parts.at(-1) === program && !parts.includes("..");
}

function createBudget(name: string, signal: AbortSignal): (bytes: number) => void {
  let unpacked = 0;
  return (bytes) => {
    signal.throwIfAborted();
    unpacked += bytes;
    if (unpacked <= limits.upgrade_program_bytes_max) return;
    const limit = limits.upgrade_program_bytes_max;
    throw tooLarge(`${name} unpacks to more than ${limit} bytes`, { name, limit });
  };
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  spend: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    spend(piece.length);
    yield piece;
  }
}

function gunzip(path: string): AsyncIterable<Uint8Array> {
  const packed = createReadStream(path, { highWaterMark: 262_144 });
  const plain = createGunzip({ chunkSize: 262_144 });
  packed.on("error", (error) => plain.destroy(error));
  return packed.pipe(plain);
}

/** By the system's own program: older releases have nothing else. */
async function* xz({ path, name }: UnpackOptions): AsyncGenerator<Uint8Array> {
  if (Bun.which("xz") === null) {
    throw failedPrecondition(
      `${name} needs the program xz to be unpacked; install it (package xz-utils, or xz)`,
      { name },
    );
  }
  const child = Bun.spawn(["xz", "--decompress", "--stdout", path], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  try {
    yield* child.stdout;
    if ((await child.exited) !== 0) {
      throw failedPrecondition(`${name} is no xz archive, or a broken one`, { name });
    }
  } finally {
    child.kill();
  }
}

async function writeProgram(
  pieces: AsyncIterable<Uint8Array>,
  { to, mode }: UnpackOptions,
): Promise<number> {
  let bytes = 0;
  const file = await open(to, "wx", 0o700);
  try {
    for await (const piece of pieces) {
      bytes += piece.length;
      await file.writeFile(piece);
    }
    // `open` takes the umask off the mode.
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
  return bytes;
}
