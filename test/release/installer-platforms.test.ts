// Which file scripts/eventdbx-installer.sh takes for which machine. The machine is what uname,
// getconf, ldd and sysctl say, and here they say what the test wants.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assetOf, targets } from "../../scripts/targets.ts";
import { install, pathWith, lacking } from "../support/installer.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

interface Machine {
  readonly system: string;
  readonly processor: string;
  /** What programs print; one that is not here fails. */
  readonly says?: Readonly<Partial<Record<"getconf" | "ldd" | "sysctl", string>>>;
}

let dir: TempDir;
let releases: Releases;
beforeAll(async () => {
  dir = tempDir();
  mkdirSync(join(dir.path, "person/home"), { recursive: true });
  releases = await startReleases({ releases: { "v2.0.0": {} } });
});
afterAll(async () => {
  await releases[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

/** What a machine is told, and what it asked for. */
async function on({ system, processor, says = {} }: Machine) {
  const path = pathWith(dir.path, ["curl", "gzip", "sha256sum"]);
  const program = (name: string, text: string) => {
    rmSync(join(path, name), { force: true });
    writeFileSync(join(path, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  };
  program("uname", `case $1 in -s) echo '${system}' ;; -m) echo '${processor}' ;; esac`);
  for (const name of ["getconf", "ldd", "sysctl"] as const) {
    program(name, says[name] ?? "exit 1");
  }
  const asked = releases.asked.length;
  const env = { PATH: path, DBX_RELEASES_URL: "", EVENTDBX_DOWNLOAD_URL: releases.download };
  const home = join(dir.path, "person/home");
  const { code, stderr } = await install({ home, releases, env, shell: ["/bin/sh"] });
  return { code, stderr, asked: releases.asked.slice(asked).map((url) => url.split("/").at(-1)) };
}

const glibc = { getconf: "case $1 in GNU_LIBC_VERSION) echo glibc 2.36 ;; *) echo 64 ;; esac" };
const musl = {
  getconf: "case $1 in LONG_BIT) echo 64 ;; *) exit 1 ;; esac",
  ldd: "echo 'musl libc (x86_64)' >&2; exit 1",
};
const machines: readonly (readonly [string, Machine])[] = [
  ["x86_64-unknown-linux-gnu", { system: "Linux", processor: "x86_64", says: glibc }],
  ["x86_64-unknown-linux-gnu", { system: "Linux", processor: "amd64", says: glibc }],
  ["aarch64-unknown-linux-gnu", { system: "Linux", processor: "aarch64", says: glibc }],
  ["x86_64-unknown-linux-musl", { system: "Linux", processor: "x86_64", says: musl }],
  ["aarch64-unknown-linux-musl", { system: "Linux", processor: "aarch64", says: musl }],
  ["x86_64-apple-darwin", { system: "Darwin", processor: "x86_64" }],
  ["aarch64-apple-darwin", { system: "Darwin", processor: "arm64" }],
  // A translated shell on an Apple processor.
  ["aarch64-apple-darwin", { system: "Darwin", processor: "x86_64", says: { sysctl: "echo 1" } }],
];

describe.skipIf(lacking)("a machine is told apart [needs curl]", () => {
  test.each(machines)("%s by %j", async (triple, machine) => {
    const { stderr, asked } = await on(machine);
    expect(asked).toEqual([`eventdbx-${triple}.tar.gz`]);
    expect(stderr).toContain(`has no file for ${triple}`);
  });

  test("for each target of a release that is no Windows", () => {
    const others = targets.filter(({ executable }) => executable === "dbx");
    const known = new Set(machines.map(([triple]) => `eventdbx-${triple}`));
    expect([...known].sort()).toEqual(others.map(assetOf).sort());
  });

  const strangers: readonly (readonly [string, Machine])[] = [
    ["there is no dbx for FreeBSD", { system: "FreeBSD", processor: "amd64" }],
    ["there is no dbx for the processor riscv64", { system: "Linux", processor: "riscv64" }],
    ["there is no dbx for the processor i686", { system: "Linux", processor: "i686" }],
    [
      "is one of 32 bits, for which there is no dbx",
      { system: "Linux", processor: "x86_64", says: { getconf: "echo 32" } },
    ],
    ["this is Windows, for which there is another script", { system: "MINGW64_NT", processor: "" }],
  ];
  test.each(strangers)("%s: %j", async (message, machine) => {
    const { code, stderr, asked } = await on(machine);
    expect(stderr).toContain(`error: `);
    expect(stderr).toContain(message);
    expect({ code, asked }).toEqual({ code: 1, asked: [] });
  });
});
