// One machine builds dbx for every platform. What cannot run here is looked at; what an emulator or
// another C library can run is run.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NtExecutable, NtExecutableResource, Resource } from "resedit";
import { compile, executableIn, sha256 } from "../../scripts/build.ts";
import { drawIcon } from "../../scripts/icon.ts";
import { root } from "../../scripts/root.ts";
import { cachedRuntime, hostTarget } from "../../scripts/runtimes.ts";
import { assetOf, targetOf, targets, type Target } from "../../scripts/targets.ts";
import { version } from "../../src/version.ts";
import { run } from "../support/checkout.ts";
import { dbx } from "../support/cli.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { tempDir } from "../support/temp.ts";

/** scripts/test gets them before the tests, which go nowhere. */
const runtimes = await Promise.all(targets.map(cachedRuntime));
const withoutRuntimes = runtimes.includes(null);
const withoutFile = Bun.which("file") === null;

/** `DBX_MUSL_LIBRARIES` may name a folder with musl's libstdc++ and libgcc_s. */
const muslLibraries = process.env["DBX_MUSL_LIBRARIES"] ?? "";
const emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];
const withoutEmulator = withoutRuntimes || !printsVersion(emulator, "bun-linux-arm64");
const withoutMusl = withoutRuntimes || !printsVersion([], "bun-linux-x64-musl");

/** Whether this machine can run Bun's own runtime for a platform, and so what is made of it. */
function printsVersion(prefix: string[], bun: string): boolean {
  const runtime = runtimes[targets.findIndex((target) => target.bun === bun)];
  const [first = ""] = prefix;
  if (typeof runtime !== "string" || (first !== "" && Bun.which(first) === null)) return false;
  const env = { ...process.env, LD_LIBRARY_PATH: muslLibraries };
  try {
    const ran = Bun.spawnSync([...prefix, runtime, "--version"], { env, timeout: 20_000 });
    return ran.stdout.toString().trim() === Bun.version;
  } catch {
    // Its loader is not here.
    return false;
  }
}

/** Built once for all tests of this file, where they need it. */
mkdirSync(join(root, "dist"), { recursive: true });
const place = tempDir(join(root, "dist"));
process.once("exit", () => place[Symbol.dispose]());
const made = new Map<string, Promise<string>>();
function built(target: Target): Promise<string> {
  const outfile = executableIn(place.path, target);
  const known = made.get(target.triple) ?? compile({ outfile, target }).then(({ file }) => file);
  made.set(target.triple, known);
  return known;
}

describe("the table of platforms", () => {
  test("has each once, and archives of one kind for each system", () => {
    const names = targets.flatMap(({ bun, triple }) => [bun, triple]);
    expect(new Set(names).size).toBe(names.length);
    for (const { triple, executable, archives } of targets) {
      const windows = triple.includes("windows");
      expect(executable).toBe(windows ? "dbx.exe" : "dbx");
      // msitools make installers for x64 alone.
      const installer = triple === "x86_64-pc-windows-msvc" ? (["msi"] as const) : [];
      expect(archives).toEqual(windows ? ["zip", ...installer] : ["tar.xz", "tar.gz"]);
    }
  });

  test("is asked by triple and by Bun's name, and says what there is", () => {
    const target = targetOf("aarch64-apple-darwin");
    expect(assetOf(target)).toBe("eventdbx-aarch64-apple-darwin");
    expect(targetOf("darwin-arm64")).toBe(target);
    expect(targetOf("bun-darwin-arm64")).toBe(target);
    expect(() => targetOf("sparc")).toThrow(
      /no target sparc; there are: x86_64-unknown-linux-gnu,/,
    );
  });

  test("has the machine that this runs on, and the file says so", async () => {
    using home = tempDir();
    const ran = Bun.spawnSync([await compiledDbx(), "version", "--json"], {
      env: compiledEnvironment(home.path),
    });
    const said = JSON.parse(ran.stdout.toString());
    expect(said).toEqual({ version, commit: expect.any(String), target: hostTarget()?.triple });
    expect(said.commit).toMatch(/^(?:[0-9a-f]{12}\+?)?$/);
  });
});

describe("a smoke test", () => {
  test("passes with a dbx that works, and fails with what is none, or stops half-way", async () => {
    using home = tempDir();
    const smoke = join(root, "scripts/smoke");
    const env = { PATH: process.env["PATH"], TMPDIR: home.path };
    const works = await run([smoke, await compiledDbx()], { cwd: home.path, env });
    expect(works).toMatchObject({ code: 0, stdout: "" });
    expect(works.stderr).toContain(`dbx ${version} works: started, appended, read, verified`);
    const liar = join(home.path, "liar");
    // Knows its version, and cannot start.
    const words = `case $1 in --version) echo dbx ${version} ;; licenses) echo elysia ;; *) exit 9 ;; esac`;
    writeFileSync(liar, `#!/bin/sh\n${words}\n`, { mode: 0o755 });
    expect(await run([smoke, liar], { cwd: home.path, env })).toMatchObject({ code: 1 });
    expect(await run([smoke, "false"], { cwd: home.path, env })).toMatchObject({ code: 1 });
    expect(readdirSync(home.path)).toEqual(["liar"]);
  });
});

