// Which file of a release is for which machine, what the release says it must be, and what is taken
// out of it.

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unpackProgram } from "../../src/cli/upgrade/archive.ts";
import { digestIn, expectedDigest, parseManifest } from "../../src/cli/upgrade/checksums.ts";
import { keeperOf } from "../../src/cli/upgrade/keeper.ts";
import { chooseArchive, installerFor, requireTarget } from "../../src/cli/upgrade/platform.ts";
import { tarGzOf, tarOf, zipOf, type Entry } from "../plugins/archives.ts";
import { assetOf, targets } from "../../scripts/targets.ts";
import { tempDir } from "../support/temp.ts";

const releasedNames = targets.flatMap((target) =>
  target.archives.map((kind) => `${assetOf(target)}.${kind}`),
);

test("a build that does not know what it is for is told so", () => {
  expect(requireTarget("x86_64-unknown-linux-musl")).toBe("x86_64-unknown-linux-musl");
  expect(() => requireTarget("")).toThrow("upgrades are not supported on this platform (");
});

test("every platform that is released for finds its archive", () => {
  for (const { triple } of targets) {
    const { name } = chooseArchive(releasedNames, { tag: "v2.1.0", triple });
    expect(name).toStartWith(`eventdbx-${triple}.`);
  }
});

describe("of a release's files", () => {
  const linux = { tag: "v2.1.0", triple: "x86_64-unknown-linux-gnu" };

  test("the one in gzip is taken, else the one in xz", () => {
    const [gz, xz] = ["tar.gz", "tar.xz"].map((kind) => `eventdbx-${linux.triple}.${kind}`);
    expect(chooseArchive([xz ?? "", gz ?? "", "sha256.sum"], linux)).toEqual({
      name: gz ?? "",
      kind: "tar.gz",
    });
    expect(chooseArchive([xz ?? ""], linux).kind).toBe("tar.xz");
  });
  test("the one in zip is taken for Windows", () => {
    const triple = "x86_64-pc-windows-msvc";
    const name = `eventdbx-${triple}.zip`;
    const names = [`eventdbx-${triple}.msi`, `eventdbx-${triple}.tar.gz`, name];
    expect(chooseArchive(names, { ...linux, triple })).toEqual({ name, kind: "zip" });
  });
  test("none of another machine or C library is taken", () => {
    const names = [
      "eventdbx-aarch64-unknown-linux-gnu.tar.gz",
      "eventdbx-x86_64-unknown-linux-musl.tar.gz",
    ];
    expect(() => chooseArchive(names, linux)).toThrow(
      "release v2.1.0 has no file for this platform: eventdbx-x86_64-unknown-linux-gnu.tar.gz or",
    );
  });
});

test("the installer's line is the platform's, and a strange address cannot leave it", () => {
  const url = "https://example.com/v2.1.0/eventdbx-installer.sh";
  expect(installerFor("linux").line(url)).toBe(`curl --proto '=https' --tlsv1.2 -LsSf ${url} | sh`);
  expect(installerFor("darwin").line("http://127.0.0.1:1/x.sh")).toBe(
    "curl -LsSf http://127.0.0.1:1/x.sh | sh",
  );
  expect(installerFor("win32").line(url)).toBe(`irm ${url} | iex`);
  expect(installerFor("linux").line("http://a/x.sh;rm -rf '$HOME'")).toBe(
    "curl -LsSf 'http://a/x.sh;rm -rf %27$HOME%27' | sh",
  );
});

describe("checksums", () => {
  const asset = "eventdbx-x.tar.gz";
  const [a, b] = ["a".repeat(64), "b".repeat(64)] as const;
  const file = `${asset}.sha256`;

  test.each([
    ["as releases write it", `${a} *${asset}\n\n`, a],
    ["as sha256sum writes it", `${a}  ${asset}\n`, a],
    ["with Windows line ends, in capitals", `${a.toUpperCase()} *${asset}\r\n`, a],
    ["alone", `${a}\n`, a],
    ["among others", `${b} *other\n${a} *${asset}\n`, a],
    ["twice the same", `${a} *${asset}\n${a} *${asset}\n`, a],
    ["of another file only", `${b} *other\n`, null],
    ["of a file whose name only ends so", `${b} *x-${asset}\n`, null],
    ["too short", `${a.slice(1)} *${asset}\n`, null],
    ["in no checksum file at all", "<html>\n", null],
  ])("are read %s", (_, text, digest) => {
    expect(digestIn(text, { file, asset })).toBe(digest);
  });

  test("without a name say nothing in a list of many", () => {
    expect(digestIn(`${a}\n`, { file: "sha256.sum", asset })).toBeNull();
  });

  const said = (options: { own?: string; list?: string; manifest?: string }) =>
    expectedDigest(asset, {
      tag: "v2.1.0",
      files: [
        ...(options.own === undefined ? [] : [{ file, text: `${options.own} *${asset}` }]),
        ...(options.list === undefined
          ? []
          : [{ file: "sha256.sum", text: `${options.list} *${asset}` }]),
      ],
      manifest:
        options.manifest === undefined
          ? null
          : {
              ...{ format: 1, version: "2.1.0", data_format: 6 },
              artifacts: [{ name: asset, sha256: options.manifest }],
            },
    });

  test("of any one place are enough, and all there are must agree", () => {
    expect(said({ own: a })).toBe(a);
    expect(said({ list: a })).toBe(a);
    expect(said({ manifest: a })).toBe(a);
    expect(said({ own: a, list: a, manifest: a })).toBe(a);
    for (const wrong of [
      { own: a, list: b },
      { own: a, manifest: b },
      { own: a, list: a, manifest: b },
    ]) {
      expect(() => said(wrong)).toThrow(`the release contradicts itself about ${asset}`);
    }
    expect(() => said({})).toThrow("does not say what eventdbx-x.tar.gz must be");
    expect(() => digestIn(`${a} *${asset}\n${b} *${asset}\n`, { file, asset })).toThrow(
      "contradicts itself",
    );
  });
});

