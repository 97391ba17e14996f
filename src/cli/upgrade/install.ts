// From a release to the executable in its place: what it must be, the download, the check, the
// try. Until the last step nothing is touched outside of a folder of our own.

import { join } from "node:path";
import { failedPrecondition, notFound, unavailable } from "../../model/error.ts";
import type { System } from "../../system.ts";
import { target } from "../../version.ts";
import type { Shell } from "../shell.ts";
import { unpackProgram } from "./archive.ts";
import {
  checksumFiles,
  expectedDigest,
  manifestName,
  parseManifest,
  type Manifest,
} from "./checksums.ts";
import {
  openStage,
  replaceProgram,
  requireVersion,
  wayOf,
  type Site,
  type Stage,
} from "./place.ts";
import { chooseArchive, programName, requireTarget, type Choice } from "./platform.ts";
import type { Release } from "./releases.ts";
import type { Progress, Source } from "./source.ts";

export interface InstallOptions {
  readonly source: Source;
  readonly release: Release;
  readonly version: string;
  readonly site: Site;
  readonly env: Shell["env"];
  readonly now: System["now"];
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Throws where the release does not fit what is here. */
  readonly requireFit: (manifest: Manifest | null) => void;
}

export interface InstalledProgram {
  readonly asset: string;
  readonly sha256: string;
}

export async function installRelease(options: InstallOptions): Promise<InstalledProgram> {
  const { source, release, site, now } = options;
  const tag = release.tag_name;
  const urls = urlsOf(release);
  const triple = requireTarget(target);
  const choice = chooseArchive([...urls.keys()], { tag, triple });
  const url = urls.get(choice.name);
  if (url === undefined) throw notFound(`${choice.name} is not among the files of ${tag}`, { tag });
  const manifest = await manifestOf(options, urls);
  options.requireFit(manifest);
  const files: { file: string; text: string }[] = [];
  for (const file of checksumFiles(choice.name)) {
    const address = urls.get(file);
    if (address !== undefined) files.push({ file, text: await source.readFile(address) });
  }
  const expected = expectedDigest(choice.name, { files, manifest, tag });
  await using stage = await openStage(site, now());
  try {
    await fetchAndReplace(options, { stage, choice, url, expected });
  } catch (cause) {
    throw isOfSystem(cause) ? unwritable(site, cause) : cause;
  }
  return { asset: choice.name, sha256: expected };
}

/** A full disk, say. */
const isOfSystem = (cause: unknown): cause is Error =>
  cause instanceof Error && "syscall" in cause && "code" in cause;

const unwritable = ({ directory, path }: Site, cause: Error) =>
  unavailable(
    `cannot write in ${directory}: ${cause.message}; ${path} is as it was`,
    {
      directory,
    },
    { cause },
  );

const urlsOf = ({ assets = [] }: Release): ReadonlyMap<string, string> =>
  new Map(assets.map(({ name, browser_download_url }) => [name, browser_download_url]));

async function manifestOf(
  { source, version, release }: InstallOptions,
  urls: ReadonlyMap<string, string>,
): Promise<Manifest | null> {
  const url = urls.get(manifestName);
  if (url === undefined) return null;
  const manifest = parseManifest(await source.readFile(url));
  if (manifest === null || manifest.version === version) return manifest;
  throw failedPrecondition(
    `the release contradicts itself: its tag is ${release.tag_name}, ` +
      `and its ${manifestName} is of ${manifest.version}`,
    { tag: release.tag_name, version: manifest.version },
  );
}

async function fetchAndReplace(
  { source, version, site, env, progress, signal }: InstallOptions,
  plan: {
    readonly stage: Stage;
    readonly choice: Choice;
    readonly url: string;
    readonly expected: string;
  },
): Promise<void> {
  const { stage, choice, url, expected } = plan;
  const { name, kind } = choice;
  const archive = join(stage.path, "archive");
  const computed = await source.download(url, { to: archive, progress });
  if (computed !== expected) {
    throw failedPrecondition(
      `checksum mismatch: ${name} has SHA-256 ${computed}, and must have ${expected}; not installed`,
      { asset: name, expected, computed },
    );
  }
  const program = programName(process.platform);
  const staged = join(stage.path, program);
  const mode = site.mode | 0o100;
  await unpackProgram({ path: archive, kind, name, program, to: staged, mode, signal });
  const verify = (path: string) => requireVersion(path, { version, env });
  await verify(staged);
  signal.throwIfAborted();
  await replaceProgram(site, { staged, stage, way: wayOf(process.platform), verify });
}
