// The daemon's log file: mode 0600, put aside at midnight (UTC) and when it is large, and bounded
// in number.

import {
  closeSync,
  existsSync,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { limits } from "../model/limits.ts";

export const logPath = (data_dir: string): string => join(data_dir, "logs", "dbx.log");

export interface LogFile {
  readonly write: (line: string) => void;
  readonly close: () => void;
}

/**
 * Written synchronously: the last line before a crash is the one that matters. Never throws once it
 * is open: a full disk may cost lines, but must not change what the server answers.
 */
export function openLogFile(
  data_dir: string,
  now: () => string,
  bytes_max: number = limits.log_file_bytes_max,
): LogFile {
  const path = logPath(data_dir);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let day = now().slice(0, 10);
  let file = openForAppend(path);
  let bytes = fstatSync(file).size;
  if (bytes > 0 && fstatSync(file).mtime.toISOString().slice(0, 10) !== day) rotate();

  /** Out: whether the lines go to a new file from now on. */
  function rotate(): boolean {
    let fresh: number;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      putAside(path, now());
      fresh = openForAppend(path);
    } catch {
      // The old file is still open and takes the lines; the next line tries again. Closing it first
      // would leave a number here that may be a socket's or the database's by then.
      return false;
    }
    closeSync(file);
    file = fresh;
    bytes = 0;
    return true;
  }
  return {
    write(line) {
      const today = now().slice(0, 10);
      const due = bytes > 0 && (today !== day || bytes + line.length > bytes_max);
      if (!due || rotate()) day = today;
      try {
        bytes += writeSync(file, line);
      } catch {
        // Nobody is left to be told that the disk is full; whoever writes events finds out himself.
      }
    },
    close: () => closeSync(file),
  };
}

function openForAppend(path: string): number {
  const file = openSync(path, "a", 0o600);
  try {
    // An older file may have been made with another mode.
    fchmodSync(file, 0o600);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return file;
}

/** `dbx.log` becomes `dbx-20241201T172243-000.log`; the oldest beyond the bound are removed. */
function putAside(path: string, now: string): void {
  const folder = dirname(path);
  const stamp = now.slice(0, 19).replace(/[-:]/g, "");
  const aside = readdirSync(folder)
    .filter((name) => /^dbx-\d{8}T\d{6}-\d{3,}\.log$/.test(name))
    .sort();
  // After the last of the same second, not in the place of one that was removed: names keep order.
  const last = aside.findLast((name) => name.startsWith(`dbx-${stamp}-`));
  const count = last === undefined ? 0 : Number(last.slice(-"000.log".length, -".log".length)) + 1;
  const name = `dbx-${stamp}-${String(count).padStart(3, "0")}.log`;
  // Missing where an earlier attempt got this far, or somebody removed it.
  if (existsSync(path)) renameSync(path, join(folder, name));
  for (const old of [...aside, name].slice(0, -limits.log_files_max)) {
    rmSync(join(folder, old), { force: true });
  }
}
