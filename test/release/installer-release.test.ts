// The installers as a release has them, against that very release: what makes its files, what
// stamps the scripts and what the scripts ask for fit together. The program is a stand-in.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { executableIn } from "../../scripts/build.ts";
import { releaseState } from "../../scripts/release-state.ts";
import { makeRelease } from "../../scripts/release.ts";
import { root } from "../../scripts/root.ts";
import { targetOf } from "../../scripts/targets.ts";
import { run } from "../support/checkout.ts";
import { standIn, triple } from "../support/installer.ts";
import { openGrammar } from "../support/powershell.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const lacking =
  ["git", "curl", "xz"].some((tool) => Bun.which(tool) === null) ||
  !Bun.spawnSync(["git", "rev-parse", "HEAD"], { cwd: root, stderr: "ignore" }).success;
const windows = targetOf("windows-x64");

describe.skipIf(lacking)("a release [needs a git checkout, curl and xz]", () => {
  let dir: TempDir;
  let releases: Releases;
  let tag: string;
  let out: string;

  beforeAll(async () => {
    dir = tempDir();
    const state = await releaseState(root);
    tag = state.tag;
    out = join(dir.path, "releases", tag);
    const chosen = [targetOf(triple), windows];
    for (const target of chosen) {
      const file = executableIn(dir.path, target);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, standIn(state.version));
    }
    await makeRelease({ state, targets: chosen, level: 1, executables: dir.path, out });
    releases = await startReleases({ releases: join(dir.path, "releases") });
  });
  afterAll(async () => {
    await releases[Symbol.asyncDispose]();
    dir[Symbol.dispose]();
  });

  test("is installed by its own script, which asks for nothing but the archive", async () => {
    const home = join(dir.path, "home");
    mkdirSync(home);
    const folder = `${releases.download}/${tag}`;
    const asked = releases.asked.length;
    const installed = await run(["sh", "-c", `curl -LsSf ${folder}/eventdbx-installer.sh | sh`], {
      cwd: home,
      env: { PATH: process.env["PATH"], HOME: home, EVENTDBX_DOWNLOAD_URL: folder },
    });

    expect(installed).toMatchObject({ code: 0, stdout: "" });
    const dbx = join(home, ".local/bin/dbx");
    expect((await run([dbx, "--version"], { cwd: home })).stdout).toBe(`dbx ${tag.slice(1)}\n`);
    // The checksum came with the script: nothing else was asked for it.
    expect(releases.asked.slice(asked)).toEqual([
      `/download/${tag}/eventdbx-installer.sh`,
      `/download/${tag}/eventdbx-${triple}.tar.xz`,
    ]);
  });

  test("is not installed by it once a file of it is another one", async () => {
    const home = join(dir.path, "wary");
    mkdirSync(home);
    const archive = `eventdbx-${triple}.tar.xz`;
    releases.faults.set(archive, { kind: "altered" });
    const env = { PATH: process.env["PATH"], HOME: home, DBX_RELEASES_URL: releases.url };
    const ran = await run(["sh", join(out, "eventdbx-installer.sh")], { cwd: home, env });
    expect(ran.stderr).toContain(`checksum mismatch: ${archive}`);
    expect([ran.code, existsSync(join(home, ".local/bin/dbx"))]).toEqual([1, false]);
  });

  test("has a script for PowerShell that knows the archive of Windows", async () => {
    const stamped = readFileSync(join(out, "eventdbx-installer.ps1"), "utf8");
    const name = `eventdbx-${windows.triple}.zip`;
    const sum = new Bun.CryptoHasher("sha256").update(readFileSync(join(out, name))).digest("hex");
    expect(stamped).toContain(`\n${sum} *${name}\n`);
    expect(stamped).toContain(`$ReleaseTag = '${tag}'\n`);
    expect((await openGrammar())(stamped).faults).toEqual([]);
  });
});
