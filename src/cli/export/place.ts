// Where an export goes: to one file or into a directory, as `--output` and what is there decide.
// Looks at the file system, changes nothing.

import { realpathSync, statSync } from "node:fs";
import { dirname, extname, join, sep } from "node:path";
import { invalidArgument } from "../../model/error.ts";

export interface Place {
  /** As it was written, so that messages speak of what the person knows. */
  readonly path: string;
  /** Whether the path is one file, the directory of them, or the one if it is the only one. */
  readonly holds: "one" | "many" | "either";
  /** A directory on the same file system that exists: unfinished files lie there. */
  readonly workplace: string;
}

export type Format = "csv" | "json";

interface PlaceOptions {
  readonly output: string;
  readonly format: Format;
  /** The archive's name where `output` is a directory; null where there is no archive. */
  readonly archive: string | null;
  /** Holds files that an export must never replace. */
  readonly data_dir: string;
}

/** Throws `invalid_argument` where nothing can go. */
export function placeOf(options: PlaceOptions): Place {
  if (options.output === "") {
    throw invalidArgument("--output must not be empty", { flag: "--output" });
  }
  const place = options.archive === null ? plainPlace(options) : archivePlace(options);
  if (isInside(place.workplace, options.data_dir)) {
    throw invalidArgument(
      `--output: ${options.output} lies in the data directory ${options.data_dir}; ` +
        "an export goes elsewhere",
      { flag: "--output", file: options.output },
    );
  }
  return place;
}

function plainPlace({ output, format }: PlaceOptions): Place {
  const found = look(output);
  if (found === "directory") return { path: output, holds: "many", workplace: output };
  if (found === "file") return { path: output, holds: "one", workplace: folderOf(output) };
  const asFile = !hasSlash(output) && extname(output).toLowerCase() === `.${format}`;
  return { path: output, holds: asFile ? "either" : "many", workplace: nearestFolder(output) };
}

function archivePlace({ output, archive }: PlaceOptions): Place {
  const isFolder = look(output) === "directory" || hasSlash(output);
  const path = isFolder ? join(output, `${archive}.zip`) : withZip(output);
  const found = look(path);
  if (found === "directory") throw unfit(path, "is a directory");
  const workplace = found === "file" ? folderOf(path) : nearestFolder(path);
  return { path, holds: "one", workplace };
}

/** The paths of the files with these names, in order. */
export function pathsOf(place: Place, names: readonly string[]): string[] {
  if (place.holds === "one" || (place.holds === "either" && names.length === 1)) {
    return [place.path];
  }
  return names.map((name) => join(place.path, name));
}

/** `backup` and `backup.csv` become `backup.zip`. */
function withZip(path: string): string {
  const extension = extname(path);
  return extension.toLowerCase() === ".zip"
    ? path
    : `${path.slice(0, path.length - extension.length)}.zip`;
}

/** A path with a slash at its end is a directory, even before there is one. */
const hasSlash = (path: string): boolean => path.endsWith("/") || path.endsWith(sep);

/** Devices and pipes are refused: a rename would put a file in the place of `/dev/null`. */
export function look(path: string): "file" | "directory" | "nothing" {
  const found = statOf(path);
  if (found === undefined) return "nothing";
  if (found.isDirectory()) return "directory";
  if (found.isFile()) return "file";
  throw unfit(path, "is neither a file nor a directory");
}

function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    // Something on the way is no directory; who looks for the nearest one finds out what.
    if (reason === "ENOTDIR") return undefined;
    throw unfit(path, `cannot be looked at (${reason})`);
  }
}

function nearestFolder(path: string): string {
  const folder = dirname(path);
  const found = look(folder);
  if (found === "directory") return folder;
  if (found === "file") throw unfit(folder, "is not a directory");
  return nearestFolder(folder);
}

/** A link is followed: it stays a link, and what it names is replaced. */
const folderOf = (file: string): string => dirname(realpathSync(file));

function isInside(folder: string, data_dir: string): boolean {
  if (look(data_dir) !== "directory") return false;
  const [inner, outer] = [realpathSync(folder), realpathSync(data_dir)];
  return inner === outer || inner.startsWith(`${outer}${sep}`);
}

const unfit = (path: string, words: string) =>
  invalidArgument(`--output: ${path} ${words}`, { flag: "--output", file: path });
