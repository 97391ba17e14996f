// A directory in the place of another: what was there is kept, and nobody sees neither.

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { moveInto, putInPlace } from "../../src/backup/swap.ts";
import { tempDir } from "../support/temp.ts";

function folder(path: string, text: string): string {
  mkdirSync(join(path, "inner"), { recursive: true });
  writeFileSync(join(path, "dbx.db"), text);
  return path;
}
const textIn = (path: string): string => readFileSync(join(path, "dbx.db"), "utf8");

test("what was there stays under the other name", async () => {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  const paths = { fresh: folder(at("fresh"), "new"), target: folder(at("db"), "old") };
  await putInPlace({ ...paths, aside: at("aside") });
  expect([textIn(at("db")), textIn(at("aside"))]).toEqual(["new", "old"]);
  expect(readdirSync(dir.path).sort()).toEqual(["aside", "db"]);
});

test("nothing is put aside where nothing was, or an empty directory", async () => {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  for (const target of [at("none"), at("empty")]) {
    if (target === at("empty")) mkdirSync(target);
    await putInPlace({ fresh: folder(at("fresh"), "new"), target, aside: null });
    expect(textIn(target)).toBe("new");
  }
});

test("a refused rename says so and leaves both", async () => {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  const paths = { fresh: folder(at("fresh"), "new"), target: folder(at("db"), "old") };
  await expect(putInPlace({ ...paths, aside: null })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("cannot put"),
  });
  expect([textIn(at("db")), textIn(at("fresh"))]).toEqual(["old", "new"]);
});

test("an empty directory that has to stay takes in everything", async () => {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  mkdirSync(at("volume/.dbx-restore-abcdef"), { recursive: true });
  const fresh = folder(at("volume/.dbx-restore-abcdef/data"), "new");
  await moveInto({ fresh, target: at("volume") });
  expect(readdirSync(at("volume")).sort()).toEqual([".dbx-restore-abcdef", "dbx.db", "inner"]);
  expect(textIn(at("volume"))).toBe("new");
  expect(readdirSync(fresh)).toEqual([]);
});
