// How one executable takes the place of another: over it, and where the system forbids that, after
// renaming it away; and what is there when the new one does not answer.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  openStage,
  removeFormer,
  replaceProgram,
  siteOf,
  wayOf,
  type Way,
} from "../../src/cli/upgrade/place.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const now = "2026-11-23T16:08:41.000000Z";
let dir: TempDir;
let path: string;
beforeEach(() => {
  dir = tempDir();
  path = join(dir.path, "dbx");
  writeFileSync(path, "former", { mode: 0o750 });
});
afterEach(() => dir[Symbol.dispose]());

async function replaceWith(content: string, options: { way: Way; fails?: boolean }) {
  const site = siteOf(path);
  await using stage = await openStage(site, now);
  const staged = join(stage.path, "dbx");
  writeFileSync(staged, content);
  const seen: string[] = [];
  const verify = async (there: string) => {
    seen.push(readFileSync(there, "utf8"));
    if (options.fails === true) throw new Error("does not answer");
  };
  await replaceProgram(site, { staged, stage, way: options.way, verify });
  return seen;
}

test("Windows renames away what runs, every other system renames over it", () => {
  expect(wayOf("win32")).toBe("aside");
  for (const other of ["linux", "darwin", "freebsd"]) expect(wayOf(other)).toBe("over");
});

describe.each<[Way, string[]]>([
  ["over", ["dbx"]],
  ["aside", ["dbx", "dbx.old"]],
])("%s", (way, left) => {
  test("the new one is asked from its place, and is there", async () => {
    expect(await replaceWith("new", { way })).toEqual(["new"]);
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(readdirSync(dir.path).sort()).toEqual(left);
  });
  test("the former one comes back when the new one does not answer", async () => {
    await expect(replaceWith("new", { way, fails: true })).rejects.toThrow("does not answer");
    expect(readFileSync(path, "utf8")).toBe("former");
    expect(readdirSync(dir.path)).toEqual(["dbx"]);
  });
  test("twice leaves as much as once", async () => {
    await replaceWith("second", { way });
    await replaceWith("third", { way });
    expect(readFileSync(path, "utf8")).toBe("third");
    expect(readdirSync(dir.path).sort()).toEqual(left);
  });
});

test("what still runs under the usual name is left, and gone with the next start", async () => {
  // A directory with something in it refuses to be removed as a running file does there.
  mkdirSync(join(dir.path, "dbx.old"));
  writeFileSync(join(dir.path, "dbx.old", "held"), "");
  await replaceWith("second", { way: "aside" });
  const aside = `dbx.old-${process.pid}`;
  expect(readdirSync(dir.path).sort()).toEqual(["dbx", "dbx.old", aside]);
  expect(readFileSync(join(dir.path, aside), "utf8")).toBe("former");
  for (const name of ["dbx.older", "dbx.old-notes", "dbx.txt"]) {
    writeFileSync(join(dir.path, name), "");
  }
  await removeFormer(path);
  expect(readdirSync(dir.path).sort()).toEqual([
    ...["dbx", "dbx.old", "dbx.old-notes", "dbx.older", "dbx.txt"],
  ]);
});

test("a stage of a process that is gone, or is very old, is removed; others stay", async () => {
  const ended = Bun.spawnSync(["true"]).pid;
  for (const name of [`.dbx-upgrade-${ended}-abcdef`, `.dbx-upgrade-${process.pid}-abcdef`]) {
    mkdirSync(join(dir.path, name));
    writeFileSync(join(dir.path, name, "archive"), "");
  }
  {
    await using stage = await openStage(siteOf(path), new Date().toISOString());
    expect(statSync(stage.path).mode & 0o777).toBe(0o700);
    const names = readdirSync(dir.path).filter((name) => name.startsWith(".dbx-upgrade-"));
    expect(names).toHaveLength(2);
    expect(names).toContain(`.dbx-upgrade-${process.pid}-abcdef`);
  }
  const later = new Date(Date.now() + 2 * 86_400_000).toISOString();
  await (await openStage(siteOf(path), later))[Symbol.asyncDispose]();
  expect(readdirSync(dir.path)).toEqual(["dbx"]);
});

test("a file that somebody else has replaced meanwhile is not replaced again", () => {
  expect(() => siteOf(`${path} (deleted)`)).toThrow(
    `another executable has taken the place of this one at ${path} meanwhile; see dbx --version`,
  );
});

test("the mode of the former one is kept, and that somebody may run it", () => {
  chmodSync(path, 0o750);
  expect(siteOf(path)).toMatchObject({ mode: 0o750, directory: dir.path });
});
