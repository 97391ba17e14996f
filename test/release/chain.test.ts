// From the sources to a user's machine: what a release makes is what its own installer installs,
// and what the installed dbx upgrades to. Compressed lightly; all else is as it is published.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { executableIn, sha256 } from "../../scripts/build.ts";
import { releaseState, type ReleaseState } from "../../scripts/release-state.ts";
import { makeRelease } from "../../scripts/release.ts";
import { root } from "../../scripts/root.ts";
import { hostTarget } from "../../scripts/runtimes.ts";
import { assetOf } from "../../scripts/targets.ts";
import { run } from "../support/checkout.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { install } from "../support/installer.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const host = hostTarget();
const lacking =
  host === undefined ||
  process.platform !== "linux" ||
  ["git", "tar", "curl"].some((tool) => Bun.which(tool) === null) ||
  !Bun.spawnSync(["git", "rev-parse", "HEAD"], { cwd: root, stderr: "ignore" }).success;

describe.skipIf(lacking)("a release [needs Linux, a git checkout, tar and curl]", () => {
  let place: TempDir;
  let state: ReleaseState;
  let server: Releases;
  let compiled: string;
  const asset = host === undefined ? "" : `${assetOf(host)}.tar.gz`;
  const installed = () => join(place.path, "home/.local/bin/dbx");

  beforeAll(async () => {
    place = tempDir();
    if (host === undefined) throw new Error("unreachable: the tests are skipped");
    state = await releaseState(root);
    compiled = await compiledDbx();
    const file = executableIn(place.path, host);
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(compiled, file);
    const releases = join(place.path, "releases");
    mkdirSync(releases);
    await makeRelease({
      ...{ state, targets: [{ ...host, archives: ["tar.gz"] }], level: 1 },
      ...{ executables: place.path, out: join(releases, state.tag) },
    });
    server = await startReleases({ releases });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  const installIt = async () => {
    mkdirSync(join(place.path, "home"), { recursive: true });
    const response = await fetch(`${server.download}/${state.tag}/eventdbx-installer.sh`);
    return install({
      ...{ home: join(place.path, "home"), releases: server, script: await response.text() },
      args: ["--no-modify-path"],
    });
  };

  test("is refused by its own installer when one byte of the archive is another", async () => {
    server.faults.set(asset, { kind: "altered" });
    const { code, stderr } = await installIt();
    server.faults.delete(asset);
    expect(stderr).toContain(asset);
    expect(code).not.toBe(0);
    expect(existsSync(installed())).toBe(false);
  });

  test("is installed by its own installer, byte for byte what was compiled", async () => {
    const { code, stderr } = await installIt();
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    expect(sha256(installed())).toBe(sha256(compiled));
    const said = await run([installed(), "--version"], { cwd: place.path });
    expect(said.stdout).toBe(`dbx ${state.version}\n`);
  });

  test("is what the installed dbx upgrades to, and refuses when it is not what it says", async () => {
    const home = join(place.path, "home");
    const env = { ...compiledEnvironment(home), DBX_RELEASES_URL: server.url };
    const upgrade = () => run([installed(), "upgrade", "--force"], { cwd: home, env });
    expect(await upgrade()).toMatchObject({ code: 0, stderr: "" });
    expect(server.asked).toContain(`/download/${state.tag}/dist-manifest.json`);
    server.faults.set(asset, { kind: "altered" });
    const refused = await upgrade();
    expect(refused.stderr).toContain("SHA-256");
    expect(refused.code).not.toBe(0);
    expect(readFileSync(installed()).equals(readFileSync(compiled))).toBe(true);
  });
});
