/**
 * The platforms that dbx is released for, as data: what Bun calls each, what the rest of the world
 * calls it, how its archive is made, and what file(1) must say of the executable. Build, release,
 * tests and the workflows all go by this table.
 */

export interface Target {
  /** What `bun build --target` takes. */
  readonly bun: string;
  readonly triple: string;
  readonly executable: "dbx" | "dbx.exe";
  /** The first one is what people are pointed to. */
  readonly archives: readonly ("tar.xz" | "tar.gz" | "zip" | "msi")[];
  /** What file(1) says of the executable. */
  readonly file: RegExp;
  /**
   * Bun's name for the same on older processors. At the pinned version both are the same bytes;
   * the build stops where they are not, because then a target for them is missing here.
   */
  readonly baseline?: string;
}

const unix = { executable: "dbx", archives: ["tar.xz", "tar.gz"] } as const;
const windows = { executable: "dbx.exe", archives: ["zip"] } as const;

export const targets: readonly Target[] = [
  {
    ...{ bun: "bun-linux-x64", triple: "x86_64-unknown-linux-gnu", ...unix },
    ...{ file: /ELF 64-bit LSB .*x86-64.*ld-linux-x86-64/, baseline: "bun-linux-x64-baseline" },
  },
  {
    ...{ bun: "bun-linux-arm64", triple: "aarch64-unknown-linux-gnu", ...unix },
    file: /ELF 64-bit LSB .*ARM aarch64.*ld-linux-aarch64/,
  },
  {
    ...{ bun: "bun-linux-x64-musl", triple: "x86_64-unknown-linux-musl", ...unix },
    ...{ file: /ELF 64-bit LSB .*x86-64.*ld-musl-x86_64/, baseline: "bun-linux-x64-musl-baseline" },
  },
  {
    ...{ bun: "bun-linux-arm64-musl", triple: "aarch64-unknown-linux-musl", ...unix },
    file: /ELF 64-bit LSB .*ARM aarch64.*ld-musl-aarch64/,
  },
  {
    ...{ bun: "bun-darwin-x64", triple: "x86_64-apple-darwin", ...unix },
    file: /Mach-O 64-bit x86_64 executable/,
  },
  {
    ...{ bun: "bun-darwin-arm64", triple: "aarch64-apple-darwin", ...unix },
    file: /Mach-O 64-bit arm64 executable/,
  },
  {
    ...{ bun: "bun-windows-x64", triple: "x86_64-pc-windows-msvc", ...windows },
    archives: ["zip", "msi"],
    ...{ file: /PE32\+ executable \(console\) x86-64/, baseline: "bun-windows-x64-baseline" },
  },
  {
    ...{ bun: "bun-windows-arm64", triple: "aarch64-pc-windows-msvc", ...windows },
    file: /PE32\+ executable \(console\) Aarch64/,
  },
];

/** By its triple or by Bun's name, with or without `bun-`. Throws where there is none. */
export function targetOf(name: string): Target {
  const found = targets.find(({ triple, bun }) => [triple, bun, bun.slice(4)].includes(name));
  if (found !== undefined) return found;
  const known = targets.map(({ triple }) => triple).join(", ");
  throw new Error(`no target ${name}; there are: ${known}`);
}

/** What the assets of a release are called, before the ending. */
export const assetOf = ({ triple }: Target): string => `eventdbx-${triple}`;

/** What lies in an archive beside the executable, made by running dbx itself. */
export const pages: readonly { readonly name: string; readonly words: readonly string[] }[] = [
  { name: "THIRD-PARTY-LICENSES.txt", words: ["licenses"] },
  { name: "completions/dbx.bash", words: ["completions", "bash"] },
  { name: "completions/_dbx", words: ["completions", "zsh"] },
  { name: "completions/dbx.fish", words: ["completions", "fish"] },
  { name: "completions/dbx.ps1", words: ["completions", "powershell"] },
  { name: "man/dbx.1", words: ["man"] },
];

/** And what is taken from the checkout as it is. */
export const documents = ["LICENSE", "README.md"] as const;

/** Under scripts/; each release writes its tag and checksums into them. */
export const installers = ["eventdbx-installer.sh", "eventdbx-installer.ps1"] as const;
