// Puts a directory in the place of another. Where the system can exchange two names at once, which
// is Linux and macOS, either the old one or the new one has the name at every moment.

import { dlopen } from "bun:ffi";
import { readdirSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { unavailable, type DbxError } from "../model/error.ts";
import { syncDirectory } from "../storage/documents.ts";

/**
 * `fresh` becomes `target`, and what was there `aside`, all in one directory. Where names cannot be
 * exchanged, a crash between two renames leaves nothing at `target`, and both beside it.
 */
export async function putInPlace(paths: {
  readonly fresh: string;
  readonly target: string;
  /** Null: nothing is at `target`, or an empty directory. */
  readonly aside: string | null;
}): Promise<void> {
  const { fresh, target, aside } = paths;
  try {
    if (aside === null) renameSync(fresh, target);
    else {
      // Whole already, so that what a crash leaves under this name is never half of anything.
      renameSync(fresh, aside);
      await syncDirectory(dirname(target));
      if (!exchange(aside, target)) {
        renameSync(aside, fresh);
        renameSync(target, aside);
        renameSync(fresh, target);
      }
    }
    await syncDirectory(dirname(target));
  } catch (cause) {
    throw refused(target, cause);
  }
}

/**
 * Everything in `fresh` goes into the empty `target`, the database last: a directory that a crash
 * has left without it is refused by every dbx.
 */
export async function moveInto(paths: {
  readonly fresh: string;
  readonly target: string;
}): Promise<void> {
  const { fresh, target } = paths;
  const last = "dbx.db";
  try {
    for (const name of readdirSync(fresh).filter((each) => each !== last)) {
      renameSync(join(fresh, name), join(target, name));
    }
    await syncDirectory(target);
    renameSync(join(fresh, last), join(target, last));
    await syncDirectory(target);
  } catch (cause) {
    throw refused(target, cause);
  }
}

function refused(target: string, cause: unknown): DbxError {
  const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return unavailable(
    `cannot put ${target} in its place (${reason})`,
    { target, reason },
    { cause },
  );
}

/** Both names at once. False where this system or this file system has no such call. */
function exchange(one: string, other: string): boolean {
  const call = calls[process.platform];
  if (call === undefined) return false;
  try {
    return call(Buffer.from(`${one}\0`), Buffer.from(`${other}\0`)) === 0;
  } catch {
    // No such library or symbol: two renames do it.
    return false;
  }
}

const at_cwd_linux = -100;
const exchange_linux = 2;
const swap_macos = 2;

type Exchange = (one: Buffer, other: Buffer) => number;

const calls: Readonly<Partial<Record<NodeJS.Platform, Exchange>>> = {
  linux: (one, other) => {
    const names = ["libc.so.6", `libc.musl-${process.arch === "x64" ? "x86_64" : "aarch64"}.so.1`];
    for (const name of names) {
      const library = opened(name);
      if (library !== null) {
        return library.symbols.renameat2(at_cwd_linux, one, at_cwd_linux, other, exchange_linux);
      }
    }
    return -1;
  },
  darwin: (one, other) => {
    const library = dlopen("libSystem.B.dylib", {
      renamex_np: { args: ["cstring", "cstring", "u32"], returns: "i32" },
    });
    return library.symbols.renamex_np(one, other, swap_macos);
  },
};

function opened(name: string) {
  try {
    return dlopen(name, {
      renameat2: { args: ["i32", "cstring", "i32", "cstring", "u32"], returns: "i32" },
    });
  } catch {
    // The other C library of Linux, or an older one.
    return null;
  }
}
