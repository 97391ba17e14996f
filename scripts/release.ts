/**
 * Makes every file of a release into dist/release: executables for every platform, packed, with
 * checksums, the source, a bill of materials, the notes and a manifest. All of it or nothing: after
 * a failure it is run again, and gives the same bytes. It publishes nothing.
 * Run: scripts/release [--draft] [--target NAME…] [--level 0-9] [--executables DIR] [--out DIR]
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { mainFormat } from "../src/storage/sqlite/migrations.ts";
import { buildTarget, executableIn, sha256 } from "./build.ts";
import { stampInstaller } from "./installer-stamp.ts";
import { msiOf } from "./msi.ts";
import { gzipOf, tarOf, xzOf, zipOf, type Packed, type PackOptions } from "./pack.ts";
import { releaseState, type ReleaseState } from "./release-state.ts";
import { root } from "./root.ts";
import { sbomOf } from "./sbom.ts";
import {
  assetOf,
  documents,
  installers,
  pages,
  targetOf,
  targets,
  type Target,
} from "./targets.ts";

export interface ReleaseOptions {
  readonly state: ReleaseState;
  readonly targets: readonly Target[];
  /** Of compression: 9 takes three times as long as 6 and saves 3 % with xz, nothing with gzip. */
  readonly level: number;
  /** A folder for each triple; files that are missing there are built. */
  readonly executables: string;
  readonly out: string;
}

/** Asked for its digest, by whoever downloads a file and by every mirror. */
export const checksumLine = (name: string, sum: string): string => `${sum} *${name}\n`;

interface Asset {
  readonly name: string;
  /** The triple; null for what is the same everywhere. */
  readonly target: string | null;
}

