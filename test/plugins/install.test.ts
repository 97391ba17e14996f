// Installing bundles: what ends up where, which file is the program, and that whatever is refused,
// fails or is killed leaves no trace.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { limits } from "../../src/model/limits.ts";
import { findBundle } from "../../src/plugins/install-registry.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { paxRecord, tarGzOf, tarOf, zipOf, type Entry } from "./archives.ts";
import { siteIn, target, type Site } from "./installing.ts";

let dir: TempDir;
let site: Site;
beforeEach(() => {
  dir = tempDir();
  site = siteIn(dir.path);
});
afterEach(() => dir[Symbol.dispose]());

const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const script = "#!/bin/sh\nexit 0\n";
const official: Entry[] = [
  { name: "search", content: script, mode: 0o755 },
  { name: "README.md", content: "read me" },
  { name: "LICENSE", content: "MIT" },
];

const formats: [string, string, Buffer][] = [
  ["zip", "search.zip", zipOf(official)],
  ["tar", "search.tar", tarOf(official)],
  ["tar.gz", "search.tar.gz", tarGzOf(official)],
  ["tgz", "search.tgz", tarGzOf(official)],
  ["zip without an extension", "asset", zipOf(official)],
  ["tar.gz without an extension", "asset", tarGzOf(official)],
];

describe("a bundle", () => {
  test.each(formats)("that is a %s is unpacked, and recorded", async (_, name, bundle) => {
    const source = site.put(name, bundle);
    const { record, unchecked } = await site.install({ source });
    expect(unchecked).toBe(false);
    expect(record).toMatchObject({
      ...{ name: "search", version: "1.0.0", target, install_dir: site.place() },
      ...{ binary_path: join(site.place(), "search"), checksum: sha256(bundle) },
      source: { type: "local", path: realpathSync(source) },
    });
    expect(record.installed_at).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(site.registry()).toEqual([record]);
    expect(Object.keys(record)).toEqual([
      ...["name", "version", "target", "install_dir", "binary_path", "source", "checksum"],
      "installed_at",
    ]);
    expect(site.mode(join(site.plugins, "registry.json"))).toBe(0o600);
    expect(site.mode(record.binary_path)).toBe(0o755);
    expect(site.mode(join(site.place(), "LICENSE"))).toBe(0o644);
    expect(readFileSync(record.binary_path, "utf8")).toBe(script);
    expect(readdirSync(join(site.plugins, ".staging"))).toEqual(["lock.db"]);
    expect(await findBundle(site.plugins, { name: "search", version: "1.0.0" })).toEqual(record);
  });

  test("that is the program alone gets the plugin's name, or the one of --bin", async () => {
    const source = site.put("target-release-thing", script);
    const plain = await site.install({ source });
    expect(plain.record.binary_path).toBe(join(site.place(), "search"));
    expect(site.mode(plain.record.binary_path)).toBe(0o755);
    const named = await site.install({ source, version: "2.0.0", bin: "runner" });
    expect(named.record.binary_path).toBe(join(site.place("search", "2.0.0"), "runner"));
  });

  test("made by the system's tar, long names and all, is unpacked as it was", async () => {
    const deep = join("d".repeat(80), "e".repeat(80));
    for (const format of ["gnu", "pax", "ustar"]) {
      const from = join(dir.path, format);
      mkdirSync(join(from, deep), { recursive: true });
      await Bun.write(join(from, "search"), script);
      await Bun.write(join(from, deep, "é.txt"), format);
      const made = Bun.spawnSync(["tar", "-C", from, `--format=${format}`, "-cf", "-", "."]);
      expect(made.stderr.toString()).toBe("");
      const source = site.put(`${format}.bundle`, gzipSync(made.stdout));
      const { record } = await site.install({ source, name: format, bin: "search" });
      expect(readFileSync(join(record.install_dir, deep, "é.txt"), "utf8")).toBe(format);
    }
  });

  test("may say its names in extended headers", async () => {
    const source = site.put(
      "a.tar",
      tarOf([
        { name: "x", kind: "g", content: paxRecord("comment", "none") },
        { name: "x", kind: "x", content: paxRecord("path", "bin/search") },
        { name: "short", content: script },
        { name: "x", kind: "L", content: "lib/é\0" },
        { name: "short", content: "second" },
      ]),
    );
    await site.install({ source });
    expect(readFileSync(join(site.place(), "bin/search"), "utf8")).toBe(script);
    expect(readFileSync(join(site.place(), "lib/é"), "utf8")).toBe("second");
  });

  test("has its modes masked: nothing is set-uid, and nobody else writes", async () => {
    for (const [name, bundle] of [
      ["zip", zipOf([{ name: "bin/search", content: script, mode: 0o7777 }])],
      ["tar", tarOf([{ name: "bin/search", content: script, mode: 0o7777 }])],
    ] as const) {
      const { record } = await site.install({ source: site.put(name, bundle), name });
      expect(site.mode(record.binary_path)).toBe(0o755);
      expect(site.mode(join(record.install_dir, "bin"))).toBe(0o755);
    }
  });
});

