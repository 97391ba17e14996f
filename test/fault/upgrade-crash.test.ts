// Upgrades that are killed at each of their steps: a working executable is in its place, the former
// or the new one, and the next upgrade leaves nothing of the killed one.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { version } from "../../src/version.ts";
import { startReleases } from "../support/releases.ts";
import { reasonNotToTrace } from "../support/strace.ts";
import { installed, releaseOf, scriptSaying } from "../support/upgrades.ts";

const reason = reasonNotToTrace();
const next = "9.9.9";
const releases = { [`v${next}`]: releaseOf({ version: next, program: scriptSaying(next) }) };

/** What is called at each step for the first time, in their order; each is killed as it begins. */
const steps = [
  ["the folder beside it is made", "mkdir", version],
  ["what was unpacked is put onto the disk", "fsync", version],
  ["the former one gets a second name", "link,linkat", version],
  ["the new one takes its place", "rename,renameat,renameat2", version],
  ["the folder is removed", "unlink,unlinkat,rmdir", next],
] as const;

test.skipIf(reason !== null).each(steps)(
  `killed when %s, the executable works [${reason ?? "can trace"}]`,
  async (_, calls, survivor) => {
    await using server = await startReleases({ releases });
    using dbx = await installed();
    const env = { DBX_RELEASES_URL: server.url };
    const inject = ["-e", `trace=${calls}`, "-e", `inject=${calls}:signal=SIGKILL`];
    const command = ["strace", "-f", "-o", `${dbx.home}/trace`, ...inject, dbx.path];
    const killed = await dbx.run(["upgrade"], { env, command });
    expect(killed.code).not.toBe(0);
    expect((await dbx.run(["--version"])).stdout).toBe(`dbx ${survivor}\n`);
    if (survivor === next) return;
    expect((await dbx.run(["upgrade"], { env })).code).toBe(0);
    expect((await dbx.run(["--version"])).stdout).toBe(`dbx ${next}\n`);
    expect(readdirSync(dbx.bin)).toEqual(["dbx"]);
  },
);
