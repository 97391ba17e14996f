// Installs that are killed: whatever moment it was, the next one finds one version, whole, and a
// registry that says which.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir, type TempDir } from "../support/temp.ts";
import { zipOf } from "./archives.ts";
import { siteIn, target, type Site } from "./installing.ts";

let dir: TempDir;
let site: Site;
beforeEach(() => {
  dir = tempDir();
  site = siteIn(dir.path);
});
afterEach(() => dir[Symbol.dispose]());

const registryPath = () => join(site.plugins, "registry.json");

/** What is there now, by what the registry says of it. */
function told(): { readonly names: string[]; readonly program: string } {
  const [record] = site.registry() as { install_dir: string; binary_path: string }[];
  return {
    names: readdirSync(join(site.plugins, "search/1.0.0")),
    program: readFileSync(record?.binary_path ?? "", "utf8"),
  };
}

/** Lets everything else happen. */
const turn = () => new Promise((done) => setImmediate(done));

const moments = [
  ["the old files were moved away", { placed: false, recorded: false }, "one"],
  ["the new files were there", { placed: true, recorded: false }, "one"],
  ["the record was written", { placed: true, recorded: true }, "two"],
] as const;

test.each(moments)(
  "a replacement that was killed once %s is settled by the next install",
  async (_, { placed, recorded }, winner) => {
    const one = await site.install({ source: site.put("one", "one") });
    const registry = readFileSync(registryPath());
    const fresh = join(dir.path, "fresh");
    renameSync(site.place(), `${fresh}-one`);
    rmSync(registryPath());
    const two = await site.install({ source: site.put("two", "two") });
    // As the replacement of the one by the two would have left it.
    renameSync(`${fresh}-one`, `${site.place()}.before-${two.record.checksum}`);
    if (!placed) rmSync(site.place(), { recursive: true });
    if (!recorded) writeFileSync(registryPath(), registry);
    expect(one.record.checksum).not.toBe(two.record.checksum);

    const error = await site.refusal({ source: site.put("three", "three") });
    expect(error.code).toBe("already_exists");
    expect(told()).toEqual({ names: [target], program: winner });
  },
);

test("files without a record, left by a kill, are replaced without --force", async () => {
  mkdirSync(site.place(), { recursive: true });
  writeFileSync(join(site.place(), "search"), "half");
  await site.install({ source: site.put("one", "one") });
  expect(told()).toEqual({ names: [target], program: "one" });
});

test("installs killed at any moment leave one version, whole", async () => {
  const ballast = "x".repeat(200_000);
  const bundles = ["one", "two"].map((name) =>
    site.put(
      `${name}.zip`,
      zipOf([
        { name: "search", content: name },
        ...Array.from({ length: 20 }, (_, at) => ({ name: `f${at}`, content: name + ballast })),
      ]),
    ),
  );
  await site.install({ source: bundles[0] ?? "" });
  const seed = Date.now() % 1_000;
  process.stdout.write(`seed ${seed}\n`);
  for (let round = 0; round < 8; round++) {
    const source = bundles[(round + 1) % 2] ?? "";
    const request = { data_dir: site.data_dir, source, force: true };
    const child = Bun.spawn(
      [
        ...[process.execPath, "--no-env-file", join(import.meta.dir, "install-child.ts")],
        JSON.stringify(request),
      ],
      { stdout: "pipe", stderr: "inherit" },
    );
    // From the first trace of it, a little later each round.
    const stages = join(site.plugins, ".staging");
    const begun = () => readdirSync(stages).some((name) => name.startsWith("install-"));
    while (child.exitCode === null && !begun()) await turn();
    const until = Bun.nanoseconds() + round * 12e6 + seed * 1e3;
    while (child.exitCode === null && Bun.nanoseconds() < until) await turn();
    child.kill("SIGKILL");
    await child.exited;

    const error = await site.refusal({ source });
    expect(error.code).toBe("already_exists");
    const { names, program } = told();
    expect(names).toEqual([target]);
    expect(["one", "two"]).toContain(program);
    for (let at = 0; at < 20; at++) {
      expect(readFileSync(join(site.place(), `f${at}`), "utf8")).toBe(program + ballast);
    }
    for (const name of readdirSync(stages)) {
      if (name !== "lock.db") rmSync(join(stages, name), { recursive: true });
    }
  }
});