describe("the program", () => {
  const many = zipOf([
    { name: "b/tool", content: "second" },
    { name: "a/tool", content: "first" },
    { name: "notes", content: "" },
  ]);

  test("among several files is the one that --bin names, the first by name", async () => {
    const { record } = await site.install({ source: site.put("m.zip", many), bin: "tool" });
    expect(record.binary_path).toBe(join(site.place(), "a/tool"));
    const exact = await site.install({
      ...{ source: site.put("m.zip", many), bin: "b/tool", version: "1.0.1" },
    });
    expect(exact.record.binary_path).toEndWith("b/tool");
  });

  const refusals: [string, Buffer, string | undefined, string][] = [
    [
      "several files and no --bin",
      many,
      undefined,
      "plugin bundle contains multiple files; specify --bin <filename>. " +
        "candidates: a/tool, b/tool, notes",
    ],
    [
      "a --bin that is not there",
      many,
      "other",
      "could not find binary 'other' in plugin bundle; available files: a/tool, b/tool, notes",
    ],
    ["no file", zipOf([{ name: "a/" }]), undefined, "plugin bundle did not contain any files"],
    ["no entry", tarOf([]).fill(0), undefined, "plugin bundle did not contain any files"],
  ];
  test.each(refusals)("is asked for where there is %s", async (_, bundle, bin, message) => {
    const error = await site.refusal({ source: site.put("m.tar", bundle), bin });
    expect(error.message).toBe(message);
    expect(site.found()).toEqual({});
  });
});

describe("what is asked for", () => {
  const names = ["", " ", "..", ".", "a/b", "../x", ".hidden", "a\\b", "é", "registry.json", "nul"];
  test.each(names)("is refused where the plugin is called %j", async (name) => {
    const error = await site.refusal({ source: site.put("s", script), name });
    expect(error.code).toBe("invalid_argument");
    expect(existsSync(site.data_dir)).toBe(false);
  });
  const versions = ["", "..", "1/2", "latest", "1.0.0/..", "1.0 .0", "v1", "1.-"];
  test.each(versions)("is refused where the version is %j", async (version) => {
    const error = await site.refusal({ source: site.put("s", script), version });
    expect(error.code).toBe("invalid_argument");
  });
  test.each(["1", "0.1.10", "1.2.3-rc.1", "1.2.3+build.7"])("may be %s", async (version) => {
    const { record } = await site.install({ source: site.put("s", script), version });
    expect(record.install_dir).toBe(site.place("search", version));
  });

  test("is compared with its checksum, in any case of letters", async () => {
    const source = site.put("s", script);
    const digest = sha256(Buffer.from(script));
    const wrong = await site.refusal({ source, checksum: "0".repeat(64) });
    expect(wrong.message).toBe(`checksum mismatch: expected ${"0".repeat(64)}, computed ${digest}`);
    expect(site.found()).toEqual({});
    expect((await site.refusal({ source, checksum: "abc" })).code).toBe("invalid_argument");
    const { record } = await site.install({ source, checksum: ` ${digest.toUpperCase()} ` });
    expect(record.checksum).toBe(digest);
  });

  test("must be a file", async () => {
    mkdirSync(join(dir.path, "folder"));
    for (const name of ["folder", "missing"]) {
      const source = join(dir.path, name);
      const error = await site.refusal({ source });
      expect(error.message).toStartWith(`failed to open plugin bundle at ${source}`);
    }
    expect(site.found()).toEqual({});
  });
});

