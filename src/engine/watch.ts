// A small document that people may edit while the server runs: looked at before each use, read anew
// when it has changed. Not for documents that only dbx writes.

import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { dataCorrupted, DbxError, unavailable } from "../model/error.ts";
import type { Log } from "../log.ts";
import type { System } from "../system.ts";

export interface WatchedDocument<Value> {
  /**
   * What the file says now; while it is damaged, what it said when it was last good. Never
   * throws.
   */
  readonly look: () => Value;
  /** What was wrong with the file at the last look; null where nothing was. */
  readonly fault: () => DbxError | null;
}

/** A file as it was last read. */
interface Seen {
  readonly stamp: string;
  /** When the stamp was seen first, by the clock that never jumps. */
  readonly since_ms: number;
  /** Whether a later change is sure to give another stamp. */
  readonly settled: boolean;
  /** Null where there was none; undefined where it could not be read. */
  readonly text: string | null | undefined;
}

/**
 * `parse` gets the text, null where there is no file, and what the file said until now. Whatever it
 * throws is a fault of the file. A look is one `stat` while nothing changes.
 */
export function watchDocument<Value>(options: {
  path: string;
  bytes_max: number;
  first: Value;
  parse: (text: string | null, current: Value) => Value;
  log: Log;
  system: System;
  /** Milliseconds since some moment; never goes back, however the system's clock is set. */
  elapsed_ms: () => number;
}): WatchedDocument<Value> {
  const { path, log } = options;
  let value = options.first;
  let seen: Seen | null = null;
  let fault: DbxError | null = null;

  function look(): Value {
    const before = seen;
    const file = stampOf(path);
    const { stamp, changed_ms } = file;
    if (before?.settled === true && before.stamp === stamp) return value;
    const elapsed_ms = options.elapsed_ms();
    const since_ms = before?.stamp === stamp ? before.since_ms : elapsed_ms;
    const settled =
      changed_ms === null ||
      Date.parse(options.system.now()) - changed_ms > tick_ms ||
      elapsed_ms - since_ms > tick_ms;
    let text: string | null | undefined;
    try {
      text = readText(path, { ...file, bytes_max: options.bytes_max });
      if (before !== null && text === before.text) return value;
      value = options.parse(text, value);
      fault = null;
      if (before !== null) log.info("document read", { path });
    } catch (error) {
      const found = faultOf(path, error);
      const told = before?.stamp === stamp && fault?.message === found.message;
      fault = found;
      // The first look is the caller's, who tells it himself.
      if (before !== null && !told) {
        log.error("document damaged; the last good one stays", { path, reason: found.message });
      }
    } finally {
      seen = { stamp, since_ms, settled, text };
    }
    return value;
  }

  look();
  return { look, fault: () => fault };
}

/**
 * File systems tell times in ticks of some milliseconds. Within one, a file can change twice and
 * look as if it had changed once; so a file that has just changed is read again. How long ago that
 * was, its time tells only where the clock agrees with it; else it is watched for so long.
 */
const tick_ms = 100;

interface Stamp {
  /** Differs when the file was written or replaced: dbx's own writes replace it. */
  readonly stamp: string;
  /** When it changed last; null where there is nothing to read. */
  readonly changed_ms: number | null;
  readonly size: number;
  /** Why it cannot be read; null where it can, or where there is no file. */
  readonly reason: string | null;
}

function stampOf(path: string): Stamp {
  const nothing = { changed_ms: null, size: 0 };
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) return { ...nothing, stamp: "missing", reason: null };
    const { dev, ino, size, mtimeNs, ctimeNs } = found;
    // Reading a pipe would wait for ever.
    const reason = found.isFile() ? null : "not a file";
    const stamp = [dev, ino, size, mtimeNs, ctimeNs].join(" ");
    return { stamp, changed_ms: Number(ctimeNs / 1_000_000n), size: Number(size), reason };
  } catch (error) {
    const reason = reasonOf(error);
    return { ...nothing, stamp: reason, reason };
  }
}

/** The text of the file, null where there is none. */
function readText(path: string, file: Stamp & { readonly bytes_max: number }): string | null {
  const { size, changed_ms, reason, bytes_max } = file;
  if (reason !== null) throw unreadable(path, reason);
  if (changed_ms === null) return null;
  const name = basename(path);
  if (size > bytes_max) throw dataCorrupted(`${name} has ${size} bytes, the limit is ${bytes_max}`);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw unreadable(path, reasonOf(error));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw dataCorrupted(`${name} is not UTF-8 text`, {}, { cause });
  }
}

const unreadable = (path: string, reason: string) =>
  unavailable(`${path} cannot be read (${reason})`, { path, reason });

/** A person's slip may make a parser fail in any way; whatever it is, the file is at fault. */
function faultOf(path: string, cause: unknown): DbxError {
  if (cause instanceof DbxError && cause.code === "unavailable") return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const details = cause instanceof DbxError ? cause.details : {};
  return dataCorrupted(`${reason} (${path})`, { ...details, path }, { cause });
}

const reasonOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);
