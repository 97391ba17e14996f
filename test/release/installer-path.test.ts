// How scripts/eventdbx-installer.sh makes dbx found: what it says about PATH, what it writes into
// the files of shells, and how that is undone.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/checkout.ts";
import {
  install,
  installerText,
  releaseOf,
  standIn,
  type Installing,
  lacking,
} from "../support/installer.ts";
import { startReleases, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let releases: Releases;
let home: string;

beforeAll(async () => {
  dir = tempDir();
  releases = await startReleases({ releases: { "v2.1.0": releaseOf(dir.path, "2.1.0") } });
});
afterAll(async () => {
  await releases[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});
beforeEach(() => {
  rmSync(join(dir.path, "person"), { recursive: true, force: true });
  home = join(dir.path, "person", "home");
  mkdirSync(home, { recursive: true });
});

const put = (name: string, text: string) => writeFileSync(join(home, name), text);
const read = (name: string) => readFileSync(join(home, name), "utf8");
const go = (options: Partial<Installing> = {}) => install({ home, releases, ...options });
const mark = "# added by the dbx installer";
/** Where a shell of the person finds dbx. */
const found = async (argv: readonly string[]) => {
  const env = { HOME: home, PATH: process.env["PATH"] };
  return (await run([...argv, "command -v dbx"], { cwd: home, env })).stdout.trim();
};

describe.skipIf(lacking)("PATH [needs curl]", () => {
  test("gets the directory in the files that bash reads, said first, and once", async () => {
    put(".bashrc", "alias ll='ls -l'");
    chmodSync(join(home, ".bashrc"), 0o600);
    const { code, stderr } = await go();
    const again = await go({ args: ["-v"] });

    const line = read(".profile").trimEnd();
    expect(code).toBe(0);
    for (const name of [".bashrc", ".profile"]) {
      expect(stderr).toContain(`Adding ${home}/.local/bin to PATH: the file ${home}/${name} gets`);
    }
    expect(stderr).toContain(`  ${line}\n`);
    expect(stderr).toContain("To undo that, remove the line, or run this script with --uninstall.");
    expect(read(".bashrc")).toBe(`alias ll='ls -l'\n${line}\n`);
    expect(again.stderr).toContain(`${home}/.profile has it on PATH already`);
    expect(again.stderr).not.toContain("Adding");
    expect(read(".profile")).toBe(`${line}\n`);
    expect(line).toEndWith(mark);
    expect(await found(["bash", "-l", "-c"])).toBe(join(home, ".local/bin/dbx"));
    expect(await found(["sh", "-l", "-c"])).toBe(join(home, ".local/bin/dbx"));
  });

  test("is as it was after --uninstall, with modes and links", async () => {
    mkdirSync(join(home, "dots"));
    put("dots/bashrc", "# mine\n");
    chmodSync(join(home, "dots/bashrc"), 0o640);
    symlinkSync("dots/bashrc", join(home, ".bashrc"));
    put(".bash_profile", "# also mine\n");
    await go();
    const during = [read(".bashrc"), read(".bash_profile"), existsSync(join(home, ".profile"))];
    const { code, stderr } = await go({ args: ["--uninstall"] });

    expect(during).toEqual([
      expect.stringContaining(mark),
      expect.stringContaining(mark),
      // Which bash does not read beside the other one.
      false,
    ]);
    expect([read(".bashrc"), read(".bash_profile")]).toEqual(["# mine\n", "# also mine\n"]);
    expect(lstatSync(join(home, ".bashrc")).isSymbolicLink()).toBe(true);
    expect(statSync(join(home, "dots/bashrc")).mode & 0o777).toBe(0o640);
    expect(stderr).toContain(`removed ${home}/.local/bin/dbx`);
    expect(stderr).toContain(`removed the line for PATH from ${home}/.bashrc`);
    expect(stderr).toContain(`Data and configuration are still there: ${home}/.eventdbx`);
    expect({ code, left: readdirSync(join(home, ".local/bin")) }).toEqual({ code: 0, left: [] });
    expect(readdirSync(home).sort()).toEqual([".bash_profile", ".bashrc", ".local", "dots"]);
  });

  const untouched: readonly (readonly [string, Partial<Installing>])[] = [
    ["--no-modify-path", { args: ["--no-modify-path"] }],
    ["EVENTDBX_NO_MODIFY_PATH", { env: { EVENTDBX_NO_MODIFY_PATH: "1" } }],
    ["INSTALLER_NO_MODIFY_PATH", { env: { INSTALLER_NO_MODIFY_PATH: "1" } }],
  ];
  test.each(untouched)("stays as it is with %s, and that is said", async (_, options) => {
    const { code, stderr } = await go(options);
    expect(stderr).toContain(`${home}/.local/bin is not on PATH, and was not added.`);
    expect({ code, files: readdirSync(home) }).toEqual({ code: 0, files: [".local"] });
  });

  test("stays as it is where the directory is on it already", async () => {
    const env = { PATH: `${process.env["PATH"]}:${home}/.local/bin` };
    const { stderr } = await go({ env });
    expect(stderr).not.toContain("PATH");
    expect(readdirSync(home)).toEqual([".local"]);
  });

  test("cannot have a directory with a colon, which is said", async () => {
    const { code, stderr } = await go({ args: ["--to", join(home, "a:b")] });
    expect(stderr).toContain(`warning: ${home}/a:b cannot be on PATH`);
    expect({ code, files: readdirSync(home) }).toEqual({ code: 0, files: ["a:b"] });
  });

  test("takes a directory with every sign that a shell reads", async () => {
    const odd = join(home, "o$HOME\"d`d \\ 'bin");
    const { code } = await go({ args: ["--to", odd] });
    expect(code).toBe(0);
    expect(await found(["bash", "-l", "-c"])).toBe(join(odd, "dbx"));
    await go({ args: ["--to", odd, "--uninstall"] });
    expect(read(".profile")).toBe("");
  });

  test("gets it from GitHub's workflows, too", async () => {
    put("paths", "");
    await go({ env: { GITHUB_PATH: join(home, "paths") } });
    expect(read("paths")).toBe(`${home}/.local/bin\n`);
  });

  test.skipIf(Bun.which("zsh") === null)("of zsh [needs zsh]", async () => {
    await go({ env: { SHELL: "/usr/bin/zsh" } });
    expect(readdirSync(home).sort()).toEqual([".local", ".zshrc"]);
    expect(await found(["zsh", "-i", "-c"])).toBe(join(home, ".local/bin/dbx"));
    await go({ args: ["--uninstall"] });
    expect(read(".zshrc")).toBe("");
  });

  test.skipIf(Bun.which("fish") === null)(
    "of fish, in a file of its own [needs fish]",
    async () => {
      await go({ env: { SHELL: "/usr/bin/fish" } });
      expect(readdirSync(home).sort()).toEqual([".config", ".local"]);
      expect(await found(["fish", "-c"])).toBe(join(home, ".local/bin/dbx"));
      await go({ args: ["--uninstall"] });
      expect(readdirSync(join(home, ".config/fish/conf.d"))).toEqual([]);
    },
  );
});

describe.skipIf(lacking)("where dbx goes [needs curl]", () => {
  const places: readonly (readonly [Partial<Installing>, string])[] = [
    [{ args: ["--to", "here"] }, "here/dbx"],
    [{ args: ["--to=here/"] }, "here/dbx"],
    [{ env: { EVENTDBX_INSTALL_DIR: "here" } }, "here/bin/dbx"],
    [{ env: { EVENTDBX_UNMANAGED_INSTALL: "here" } }, "here/dbx"],
    [{ env: { EVENTDBX_INSTALL_DIR: "there" }, args: ["--to", "here"] }, "here/dbx"],
    [{}, ".local/bin/dbx"],
  ];
  test.each(places)("%j", async (options, place) => {
    expect((await go(options)).code).toBe(0);
    expect(existsSync(join(home, place))).toBe(true);
    const isUnmanaged = options.env?.["EVENTDBX_UNMANAGED_INSTALL"] !== undefined;
    expect(existsSync(join(home, ".profile"))).toBe(!isUnmanaged);
  });

  test("must be said where there is no home", async () => {
    const { code, stderr } = await go({ env: { HOME: "" } });
    expect(stderr).toContain("there is no home directory (HOME is not set) to install into");
    expect(code).toBe(1);
    expect(await go({ env: { HOME: "" }, args: ["--to", "here"] })).toMatchObject({ code: 0 });
  });

  test("another dbx that comes first is told, and one behind it is a detail", async () => {
    mkdirSync(join(home, "older"));
    writeFileSync(join(home, "older/dbx"), standIn("1.15.3"), { mode: 0o755 });
    const [path, own, older] = [process.env["PATH"], `${home}/.local/bin`, `${home}/older`];

    const first = await go({ env: { PATH: `${older}:${own}:${path}` } });
    const behind = await go({ env: { PATH: `${own}:${older}:${path}` }, args: ["-v"] });

    expect(first.stderr).toContain(`warning: in this shell dbx is another one, which comes first`);
    expect(first.stderr).toContain(`on PATH: ${older}/dbx`);
    expect(behind.stderr).not.toContain("warning");
    expect(behind.stderr).toContain(`there is another one, behind it on PATH: ${older}/dbx`);
  });
});

describe.skipIf(lacking)("what it says [needs curl]", () => {
  test("is nothing with -q, but what goes into files of shells", async () => {
    for (const options of [{ args: ["-q"] }, { env: { EVENTDBX_PRINT_QUIET: "1" } }]) {
      const { code, stderr } = await go(options);
      const first = options.env === undefined;
      expect({ code, lines: stderr.split("\n").length }).toEqual({ code: 0, lines: first ? 4 : 1 });
      if (first) expect(stderr).toStartWith(`Adding ${home}/.local/bin to PATH: the file `);
    }
    const { stderr } = await go({ args: ["--quiet", "--version", "v9.9.9"] });
    expect(stderr).toStartWith("error: there is no release v9.9.9");
  });
  test("is more with -v", async () => {
    const { stderr } = await go({ env: { EVENTDBX_PRINT_VERBOSE: "1" } });
    expect(stderr).toContain("  this machine is ");
    expect(stderr).toMatch(/its SHA-256 is [0-9a-f]{64}, as it should be/);
  });
  test("is a page of help with --help, which names every flag and variable", async () => {
    const { stdout, stderr, code } = await go({ args: ["--help"] });
    const flags = [...installerText.matchAll(/^ {4}(--[a-z-]+)(?:=\?\*)?\)/gm)].map(
      ([, flag]) => flag,
    );
    expect(flags.length).toBeGreaterThan(4);
    for (const flag of flags) expect(stdout).toContain(String(flag));
    expect(stdout).toContain("DBX_RELEASES_URL");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });
});