test("a manifest of another shape is none", () => {
  const own = {
    format: 1,
    version: "2.1.0",
    tag: "v2.1.0",
    commit: "x",
    data_format: 6,
    artifacts: [],
  };
  expect(parseManifest(JSON.stringify(own))?.data_format).toBe(6);
  for (const text of ['{"dist_version":"0.30.0","artifacts":{}}', "", "<html>", "[]"]) {
    expect(parseManifest(text)).toBeNull();
  }
});

describe("whoever else looks after the file", () => {
  test.each([
    ["/usr/bin/dbx", "the system's package manager"],
    ["/nix/store/abc-dbx/bin/dbx", "Nix"],
    ["/opt/homebrew/Cellar/dbx/2.0.0/bin/dbx", "Homebrew"],
    ["C:\\Users\\jo\\scoop\\apps\\dbx\\current\\dbx.exe", "Scoop"],
    ["C:\\Program Files\\eventdbx\\bin\\dbx.exe", "the Windows installer"],
    ["/usr/local/bin/dbx", undefined],
    ["/home/jo/.local/bin/dbx", undefined],
    ["/opt/dbx/bin/dbx", undefined],
  ])("of %s is %p", (path, name) => {
    expect(keeperOf(path, {})?.name).toBe(name);
  });
  test("may say so in the environment", () => {
    expect(keeperOf("/opt/dbx", { DBX_INSTALLED_BY: "docker" })?.remedy).toStartWith(
      "pull the new",
    );
    expect(keeperOf("/opt/dbx", { DBX_INSTALLED_BY: "zypper" })?.remedy).toBe(
      "upgrade it with zypper",
    );
  });
});

describe("from an archive", () => {
  const content = "#!/bin/sh\necho dbx\n";
  const unpack = async (packed: Uint8Array, kind: "tar.gz" | "tar.xz" | "zip") => {
    using dir = tempDir();
    const [path, to] = [join(dir.path, "archive"), join(dir.path, "dbx")];
    writeFileSync(path, packed);
    const { signal } = new AbortController();
    const options = { path, to, kind, name: "a", program: "dbx", mode: 0o755, signal };
    const bytes = await unpackProgram(options);
    const digest = createHash("sha256").update(readFileSync(to)).digest("hex");
    return { bytes, digest, mode: statSync(to).mode & 0o777 };
  };
  const wanted = {
    bytes: content.length,
    digest: createHash("sha256").update(content).digest("hex"),
    mode: 0o755,
  };
  const entries: Entry[] = [
    { name: "eventdbx-x/", kind: "5" },
    { name: "eventdbx-x/LICENSE", content: "MIT" },
    { name: "eventdbx-x/dbx", content, mode: 0o755 },
    { name: "eventdbx-x/completions/dbx", content: "complete" },
  ];

  test("the program alone is taken, wherever releases have it", async () => {
    expect(await unpack(tarGzOf(entries), "tar.gz")).toEqual(wanted);
    expect(await unpack(zipOf([{ name: "dbx", content }, { name: "LICENSE" }]), "zip")).toEqual(
      wanted,
    );
  });
  test.skipIf(Bun.which("xz") === null)("xz is unpacked by the system [needs xz]", async () => {
    const packed = Bun.spawnSync(["xz", "-0", "-c"], { stdin: tarOf(entries) });
    expect(await unpack(packed.stdout, "tar.xz")).toEqual(wanted);
    const broken = unpack(packed.stdout.subarray(0, 80), "tar.xz");
    await expect(broken).rejects.toThrow(/xz archive|ends too early/);
  });
  test("that lies or lacks it nothing is taken", async () => {
    const link = { name: "eventdbx-x/dbx", kind: "2", link: "/bin/sh" };
    const cases: readonly [Uint8Array, RegExp][] = [
      [tarGzOf([{ name: "a/LICENSE" }]), /there is no dbx in a/],
      [tarGzOf([link]), /symbolic link/],
      [tarGzOf([...entries, { name: "b/dbx", content }]), /twice/],
      [tarGzOf(entries).subarray(0, 150), /gzip|too early/],
      [Buffer.from("<html>no archive</html>"), /no gzip archive/],
      [tarGzOf([{ name: "../dbx", content }]), /there is no dbx/],
    ];
    for (const [packed, reason] of cases) {
      const failed = await unpack(packed, "tar.gz").catch((error: unknown) => error);
      expect(failed).toBeInstanceOf(Error);
      expect(String(failed)).toMatch(reason);
    }
  });
});