describe("a version that is installed", () => {
  test("stays, unless --force replaces it", async () => {
    const first = await site.install({ source: site.put("one", "#!one") });
    const source = site.put("two", "#!two");
    const error = await site.refusal({ source });
    expect(error.code).toBe("already_exists");
    expect(error.message).toBe(
      `plugin 'search' v1.0.0 for target ${target} is already installed; ` +
        "rerun with --force to overwrite",
    );
    expect(readFileSync(first.record.binary_path, "utf8")).toBe("#!one");
    const second = await site.install({ source, force: true, bin: "other" });
    expect(site.registry()).toEqual([second.record]);
    expect(readdirSync(site.place())).toEqual(["other"]);
    expect(readdirSync(join(site.plugins, "search/1.0.0"))).toEqual([target]);
  });

  test("stays where its replacement fails", async () => {
    await site.install({ source: site.put("one", "#!one") });
    const before = site.found();
    await site.refusal({ source: site.put("bad.zip", "no archive"), force: true });
    expect(site.found()).toEqual(before);
  });

  test("is one of several in the registry, by name, version and target", async () => {
    const source = site.put("s", script);
    for (const [name, version] of [
      ["zeta", "1.0.0"],
      ["alpha", "2.0.0"],
      ["alpha", "1.0.0"],
    ] as const) {
      await site.install({ source, name, version });
    }
    const records = site.registry() as { name: string; version: string }[];
    expect(records.map(({ name, version }) => `${name} ${version}`)).toEqual([
      ...["alpha 1.0.0", "alpha 2.0.0", "zeta 1.0.0"],
    ]);
    for (const record of records) {
      expect(Object.keys(record)).toEqual([
        ...["name", "version", "target", "install_dir", "binary_path", "source", "checksum"],
        "installed_at",
      ]);
    }
  });
});

describe("at once", () => {
  test("ten installs of different plugins all end up in the registry", async () => {
    const source = site.put("s", zipOf(official));
    const names = Array.from({ length: 10 }, (_, index) => `plugin-${index}`);
    await Promise.all(names.map((name) => site.install({ source, name, bin: "search" })));
    const records = site.registry() as { name: string }[];
    expect(records.map(({ name }) => name)).toEqual(names);
  });

  test("of two installs of one version one is there, whole, and the other says so", async () => {
    const results = await Promise.allSettled([
      site.install({ source: site.put("one", "#!one") }),
      site.install({ source: site.put("two", "#!two") }),
    ]);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const won = results.find((result) => result.status === "fulfilled");
    expect(site.registry()).toEqual([won?.value.record]);
    const content = readFileSync(join(site.place(), "search"));
    expect(sha256(content)).toBe(String(won?.value.record.checksum));
  });
});

test("what a killed install left is swept once it is old, not before", async () => {
  const source = site.put("s", script);
  await site.install({ source });
  const stages = join(site.plugins, ".staging");
  const left = ["install-old", "install-new"].map((name) => join(stages, name));
  for (const path of left) mkdirSync(path);
  const old = Date.now() / 1_000 - limits.plugin_staging_ms_max / 1_000 - 60;
  utimesSync(left[0] ?? "", old, old);
  await site.install({ source, version: "2.0.0" });
  expect(readdirSync(stages).sort()).toEqual(["install-new", "lock.db"]);
});

test("bundles that an earlier EventDBX installed are found by their older target", async () => {
  const { record } = await site.install({ source: site.put("s", script) });
  const older = { linux: "linux-x86_64", darwin: "macos-aarch64" }[String(process.platform)];
  const [os = ""] = (older ?? "").split("-");
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  const { checksum: _, source: __, ...rest } = record;
  const old = { ...rest, target: `${os}-${arch}`, name: "old" };
  await Bun.write(join(site.plugins, "registry.json"), JSON.stringify([old]));
  expect(await findBundle(site.plugins, { name: "old", version: "1.0.0" })).toEqual(old);
  const missing = findBundle(site.plugins, { name: "old", version: "9.0.0" });
  expect(missing).rejects.toThrow(
    `plugin 'old' version 9.0.0 is not installed for target ${target}; ` +
      "run `dbx plugin install` first",
  );
});
