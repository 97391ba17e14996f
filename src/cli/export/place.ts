// Where an export goes: to one file or into a directory, as `--output` and what is there decide,
// and which files it then replaces. Looks at the file system, changes nothing.

import { accessSync, constants, lstatSync, realpathSync, statSync } from "node:fs";
import { dirname, extname, join, sep } from "node:path";
import { invalidArgument } from "../../model/error.ts";

export interface Place {
  /** As it was written, so that messages speak of what the person knows. */
  readonly path: string;
  /** Whether the path is one file, the directory of them, or the one if it is the only one. */
  readonly holds: "one" | "many" | "either";
  /** A directory on the same file system that exists: unfinished files lie there. */
  readonly workplace: string;
  /** Holds files that an export must never replace. */
  readonly data_dir: string;
}

type Spot = Omit<Place, "data_dir">;

export type Format = "csv" | "json";

interface PlaceOptions {
  readonly output: string;
  readonly format: Format;
  /** The archive's name where `output` is a directory; null where there is no archive. */
  readonly archive: string | null;
  readonly data_dir: string;
}

/** Throws `invalid_argument` where nothing can go. */
export function placeOf(options: PlaceOptions): Place {
  if (options.output === "") {
    throw invalidArgument("--output must not be empty", { flag: "--output" });
  }
  if (options.output === "-") {
    throw invalidArgument("--output names a file or a directory; an export has no way to stdout", {
      flag: "--output",
    });
  }
  const { archive, data_dir } = options;
  const spot = archive === null ? plainSpot(options) : archiveSpot({ ...options, archive });
  refuseInside(data_dir, { folder: spot.workplace, path: options.output });
  return { ...spot, data_dir };
}

function plainSpot({ output, format }: PlaceOptions): Spot {
  const found = look(output);
  if (found === "directory") return { path: output, holds: "many", workplace: output };
  refuseOtherFormat(output, format);
  if (found === "file") return { path: output, holds: "one", workplace: folderOf(output) };
  const asFile = !hasSlash(output) && extname(output).toLowerCase() === `.${format}`;
  return { path: output, holds: asFile ? "either" : "many", workplace: nearestFolder(output) };
}

/** Who writes `q.json` wants JSON, and neither CSV in a file called so nor a directory. */
function refuseOtherFormat(path: string, format: Format): void {
  const other = format === "csv" ? "json" : "csv";
  if (hasSlash(path) || extname(path).toLowerCase() !== `.${other}`) return;
  throw unfit(path, `is no name for ${format}; --format ${other} goes there, or end it in a slash`);
}

function archiveSpot({ output, archive }: PlaceOptions & { archive: string }): Spot {
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

/**
 * The files that are replaced at these paths: a link stays a link, and what it names is replaced.
 * Throws `invalid_argument` where one cannot take a file of the workplace; who asks for all of them
 * first has nothing to undo.
 */
export function targetsOf({ workplace, data_dir }: Place, paths: readonly string[]): string[] {
  const { dev } = statSync(workplace);
  const taken = new Map<string, string>();
  return paths.map((path) => {
    const found = look(path);
    if (found === "directory") throw unfit(path, "is a directory");
    const target = found === "file" ? realpathSync(path) : path;
    const folder = nearestFolder(target);
    refuseInside(data_dir, { folder, path });
    if (statSync(folder).dev !== dev) throw unfit(path, "is a link to another file system");
    accessSync(folder, constants.W_OK | constants.X_OK);
    const other = taken.get(target);
    if (other !== undefined) throw unfit(path, `is the same file as ${other}`);
    taken.set(target, path);
    return target;
  });
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
function look(path: string): "file" | "directory" | "nothing" {
  const found = statOf(path);
  if (found === undefined) return "nothing";
  if (found.isDirectory()) return "directory";
  if (found.isFile()) return "file";
  throw unfit(path, "is neither a file nor a directory");
}

function statOf(path: string) {
  const throwIfNoEntry = false;
  try {
    const found = statSync(path, { throwIfNoEntry });
    if (found !== undefined) return found;
    if (lstatSync(path, { throwIfNoEntry })?.isSymbolicLink() !== true) return undefined;
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    // Something on the way is no directory; who looks for the nearest one finds out what.
    if (reason === "ENOTDIR") return undefined;
    throw unfit(path, `cannot be looked at (${reason})`);
  }
  // A rename would put a file in the place of the link.
  throw unfit(path, "is a link to nothing");
}

function nearestFolder(path: string): string {
  const folder = dirname(path);
  const found = look(folder);
  if (found === "directory") return folder;
  if (found === "file") throw unfit(folder, "is not a directory");
  return nearestFolder(folder);
}

const folderOf = (file: string): string => dirname(realpathSync(file));

function refuseInside(data_dir: string, { folder, path }: { folder: string; path: string }): void {
  if (!isInside(folder, data_dir)) return;
  throw unfit(path, `lies in the data directory ${data_dir}; an export goes elsewhere`);
}

/** By what the folders are, not by their names: a directory may have several. */
function isInside(folder: string, data_dir: string): boolean {
  const outer = statOf(data_dir);
  for (let at = realpathSync(folder); ; at = dirname(at)) {
    const { dev, ino } = statSync(at);
    if (dev === outer?.dev && ino === outer.ino) return true;
    if (at === dirname(at)) return false;
  }
}

const unfit = (path: string, words: string) =>
  invalidArgument(`--output: ${path} ${words}`, { flag: "--output", file: path });
