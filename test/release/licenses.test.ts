// What others wrote and dbx ships: known by name, on agreed terms, with its text inside the file.

import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { workerEntries } from "../../scripts/sources.ts";
import { gatherLicenses, lockedPackages } from "../../src/cli/licenses.ts";
import { dbx } from "../support/cli.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { tempDir } from "../support/temp.ts";

const canHide = process.platform === "linux" && process.getuid?.() === 0 && Bun.which("unshare");

interface Row {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

describe("what dbx is made of", () => {
  test("is known for every module that the bundler puts into the file", async () => {
    using place = tempDir();
    const metafile = join(place.path, "meta.json");
    const built = Bun.spawnSync(
      [
        ...[process.execPath, "--no-env-file", "build", "--target=bun", "--splitting"],
        ...["--outdir", join(place.path, "out"), `--metafile=${metafile}`],
        ...["src/main.ts", ...workerEntries(root)],
      ],
      { cwd: root },
    );
    expect(built.stderr.toString()).toBe("");
    const { inputs }: { inputs: Record<string, unknown> } = await Bun.file(metafile).json();
    const packages = new Set(
      Object.keys(inputs).flatMap((path) => {
        const [, last] = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
        return last ?? [];
      }),
    );
    expect(packages.size).toBeGreaterThan(30);
    const known = gatherLicenses(root).map(({ name }) => name);
    expect([...packages].filter((name) => !known.includes(name))).toEqual([]);
  });

  test("has a text each, and its makers where no text was published", () => {
    const all = gatherLicenses(root);
    expect(all.filter(({ text }) => text.length < 500).map(({ name }) => name)).toEqual([]);
    const texts = Object.fromEntries(all.map(({ name, text }) => [name, text]));
    expect(texts["@tokenizer/token"]).toMatch(/^MIT License\n\nCopyright \(c\) Borewit\n\nPermis/);
    expect(texts["bun"]).toContain("JavaScriptCore");
    expect(texts["elysia"]).toContain("saltyAom");
  });

  test.each([
    ["without a text", { license: "ISC" }, "no text of its license ISC"],
    ["on terms nobody agreed to", { license: "AGPL-3.0" }, "agreed to the license AGPL-3.0"],
    ["that does not say its terms", {}, "agreed to the license of none"],
  ])("stops a build at a package %s", (_name, manifest, words) => {
    using place = tempDir();
    const folder = join(place.path, "node_modules/left");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    const lock = {
      workspaces: { "": { dependencies: { left: "1.0.0" } } },
      packages: { left: ["left@1.0.0", "", {}, "sha512-AAAA"] },
    };
    writeFileSync(join(place.path, "bun.lock"), JSON.stringify(lock));
    expect(() => gatherLicenses(place.path)).toThrow(words);
  });

  test("is found where one package hides another of the same name", () => {
    using place = tempDir();
    const lock = {
      workspaces: { "": { dependencies: { "@a/b": "1.0.0", c: "1.0.0" } } },
      packages: {
        "@a/b": ["@a/b@1.0.0", "", { dependencies: { c: "2" } }, "sha512-AAAA"],
        "@a/b/c": ["c@2.0.0", "", { peerDependencies: { d: "1", e: "1" }, optionalPeers: ["e"] }],
        c: ["c@1.0.0", "", {}, "sha512-AAAA"],
        d: ["d@1.0.0", "", {}, "sha512-AAAA"],
        e: ["e@1.0.0", "", {}, "sha512-AAAA"],
      },
    };
    writeFileSync(join(place.path, "bun.lock"), JSON.stringify(lock));
    const found = [...lockedPackages(place.path).values()];
    expect(found.map(({ name, version, folder }) => `${folder} ${name} ${version}`).sort()).toEqual(
      [
        "node_modules/@a/b @a/b 1.0.0",
        "node_modules/@a/b/node_modules/c c 2.0.0",
        "node_modules/c c 1.0.0",
        "node_modules/d d 1.0.0",
      ],
    );
  });
});

describe("dbx licenses", () => {
  test("lists from a checkout what the build puts into the file", async () => {
    using place = tempDir();
    const { stdout, stderr, code } = await dbx(["licenses", "--json"], { home: place.path });
    expect(stderr).toBe("");
    const expected = gatherLicenses(root).map(({ name, version, license }) => ({
      ...{ name, version, license },
    }));
    expect(JSON.parse(stdout)).toEqual(expected);
    expect(code).toBe(0);
  });

  test.skipIf(!canHide)("works from the file alone [needs root and unshare on Linux]", async () => {
    using place = tempDir();
    const file = join(place.path, "dbx");
    cpSync(await compiledDbx(), file);
    // In a mount namespace of its own the packages are gone, and so is the checkout's source.
    const script =
      'mount -t tmpfs none "$1/node_modules" && mount -t tmpfs none "$1/src" && shift && exec "$@"';
    const run = (...args: string[]) =>
      Bun.spawnSync(["unshare", "-m", "sh", "-c", script, "sh", root, file, ...args], {
        cwd: place.path,
        env: { ...compiledEnvironment(place.path), PATH: process.env["PATH"] ?? "" },
      });
    const listed = run("licenses", "--json");
    expect(listed.stderr.toString()).toBe("");
    const rows: Row[] = JSON.parse(listed.stdout.toString());
    expect(rows.map(({ name }) => name)).toEqual(gatherLicenses(root).map(({ name }) => name));
    const text = run("licenses").stdout.toString();
    expect(text).toContain("\nelysia 1.4");
    for (const { text: expected } of gatherLicenses(root)) expect(text).toContain(expected);
    const version = JSON.parse(run("version", "--json").stdout.toString());
    expect(version).toMatchObject({ version: "2.0.0", target: expect.stringMatching(/linux/) });
    rmSync(file);
  });
});
