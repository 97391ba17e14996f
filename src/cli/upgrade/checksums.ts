// What a release says that a file of it must be: beside the file, in one list of all, and in its
// manifest. Whatever of these there is must agree, and without any of them nothing is installed.

import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../../api/decode.ts";
import { fromJson } from "../../api/json.ts";
import { canonicalize } from "../../model/canonical.ts";
import { DbxError, failedPrecondition } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";

export const manifestName = "dist-manifest.json";
const listName = "sha256.sum";

const Digest = Type.String({ pattern: "^[0-9a-f]{64}$" });

/** Only what is needed; releases say more. */
const Manifest = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  version: Type.String(),
  data_format: Type.Integer({ minimum: 1 }),
  artifacts: Type.Array(Type.Object({ name: Type.String(), sha256: Digest }), {
    maxItems: limits.upgrade_assets_max,
  }),
});
export type Manifest = Static<typeof Manifest>;

/** Null for the manifest of EventDBX 1, which has another shape and knows no data format. */
export function parseManifest(text: string): Manifest | null {
  try {
    return decode(Manifest, fromJson(Manifest, canonicalize(text)));
  } catch (error) {
    if (error instanceof DbxError) return null;
    throw error;
  }
}

/** The files of a release that may say something of `asset`, besides the manifest. */
export const checksumFiles = (asset: string): readonly string[] => [`${asset}.sha256`, listName];

/**
 * In: lines of `<64 hex> *<name>`, or the digest alone where the file is about one asset only.
 * Out: what they say of the asset; null for nothing.
 */
export function digestIn(
  text: string,
  { file, asset }: { readonly file: string; readonly asset: string },
): string | null {
  const found = new Set<string>();
  for (const line of text.split("\n")) {
    const [, digest = "", name = ""] = /^([0-9a-f]{64})(?:\s+\*?(\S.*?))?\s*$/i.exec(line) ?? [];
    const isMeant = name === "" ? file === `${asset}.sha256` : name === asset;
    if (digest !== "" && isMeant) found.add(digest.toLowerCase());
  }
  const [only, ...others] = found;
  if (others.length > 0)
    throw disagreeing(
      asset,
      [...found].map((digest) => ({ file, digest })),
    );
  return only ?? null;
}

interface Said {
  readonly file: string;
  readonly digest: string;
}

/** What the asset must be. Throws where nothing says it, or not everything the same. */
export function expectedDigest(
  asset: string,
  {
    files,
    manifest,
    tag,
  }: {
    readonly files: readonly { readonly file: string; readonly text: string }[];
    readonly manifest: Manifest | null;
    readonly tag: string;
  },
): string {
  const said: Said[] = [];
  for (const { file, text } of files) {
    const digest = digestIn(text, { file, asset });
    if (digest !== null) said.push({ file, digest });
  }
  for (const { name, sha256 } of manifest?.artifacts ?? []) {
    if (name === asset) said.push({ file: manifestName, digest: sha256 });
  }
  const [first] = said;
  if (first === undefined) {
    throw failedPrecondition(
      `release ${tag} does not say what ${asset} must be: ` +
        `no SHA-256 of it is in ${[...checksumFiles(asset), manifestName].join(", ")}; not installed`,
      { tag, asset },
    );
  }
  if (said.some(({ digest }) => digest !== first.digest)) throw disagreeing(asset, said);
  return first.digest;
}

const disagreeing = (asset: string, said: readonly Said[]) =>
  failedPrecondition(
    `the release contradicts itself about ${asset}; not installed: ` +
      said.map(({ file, digest }) => `${file} says ${digest}`).join(", "),
    { asset },
  );
