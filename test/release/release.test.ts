// What a release is made of, and when there must be none. Executables are small here: what dbx
// itself is, other tests know.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { executableIn } from "../../scripts/build.ts";
import { gzipOf, tarOf, xzOf, zipOf, type Packed } from "../../scripts/pack.ts";
import { git, releaseState, type ReleaseState } from "../../scripts/release-state.ts";
import { makeRelease } from "../../scripts/release.ts";
import { root } from "../../scripts/root.ts";
import { assetOf, documents, installers, pages, targetOf } from "../../scripts/targets.ts";
import { digestIn, expectedDigest, parseManifest } from "../../src/cli/upgrade/checksums.ts";
import { mainFormat } from "../../src/storage/sqlite/migrations.ts";
import { run } from "../support/checkout.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const lacking =
  ["git", "tar", "xz", "sha256sum"].some((tool) => Bun.which(tool) === null) ||
  !Bun.spawnSync(["git", "rev-parse", "HEAD"], { cwd: root, stderr: "ignore" }).success;
const chosen = [targetOf("linux-x64"), targetOf("windows-arm64")];

describe("an archive", () => {
  const files: Packed[] = [
    { name: "b/deep", bytes: Buffer.from("two"), executable: false },
    { name: "a", bytes: Buffer.alloc(513, "1"), executable: true },
  ];
  const options = { seconds: 1_764_515_401, level: 1, folder: "top" };

  test("is the same bytes whatever the order, and in whatever time zone", async () => {
    const pack = async () => [
      gzipOf(tarOf(files.toReversed(), options), 1),
      await zipOf(files.toReversed(), options),
    ];
    const [tar, zip] = await pack();
    const zone = process.env["TZ"];
    process.env["TZ"] = "Pacific/Auckland";
    const [tarThere, zipThere] = await pack();
    process.env["TZ"] = "UTC";
    const [tarAtNull, zipAtNull] = [gzipOf(tarOf(files, options), 1), await zipOf(files, options)];
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
    expect([tarThere, tarAtNull]).toEqual([tar, tar]);
    expect([zipThere, zipAtNull]).toEqual([zip, zip]);
  });

  test.skipIf(lacking)(
    "is what other programs read [needs a git checkout, tar, xz and sha256sum]",
    async () => {
      using place = tempDir();
      writeFileSync(join(place.path, "a.tar.xz"), await xzOf(tarOf(files, options), 1));
      const at = { cwd: place.path, env: { ...process.env, TZ: "UTC" } };
      const listed = await run(["tar", "-tvf", "a.tar.xz", "--numeric-owner"], at);
      const time = "2025-11-30 15:10";
      expect(listed.stdout.split("\n").map((line) => line.replaceAll(/\s+/g, " "))).toEqual([
        `drwxr-xr-x 0/0 0 ${time} top/`,
        `drwxr-xr-x 0/0 0 ${time} top/b/`,
        `-rwxr-xr-x 0/0 513 ${time} top/a`,
        `-rw-r--r-- 0/0 3 ${time} top/b/deep`,
        "",
      ]);
      expect((await run(["tar", "-xf", "a.tar.xz"], at)).code).toBe(0);
      expect(readFileSync(join(place.path, "top/a"), "utf8")).toBe("1".repeat(513));
      expect(readFileSync(join(place.path, "top/b/deep"), "utf8")).toBe("two");
    },
  );

  test("has no name that tar would cut", () => {
    const long = [{ name: "n".repeat(97), bytes: new Uint8Array(), executable: false }];
    expect(() => tarOf(long, options)).toThrow("too long for a tar header");
  });
});

