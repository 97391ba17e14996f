// What scripts/release makes is what `dbx upgrade` takes: names, checksums, manifest and layout
// meet here, and nowhere else.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { executableIn } from "../../scripts/build.ts";
import { makeRelease } from "../../scripts/release.ts";
import { releaseState } from "../../scripts/release-state.ts";
import { root } from "../../scripts/root.ts";
import { startReleases } from "../support/releases.ts";
import { tempDir } from "../support/temp.ts";
import { asset, installed, scriptSaying, target } from "../support/upgrades.ts";

const next = "9.9.9";
const reason = ["xz", "git"].find((tool) => Bun.which(tool) === null) ?? null;

test.skipIf(reason !== null)(
  `a release becomes the executable of those who upgrade [${reason ?? "xz and git"}]`,
  async () => {
    using dir = tempDir();
    const executable = executableIn(join(dir.path, "executables"), target);
    mkdirSync(dirname(executable), { recursive: true });
    writeFileSync(executable, scriptSaying(next), { mode: 0o755 });
    const state = { ...(await releaseState(root)), version: next, tag: `v${next}` };
    await makeRelease({
      ...{ state, targets: [target], level: 0 },
      executables: join(dir.path, "executables"),
      out: join(dir.path, "releases", state.tag),
    });
    await using server = await startReleases({ releases: join(dir.path, "releases") });
    const env = { DBX_RELEASES_URL: server.url };
    const append = ["aggregate", "apply", "person", "p-1", "born", "--field", "at=home"];
    for (const archive of [asset, asset.replace(".tar.gz", ".tar.xz")]) {
      using dbx = await installed();
      expect((await dbx.run(append)).code).toBe(0);
      const ran = await dbx.run(["upgrade", "--json"], { env });
      expect(ran.stderr).toBe("");
      expect(JSON.parse(ran.stdout)).toMatchObject({ upgraded: true, to: next, asset: archive });
      expect((await dbx.run(["--version"])).stdout).toBe(`dbx ${next}\n`);
      // As releases were before there was one that needs no program to be unpacked.
      server.faults.set(asset, { kind: "unlisted" });
    }
    const asked = new Set(server.asked.map((path) => path.split("/").at(-1)));
    expect(asked).toContain("sha256.sum");
    expect(asked).toContain("dist-manifest.json");
  },
  60_000,
);
