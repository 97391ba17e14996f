// scripts/eventdbx-installer.sh against releases on loopback: what it installs, and above all what
// it does not. What is installed is a stand-in, but for the first tests, where it is dbx itself.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/checkout.ts";
import { compiledDbx } from "../support/compiled.ts";
import {
  archiveName,
  install,
  installerCommand,
  installerText,
  packed,
  pathWith,
  releaseOf,
  standIn,
  lacking,
} from "../support/installer.ts";
import { startReleases, withChecksums, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let releases: Releases;
/** Empty before each test. */
let home: string;
const archive = archiveName("tar.gz");
const shells = ["dash", "bash"].filter((shell) => Bun.which(shell) !== null);
/** Real ones are large, and packing them takes a while: once for all. */
let real: Releases;

beforeAll(async () => {
  dir = tempDir();
  releases = await startReleases({
    releases: { "v2.0.0": releaseOf(dir.path, "2.0.0"), "v2.1.0": releaseOf(dir.path, "2.1.0") },
  });
  const executable = { path: await compiledDbx() };
  const bytes = packed(dir.path, { executable, ending: "tar.gz" });
  real = await startReleases({ releases: { "v2.0.0": withChecksums({ [archive]: bytes }) } });
});
afterAll(async () => {
  await releases[Symbol.asyncDispose]();
  await real[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});
beforeEach(() => {
  home = join(dir.path, "person", "home");
  mkdirSync(home, { recursive: true });
});
afterEach(() => {
  releases.faults.clear();
  rmSync(join(dir.path, "person"), { recursive: true });
});

const installed = () => join(home, ".local/bin/dbx");
/** Empty where the process is gone by now. */
const argumentsOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
};
const versionAt = async (path: string) =>
  (await run([path, "--version"], { cwd: home, env: { HOME: home } })).stdout.trim();
/** Everything below a folder, directories with their names alone. */
const filesIn = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String).sort() : [];

