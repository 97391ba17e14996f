// Which of a release's files is for this machine: a build knows what it was made for, the C library
// included.

import { failedPrecondition, notFound } from "../../model/error.ts";

/** In: what this dbx was built for; empty where nobody knows. Throws then. */
export function requireTarget(target: string): string {
  if (target !== "") return target;
  const { platform, arch } = process;
  throw failedPrecondition(
    `upgrades are not supported on this platform (${platform}/${arch}); build dbx from its source`,
    { platform, arch },
  );
}

export type ArchiveKind = "tar.gz" | "tar.xz" | "zip";

export interface Choice {
  readonly name: string;
  readonly kind: ArchiveKind;
}

/** Archives for it, the best first: gzip needs no program of the system. */
function archivesFor(triple: string): readonly Choice[] {
  const kinds: readonly ArchiveKind[] = triple.includes("windows") ? ["zip"] : ["tar.gz", "tar.xz"];
  return kinds.map((kind) => ({ name: `eventdbx-${triple}.${kind}`, kind }));
}

/** The first of them that the release has. */
export function chooseArchive(
  names: readonly string[],
  { tag, triple }: { readonly tag: string; readonly triple: string },
): Choice {
  const choices = archivesFor(triple);
  const found = choices.find(({ name }) => names.includes(name));
  if (found !== undefined) return found;
  const there = names.filter((name) => /\.(?:tar\.gz|tar\.xz|zip)$/.test(name));
  throw notFound(
    `release ${tag} has no file for this platform: ` +
      `${choices.map(({ name }) => name).join(" or ")} is not among its files`,
    { tag, triple, archives: there },
  );
}

export const programName = (platform: string): string => (platform === "win32" ? "dbx.exe" : "dbx");

/** The release's own installer, and the line that runs it. */
export function installerFor(platform: string): {
  readonly name: string;
  readonly line: (url: string) => string;
  readonly via: string;
} {
  if (platform === "win32") {
    const line = (url: string) => `irm ${quoted(url)} | iex`;
    return { name: "eventdbx-installer.ps1", line, via: "via PowerShell" };
  }
  const line = (url: string) => {
    const strict = url.startsWith("https:") ? "--proto '=https' --tlsv1.2 " : "";
    return `curl ${strict}-LsSf ${quoted(url)} | sh`;
  };
  return { name: "eventdbx-installer.sh", line, via: "via" };
}

/** As both shells read it back, whatever a list of releases may have in it. */
const quoted = (url: string): string =>
  /^[\w@%+=:,./-]+$/.test(url) ? url : `'${url.replaceAll("'", "%27")}'`;