export async function makeRelease(options: ReleaseOptions): Promise<string[]> {
  const { state, out } = options;
  const folder = `${out}.${process.pid}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    const assets: Asset[] = [];
    const shared = sharedFiles();
    for (const target of options.targets) {
      for (const name of await pack(folder, { ...options, target, shared })) {
        assets.push({ name, target: target.triple });
      }
    }
    const put = (name: string, bytes: Uint8Array | string) => {
      writeFileSync(join(folder, name), bytes);
      assets.push({ name, target: null });
    };
    put("source.tar.gz", await sourceOf(options));
    for (const name of installers) put(name, installerOf(folder, { name, state, assets }));
    const sbom = sbomOf({ root, ...state });
    put("eventdbx.cdx.json", `${JSON.stringify(sbom, null, 2)}\n`);
    writeChecksums(folder, assets);
    writeFileSync(join(folder, "dist-manifest.json"), manifestOf(folder, { state, assets }));
    writeFileSync(join(folder, "notes.md"), state.notes);
    rmSync(out, { recursive: true, force: true });
    renameSync(folder, out);
    return assets.map(({ name }) => name);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The same in every archive: read and made once. */
function sharedFiles(): Packed[] {
  const made = pages.map(({ name, words }) => {
    const bun = [process.execPath, "--no-env-file", join(root, "src/main.ts")];
    const ran = Bun.spawnSync([...bun, ...words], { stdin: "ignore", env: {} });
    if (!ran.success) throw new Error(`dbx ${words.join(" ")} failed: ${ran.stderr.toString()}`);
    return { name, bytes: ran.stdout, executable: false };
  });
  const kept = documents.map((name) => ({
    ...{ name, bytes: readFileSync(join(root, name)), executable: false },
  }));
  return [...kept, ...made];
}

interface PackedTarget extends ReleaseOptions {
  readonly target: Target;
  readonly shared: readonly Packed[];
}

/** Out: the names of the archives. */
async function pack(folder: string, options: PackedTarget): Promise<string[]> {
  const { target, shared, state, level, executables } = options;
  const file = executableIn(executables, target);
  if (!existsSync(file)) await buildTarget(target, executables);
  const program = { name: target.executable, bytes: readFileSync(file), executable: true };
  const files = [program, ...shared];
  const { seconds } = state;
  const asset = assetOf(target);
  for (const archive of target.archives) {
    const { version } = state;
    const bytes =
      archive === "msi"
        ? await msiOf({ program: file, version, seconds })
        : await packers[archive](files, { folder: asset, seconds, level });
    writeFileSync(join(folder, `${asset}.${archive}`), bytes);
    console.error(`${asset}.${archive}  ${(bytes.length / 1e6).toFixed(1)} MB`);
  }
  return target.archives.map((archive) => `${asset}.${archive}`);
}

type Packer = (
  files: readonly Packed[],
  options: PackOptions & { readonly folder: string },
) => Promise<Uint8Array>;

const packers: Readonly<Record<Exclude<Target["archives"][number], "msi">, Packer>> = {
  "tar.xz": (files, options) => xzOf(tarOf(files, options), options.level),
  "tar.gz": async (files, options) => gzipOf(tarOf(files, options), options.level),
  zip: zipOf,
};

/** With the digests of the archives inside, so that whoever trusts it trusts nothing else. */
function installerOf(
  folder: string,
  { name, state, assets }: { name: string; state: ReleaseState; assets: readonly Asset[] },
): string {
  const archives = assets.filter(({ target }) => target !== null);
  const checksums = Object.fromEntries(
    archives.map((asset) => [asset.name, sha256(join(folder, asset.name))]),
  );
  return stampInstaller(readFileSync(join(root, "scripts", name), "utf8"), {
    ...{ tag: state.tag, checksums },
  });
}

/** What git has of the commit, so nothing that lies about. */
async function sourceOf({ state, level }: ReleaseOptions): Promise<Uint8Array> {
  const prefix = `--prefix=eventdbx-${state.version}/`;
  const child = Bun.spawn(["git", "archive", "--format=tar", prefix, state.commit], {
    ...{ cwd: root, stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  });
  const tar = await child.stdout.bytes();
  if ((await child.exited) !== 0) throw new Error("git archive failed");
  return gzipOf(tar, level);
}

function writeChecksums(folder: string, assets: readonly Asset[]): void {
  const lines = assets.map(({ name }) => checksumLine(name, sha256(join(folder, name))));
  for (const [index, { name }] of assets.entries()) {
    writeFileSync(join(folder, `${name}.sha256`), lines[index] ?? "");
  }
  writeFileSync(join(folder, "sha256.sum"), lines.join(""));
}

/** What `dbx upgrade` reads before it takes a file, and mirrors read to know what there is. */
function manifestOf(
  folder: string,
  { state, assets }: { state: ReleaseState; assets: readonly Asset[] },
): string {
  const { version, tag, commit } = state;
  const artifacts = assets.map(({ name, target }) => {
    const path = join(folder, name);
    return { name, target, sha256: sha256(path), bytes: Bun.file(path).size };
  });
  const data_format = mainFormat.migrations.length;
  const manifest = { format: 1, version, tag, commit, data_format, artifacts };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      draft: { type: "boolean", default: false },
      target: { type: "string", multiple: true, default: [] },
      level: { type: "string", default: "6" },
      executables: { type: "string", default: join(root, "dist", "targets") },
      out: { type: "string", default: join(root, "dist", "release") },
    },
  });
  if (!/^[0-9]$/.test(values.level)) throw new Error(`--level is 0 to 9, not ${values.level}`);
  const state = await releaseState(root);
  for (const fault of state.faults) console.error(`not to be released: ${fault}`);
  if (state.faults.length > 0 && !values.draft) {
    console.error("mend that, or say --draft to make the files only to look at them");
    return 1;
  }
  const chosen = values.target.length === 0 ? targets : values.target.map(targetOf);
  const executables = resolve(values.executables);
  // Files of another state of the sources must not get into this release.
  if (executables === join(root, "dist", "targets")) {
    for (const target of chosen) {
      rmSync(dirname(executableIn(executables, target)), { recursive: true, force: true });
    }
  }
  const out = resolve(values.out);
  const names = await makeRelease({
    ...{ state, targets: chosen, level: Number(values.level), executables, out },
  });
  console.log(`${out}: ${names.length} files of ${state.tag}, with their checksums`);
  if (!values.draft) console.log(`next: git tag ${state.tag} && git push origin ${state.tag}`);
  return 0;
}

if (import.meta.main) process.exitCode = await main();