describe.skipIf(lacking)("an empty home [needs curl]", () => {
  test.each(shells)("gets dbx by %s, and what it needs to be found", async (shell) => {
    const { code, stdout, stderr } = await install({ home, releases: real, shell: [shell] });

    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain(`is installed: ${installed()}`);
    expect(await versionAt(installed())).toMatch(/^dbx \d+\.\d+\.\d+$/);
    expect(statSync(installed()).mode & 0o777).toBe(0o755);
    expect(filesIn(join(home, ".local/bin"))).toEqual(["dbx"]);
    expect(filesIn(home)).toEqual([".local", ".local/bin", ".local/bin/dbx", ".profile"]);
  });

  test("gets it through a pipe, too: curl … | sh", async () => {
    await using place = await startReleases({
      releases: { "v2.0.0": { "eventdbx-installer.sh": installerText } },
    });
    const url = `${place.download}/v2.0.0/eventdbx-installer.sh`;
    const { code, stderr } = await run(["sh", "-c", `curl -LsSf ${url} | sh`], {
      cwd: home,
      env: { PATH: process.env["PATH"], HOME: home, DBX_RELEASES_URL: releases.url },
    });

    expect(stderr).toContain("is installed");
    expect(code).toBe(0);
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
  });

  test("gets it once from two that run at a time", async () => {
    const ran = await Promise.all([install({ home, releases }), install({ home, releases })]);
    expect(ran.map(({ code }) => code)).toEqual([0, 0]);
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
    expect(filesIn(join(home, ".local/bin"))).toEqual(["dbx"]);
  });

  test.skipIf(Bun.which("busybox") === null)(
    "gets it where busybox is all there is, as in a small container [needs busybox]",
    async () => {
      const path = join(dir.path, "applets");
      mkdirSync(path);
      const made = await run(["busybox", "--install", "-s", path], { cwd: home });
      // A folder without the archive that is asked for first.
      const folder = { DBX_RELEASES_URL: "", EVENTDBX_DOWNLOAD_URL: `${releases.download}/v2.1.0` };
      const options = { home, releases, env: { PATH: path, ...folder }, shell: [join(path, "sh")] };
      const installing = await install({ ...options, args: ["-v"] });
      const removing = await install({ ...options, args: ["--uninstall"] });

      expect(made.code).toBe(0);
      expect(installing.stderr).toContain("loading with wget, checking with sha256sum");
      expect(installing.stderr).toContain(`dbx 2.1.0 is installed: ${installed()}`);
      expect([installing.code, removing.code]).toEqual([0, 0]);
      expect(filesIn(join(home, ".local/bin"))).toEqual([]);
    },
  );

  test("has a server that stays up while its file is replaced, and is not pulled out of", async () => {
    mkdirSync(join(home, ".local/bin"), { recursive: true });
    copyFileSync(await compiledDbx(), installed());
    const env = { PATH: process.env["PATH"], HOME: home, EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0" };
    const dbx = (...args: string[]) => run([installed(), ...args], { cwd: home, env });
    expect(await dbx("start", "--port", "0")).toMatchObject({ code: 0 });

    const refused = await install({ home, releases: real, args: ["--uninstall"] });
    const replaced = await install({ home, releases: real });
    const status = await dbx("status");
    const stopped = await dbx("stop");
    const removed = await install({ home, releases: real, args: ["--uninstall"] });

    expect(refused.stderr).toContain("a server of dbx is running");
    expect(refused.stderr).toContain(`stop it first: ${installed()} stop`);
    expect([refused, replaced, status, stopped, removed].map(({ code }) => code)).toEqual([
      ...[1, 0, 0, 0, 0],
    ]);
    expect(existsSync(installed())).toBe(false);
    expect(filesIn(join(home, ".eventdbx")).length).toBeGreaterThan(3);
  });
});

describe.skipIf(lacking)("which release [needs curl]", () => {
  const wanted: readonly (readonly [readonly string[], string])[] = [
    [[], "dbx 2.1.0"],
    [["--version", "latest"], "dbx 2.1.0"],
    [["--version=v2.0.0"], "dbx 2.0.0"],
    [["--version", "2.0.0"], "dbx 2.0.0"],
  ];
  test.each(wanted)("flags %j", async (args, version) => {
    expect((await install({ home, releases, args })).code).toBe(0);
    expect(await versionAt(installed())).toBe(version);
  });

  test("one that is not there is named", async () => {
    const { code, stderr } = await install({ home, releases, args: ["--version", "v9.9.9"] });
    expect(stderr).toContain(`error: there is no release v9.9.9 at ${releases.url}`);
    expect({ code, left: filesIn(home) }).toEqual({ code: 1, left: [".local"] });
  });

  test("a folder of files needs no API, and is named by either variable", async () => {
    for (const name of ["EVENTDBX_DOWNLOAD_URL", "INSTALLER_DOWNLOAD_URL"]) {
      const env = { DBX_RELEASES_URL: "", [name]: `${releases.download}/v2.0.0/` };
      const { code } = await install({ home, releases, env });
      expect(code).toBe(0);
      expect(await versionAt(installed())).toBe("dbx 2.0.0");
    }
  });

  test("over an older one and an equal one", async () => {
    await install({ home, releases, args: ["--version", "v2.0.0"] });
    const later = await install({ home, releases, args: ["-v"] });
    const again = await install({ home, releases, args: ["-v"] });

    expect(later.stderr).toContain("replacing dbx 2.0.0");
    expect(again.stderr).toContain("replacing dbx 2.1.0");
    expect([later.code, again.code]).toEqual([0, 0]);
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
    expect(filesIn(join(home, ".local/bin"))).toEqual(["dbx"]);
  });

  test.skipIf(Bun.which("xz") === null)(
    "the smaller archive where xz is here [needs xz]",
    async () => {
      const executable = { text: standIn("2.0.1") };
      const assets = withChecksums({
        [archive]: packed(dir.path, { executable: { text: standIn("0.0.0") }, ending: "tar.gz" }),
        [archiveName("tar.xz")]: packed(dir.path, { executable, ending: "tar.xz" }),
      });
      await using both = await startReleases({ releases: { "v2.0.1": assets } });

      expect((await install({ home, releases: both })).code).toBe(0);
      expect(await versionAt(installed())).toBe("dbx 2.0.1");
    },
  );

  const loaders = ["curl", "wget"].filter((loader) => Bun.which(loader) !== null);
  test.each(loaders)("a token goes to the API alone, by %s", async (loader) => {
    const path = pathWith(dir.path, [loader, "gzip", "sha256sum"]);
    const env = { PATH: path, EVENTDBX_GITHUB_TOKEN: "secret-of-the-api" };
    const { code, stderr } = await install({
      home,
      releases,
      env,
      args: ["-v"],
      shell: ["/bin/sh"],
    });

    expect(code).toBe(0);
    expect(stderr).not.toContain("secret-of-the-api");
    const last = releases.requests.slice(-3);
    expect(last.map(({ path, headers }) => [path, headers["authorization"]])).toEqual([
      ["/releases/latest", "Bearer secret-of-the-api"],
      [`/download/v2.1.0/${archive}`, undefined],
      [`/download/v2.1.0/${archive}.sha256`, undefined],
    ]);
  });

  test.each(loaders)("a token is in the arguments of no process, by %s", async (loader) => {
    await using place = await startReleases({
      ...{ releases: { "v2.0.0": {} }, faults: { latest: { kind: "silent" } } },
    });
    const path = pathWith(dir.path, [loader, "gzip", "sha256sum"]);
    const env = { PATH: path, EVENTDBX_GITHUB_TOKEN: "secret-of-the-api" };
    const { command, options } = installerCommand({ home, releases: place, env });
    const child = Bun.spawn(["/bin/sh", ...command.slice(1)], options);
    await place.until("latest");

    const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const lines = processes
      .map((pid) => argumentsOf(pid))
      .filter((line) => line.includes(place.url));
    child.kill();

    expect(lines.length).toBeGreaterThan(0);
    expect(lines.filter((line) => line.includes("secret-of-the-api"))).toEqual([]);
    expect(place.requests[0]?.headers["authorization"]).toBe("Bearer secret-of-the-api");
    expect(await child.exited).toBe(143);
  });
});