describe.skipIf(lacking)(
  "the files of a release [needs a git checkout, tar, xz and sha256sum]",
  () => {
    let place: TempDir;
    let state: ReleaseState;
    let out: string;
    const at = (name: string) => join(out, name);

    beforeAll(async () => {
      place = tempDir();
      state = await releaseState(root);
      out = join(place.path, "release");
      for (const target of chosen) {
        const file = executableIn(place.path, target);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, `the program for ${target.triple}\n`);
      }
      await make();
    });
    afterAll(() => place[Symbol.dispose]());

    const make = () =>
      makeRelease({ state, targets: chosen, level: 1, executables: place.path, out });

    const archives = chosen.flatMap((target) =>
      target.archives.map((kind) => `${assetOf(target)}.${kind}`),
    );

    test("are named as they are asked for, with a checksum each", async () => {
      const assets = [...archives, "source.tar.gz", ...installers, "eventdbx.cdx.json"];
      for (const name of assets) {
        const line = readFileSync(at(`${name}.sha256`), "utf8");
        expect(line).toMatch(new RegExp(`^[0-9a-f]{64} \\*${RegExp.escape(name)}\n$`));
        expect(readFileSync(at("sha256.sum"), "utf8")).toContain(line);
      }
      const checked = await run(["sha256sum", "--check", "--strict", "sha256.sum"], { cwd: out });
      expect(checked).toMatchObject({ code: 0, stderr: "" });
      expect(checked.stdout.trim().split("\n").length).toBeGreaterThanOrEqual(assets.length);
      expect(readdirSync(out)).toEqual(expect.arrayContaining([...assets, "notes.md"]));
    });

    test("say in the manifest what `dbx upgrade` has to know", () => {
      const manifest = parseManifest(readFileSync(at("dist-manifest.json"), "utf8"));
      expect(manifest).toMatchObject({
        ...{ format: 1, version: state.version, tag: state.tag, commit: state.commit },
        data_format: mainFormat.migrations.length,
      });
      for (const asset of archives) {
        const files = ["sha256.sum", `${asset}.sha256`].map((file) => ({
          file,
          text: readFileSync(at(file), "utf8"),
        }));
        const digest = expectedDigest(asset, { files, manifest, tag: state.tag });
        for (const { file, text } of files) expect(digestIn(text, { file, asset })).toBe(digest);
      }
    });

    test("hold one folder with the program, its pages and the terms of what is in it", async () => {
      const names = ["dbx", ...documents, ...pages.map(({ name }) => name)];
      for (const kind of ["tar.xz", "tar.gz"]) {
        const folder = assetOf(targetOf("linux-x64"));
        const listed = await run(["tar", "-tf", `${folder}.${kind}`], { cwd: out });
        const files = listed.stdout.split("\n").filter((name) => !/(?:^|\/)$/.test(name));
        expect(files.sort()).toEqual(names.map((name) => `${folder}/${name}`).sort());
        const read = (name: string) =>
          run(["tar", "-xOf", `${folder}.${kind}`, `${folder}/${name}`], { cwd: out });
        const program = `the program for ${targetOf("linux-x64").triple}\n`;
        expect((await read("dbx")).stdout).toBe(program);
        expect((await read("THIRD-PARTY-LICENSES.txt")).stdout).toContain("JavaScriptCore");
        expect((await read("man/dbx.1")).stdout).toContain(".TH");
        expect((await read("completions/dbx.bash")).stdout).toContain("complete");
      }
      const zip = readFileSync(at(`${assetOf(targetOf("windows-arm64"))}.zip`), "latin1");
      for (const name of ["dbx.exe", ...documents]) expect(zip).toContain(name);
    });

    test("have installers that know the tag and what each archive must be", () => {
      const manifest = parseManifest(readFileSync(at("dist-manifest.json"), "utf8"));
      for (const name of installers) {
        const text = readFileSync(at(name), "utf8");
        expect(text).toContain(state.tag);
        for (const asset of archives) {
          const digest = expectedDigest(asset, { files: [], manifest, tag: state.tag });
          expect(text).toContain(`${digest} *${asset}`);
        }
      }
    });

    test("have the source of the commit, and nothing that lies about", async () => {
      const listed = await run(["tar", "-tzf", "source.tar.gz"], { cwd: out });
      const prefix = `eventdbx-${state.version}/`;
      const tracked = (await git(root, ["ls-files", "src"])).split("\n");
      const names = listed.stdout.split("\n");
      expect(names).toContain(`${prefix}src/main.ts`);
      expect(names.filter((name) => name.startsWith(`${prefix}node_modules`))).toEqual([]);
      expect(names.filter((name) => name.startsWith(`${prefix}src/`)).length).toBeGreaterThan(
        tracked.length / 2,
      );
    });

    test("have a bill of materials with terms, digests and needs of every package", () => {
      const bom = JSON.parse(readFileSync(at("eventdbx.cdx.json"), "utf8"));
      expect(bom).toMatchObject({
        ...{ bomFormat: "CycloneDX", specVersion: "1.6" },
        serialNumber: expect.stringMatching(
          /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
        ),
        metadata: { component: { name: "dbx", version: state.version } },
      });
      const refs: string[] = bom.components.map((each: { "bom-ref": string }) => each["bom-ref"]);
      expect(new Set(refs).size).toBe(refs.length);
      const elysia = bom.components.find((each: { name: string }) => each.name === "elysia");
      expect(elysia.licenses).toEqual([{ license: { id: "MIT" } }]);
      expect(elysia.hashes[0].content).toMatch(/^[0-9a-f]{128}$/);
      const lock = readFileSync(join(root, "bun.lock"), "utf8");
      const pinned = Buffer.from(elysia.hashes[0].content, "hex").toString("base64");
      expect(lock).toContain(`"sha512-${pinned}"`);
      const without = bom.components.filter(
        (each: { hashes: unknown[] }) => each.hashes.length === 0,
      );
      expect(without.map((each: { name: string }) => each.name)).toEqual(["bun"]);
      for (const { ref, dependsOn } of bom.dependencies) {
        expect([...refs, bom.metadata.component["bom-ref"]]).toContain(ref);
        expect(refs).toEqual(expect.arrayContaining(dependsOn));
      }
    });

    test("are the same bytes when they are made again, and a failure leaves the former", async () => {
      const contents = () =>
        Object.fromEntries(
          readdirSync(out).map((name) => [name, Bun.hash(readFileSync(at(name)))]),
        );
      const before = contents();
      await make();
      expect(contents()).toEqual(before);
      const gone = { ...state, commit: "0".repeat(40) };
      await expect(
        makeRelease({ state: gone, targets: chosen, level: 1, executables: place.path, out }),
      ).rejects.toThrow("git archive failed");
      expect(contents()).toEqual(before);
      expect(readdirSync(place.path).filter((name) => name.startsWith("release"))).toEqual([
        "release",
      ]);
    });
  },
);