describe("a file for another platform", () => {
  test
    .skipIf(withoutRuntimes || withoutFile)
    .each(targets.map((target) => [target.triple, target]))(
    "%s is what it should be [needs file, and Bun's runtimes, from npm]",
    async (_triple, target) => {
      const file = await built(target);
      const { stdout } = Bun.spawnSync(["file", "--brief", file]);
      expect(stdout.toString()).toMatch(target.file);
      expect(readFileSync(file).includes(target.triple)).toBe(true);
    },
    60_000,
  );

  test.skipIf(withoutRuntimes || process.platform !== "linux")(
    "is the same again in another folder [needs Linux, and Bun's runtimes, from npm]",
    async () => {
      const target = targetOf("linux-arm64");
      const elsewhere = join(place.path, "elsewhere");
      mkdirSync(elsewhere);
      const sources = ["src", "proto", "capnp", "scripts", "types", "node_modules"];
      const files = ["package.json", "bun.lock", "bunfig.toml", "tsconfig.json"];
      const copied = await run(["cp", "-al", ...sources, ...files, elsewhere], { cwd: root });
      expect(copied).toMatchObject({ code: 0, stderr: "" });
      // The commit is in the file, and its repository is not in that folder.
      const folder = await run(["git", "rev-parse", "--absolute-git-dir"], { cwd: root });
      const commit =
        folder.code === 0 ? { GIT_DIR: folder.stdout.trim(), GIT_WORK_TREE: root } : {};
      const command = [process.execPath, "--no-env-file", "scripts/build.ts", "--target"];
      const ran = await run([...command, target.triple], {
        cwd: elsewhere,
        env: { ...process.env, ...commit },
      });
      expect(ran.stderr).toBe("");
      const again = executableIn(join(elsewhere, "dist/targets"), target);
      expect(sha256(again)).toBe(sha256(await built(target)));
      expect(readFileSync(again).includes(root)).toBe(false);
    },
    120_000,
  );

  test.skipIf(withoutRuntimes)(
    "has its properties and its icon on Windows [needs Bun's runtimes, from npm]",
    async () => {
      for (const name of ["windows-x64", "windows-arm64"]) {
        const bytes = readFileSync(await built(targetOf(name)));
        const executable = NtExecutable.from(bytes, { ignoreCert: true });
        // The reader expects nothing behind the resources; Bun puts the program there.
        const sections = executable.getAllSections().filter(({ info }) => info.name !== ".bun");
        Object.assign(executable, { getAllSections: () => sections });
        const { entries } = NtExecutableResource.from(executable);
        const [properties, ...more] = Resource.VersionInfo.fromEntries(entries);
        expect(more).toEqual([]);
        expect(properties?.getStringValues({ lang: 1033, codepage: 1200 })).toMatchObject({
          ...{ ProductName: "dbx", ProductVersion: version, OriginalFilename: "dbx.exe" },
        });
        const [major, minor, patch] = version.split(".").map(Number);
        expect(properties?.fixedInfo).toMatchObject({
          productVersionMS: (major ?? 0) * 65_536 + (minor ?? 0),
          productVersionLS: (patch ?? 0) * 65_536,
        });
        const icons = Resource.IconGroupEntry.fromEntries(entries);
        expect(icons).toHaveLength(1);
        // 256 is written as 0.
        const sizes = icons[0]?.icons.map(({ width }) => width);
        expect(sizes).toEqual([16, 32, 48, 0]);
      }
      expect(drawIcon().equals(drawIcon())).toBe(true);
    },
    60_000,
  );

  test.skipIf(withoutEmulator)(
    "serves on arm64 [needs qemu-user-static and the libraries of arm64]",
    async () => {
      const target = targetOf("linux-arm64");
      const file = await built(target);
      const said = Bun.spawnSync([...emulator, file, "--version"]);
      expect(said.stdout.toString()).toBe(`dbx ${version}\n`);
      await servesAndVerifies([...emulator, file]);
    },
    120_000,
  );

  test.skipIf(withoutMusl)("serves on musl [needs musl and its libstdc++]", async () => {
    const file = await built(targetOf("linux-x64-musl"));
    await servesAndVerifies([file]);
  });
});

/** The server runs there, the command line here: what one writes the other reads. */
async function servesAndVerifies(command: readonly string[]): Promise<void> {
  using home = tempDir();
  const env = {
    ...{ ...compiledEnvironment(home.path), EVENTDBX_PORT: "0", LD_LIBRARY_PATH: muslLibraries },
    EVENTDBX_BIND_ADDR: "127.0.0.1",
  };
  const server = Bun.spawn([...command, "start", "--foreground"], {
    ...{ env, cwd: home.path, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  });
  let log = "";
  const decoder = new TextDecoder();
  for await (const chunk of server.stderr) {
    log += decoder.decode(chunk, { stream: true });
    if (/\bready\b/.test(log)) break;
  }
  expect(log).toMatch(/\bready\b/);
  const here = { home: home.path };
  const appended = await dbx(["aggregate", "apply", "a", "1", "seen", "--field", "n=1"], here);
  expect(appended).toMatchObject({ code: 0, stderr: "" });
  expect(await dbx(["aggregate", "verify", "--all"], here)).toMatchObject({
    ...{ code: 0, stdout: expect.stringContaining("position=1") },
  });
  expect(await dbx(["stop"], here)).toMatchObject({ code: 0 });
  expect(await server.exited).toBe(0);
  // What it left opens without it.
  const { code, stdout } = await dbx(["aggregate", "replay", "a", "1", "--json"], here);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ event_type: "seen", payload: { n: "1" } }]);
}