describe.skipIf(lacking)(
  "there is no release [needs a git checkout, tar, xz and sha256sum]",
  () => {
    const author = ["-c", "user.name=t", "-c", "user.email=t@example.com"];

    async function repository(path: string, changelog: string): Promise<void> {
      mkdirSync(path);
      writeFileSync(join(path, "package.json"), '{ "version": "3.1.0" }\n');
      writeFileSync(join(path, "CHANGELOG.md"), changelog);
      await git(path, ["init", "--quiet"]);
      await git(path, ["add", "."]);
      await git(path, [...author, "commit", "--quiet", "-m", "first"]);
    }

    const faultsAt = async (path: string) => (await releaseState(path)).faults;

    test("unless the top of the changelog is the version, and says no more", async () => {
      using place = tempDir();
      const cases = {
        right: "# Changelog\n\n## 3.1.0\n\n- New.\n\n## 3.0.0\n\n- Old.\n",
        dated: "# Changelog\n\n## 3.1.0 (2026-11-30)\n\n- New.\n",
        older: "# Changelog\n\n## 3.0.0\n\n- Old.\n",
        open: "# Changelog\n\n## 3.1.0 (unreleased)\n\n- New.\n",
      };
      const faults: Record<string, readonly string[]> = {};
      for (const [name, changelog] of Object.entries(cases)) {
        await repository(join(place.path, name), changelog);
        faults[name] = await faultsAt(join(place.path, name));
      }
      expect(faults).toEqual({
        right: [],
        dated: [],
        older: ['the top of CHANGELOG.md is "3.0.0", not 3.1.0 of package.json'],
        open: ["the top of CHANGELOG.md still says (unreleased)"],
      });
      const state = await releaseState(join(place.path, "right"));
      expect(state).toMatchObject({ tag: "v3.1.0", notes: "- New.\n" });
    });

    test("while something is not committed, or the tag is another commit here or elsewhere", async () => {
      using place = tempDir();
      const [path, bare] = [join(place.path, "a"), join(place.path, "bare")];
      await repository(path, "## 3.1.0\n\n- New.\n");
      writeFileSync(join(path, "stray"), "");
      expect(await faultsAt(path)).toEqual(["something is not committed; see git status"]);
      await git(path, ["add", "."]);
      await git(path, [...author, "commit", "--quiet", "-m", "second"]);
      await git(path, [...author, "tag", "-a", "-m", "here", "v3.1.0"]);
      expect(await faultsAt(path)).toEqual([]);
      await git(path, ["clone", "--quiet", "--bare", path, bare]);
      await git(path, ["remote", "add", "origin", bare]);
      expect(await faultsAt(path)).toEqual([]);
      await git(path, ["tag", "--delete", "v3.1.0"]);
      await git(path, [...author, "commit", "--quiet", "--allow-empty", "-m", "third"]);
      expect(await faultsAt(path)).toEqual(["the tag v3.1.0 is another commit at origin"]);
      await git(path, ["tag", "v3.1.0", "HEAD~1"]);
      expect(await faultsAt(path)).toEqual([
        "the tag v3.1.0 is another commit here",
        "the tag v3.1.0 is another commit at origin",
      ]);
    });
  },
);
