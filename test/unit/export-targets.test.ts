// Files that an export may not replace. It finds out before it replaces the first one.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { publish } from "../../src/cli/export/scratch.ts";
import { aggregate, exportTo, pagesFrom, type ExportCase } from "../support/export.ts";
import { tempDir } from "../support/temp.ts";

const three = () => pagesFrom(["t0", "t1", "t2"].map((type) => aggregate(type, "1", { x: "1" })));

/** Every file below a directory with its text; links are not followed. */
const textsIn = (path: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
      const below = join(path, entry.name);
      if (entry.isFile()) return [[entry.name, readFileSync(below, "utf8")]];
      const inner = entry.isDirectory() ? Object.entries(textsIn(below)) : [];
      return inner.map(([name, text]) => [`${entry.name}/${name}`, text]);
    }),
  );

/** A directory with results of an earlier export, and a data directory beside it. */
function prepare(path: string) {
  const [out, data_dir] = [join(path, "out"), join(path, "data")];
  mkdirSync(out);
  mkdirSync(join(data_dir, "sub"), { recursive: true });
  for (const type of ["t0", "t1"]) writeFileSync(join(out, `${type}.csv`), "old");
  writeFileSync(join(data_dir, "machine.key"), "secret");
  return { out, data_dir };
}

const refusal = (options: ExportCase): Promise<unknown> =>
  exportTo(options).then(
    () => "nothing was refused",
    (error: unknown) => error,
  );

const obstacles: [what: string, lay: (at: string, path: string) => void, message: RegExp][] = [
  ["a directory", (at) => mkdirSync(at), /out\/t2\.csv is a directory$/],
  ["a link to a directory", (at, path) => symlinkSync(path, at), /t2\.csv is a directory$/],
  ["a link to nothing", (at) => symlinkSync("ghost", at), /out\/t2\.csv is a link to nothing$/],
  ["a link to itself", (at) => symlinkSync("t2.csv", at), /cannot be looked at \(ELOOP\)$/],
  ["a link to a device", (at) => symlinkSync("/dev/null", at), /is neither a file nor a directory/],
  [
    "a link to a file of the data directory",
    (at, path) => symlinkSync(join(path, "data/machine.key"), at),
    /out\/t2\.csv lies in the data directory .*; an export goes elsewhere$/,
  ],
  [
    "a link to another target",
    (at) => symlinkSync("t0.csv", at),
    /out\/t2\.csv is the same file as .*out\/t0\.csv$/,
  ],
];

describe("an export whose last target cannot be replaced replaces none", () => {
  test.each(obstacles)("where it is %s", async (_what, lay, message) => {
    using dir = tempDir();
    const { out, data_dir } = prepare(dir.path);
    lay(join(out, "t2.csv"), dir.path);
    const before = textsIn(dir.path);
    const error = await refusal({ output: out, data_dir, pages: three() });
    expect(error).toMatchObject({ code: "invalid_argument", details: { flag: "--output" } });
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
    expect(textsIn(dir.path)).toEqual(before);
  });

  const memory = "/dev/shm";
  const here = tempDir();
  const far = existsSync(memory) && statSync(memory).dev !== statSync(here.path).dev;
  here[Symbol.dispose]();
  test.skipIf(!far)(
    "where it is a link to a file on another file system [needs /dev/shm apart from the rest]",
    async () => {
      using dir = tempDir();
      using other = tempDir(memory);
      const { out, data_dir } = prepare(dir.path);
      const file = join(other.path, "far");
      writeFileSync(file, "old");
      symlinkSync(file, join(out, "t2.csv"));
      const error = await refusal({ output: out, data_dir, pages: three() });
      const message = /out\/t2\.csv is a link to another file system/;
      expect(error).toMatchObject({
        ...{ code: "invalid_argument", message: expect.stringMatching(message) },
      });
      const kept = { "out/t0.csv": "old", "out/t1.csv": "old", "data/machine.key": "secret" };
      expect(textsIn(dir.path)).toEqual(kept);
      expect(textsIn(other.path)).toEqual({ far: "old" });
    },
  );
});

test.skipIf(process.getuid?.() === 0)(
  "a link into a folder where nobody may write is found out, too [needs not to be root]",
  async () => {
    using dir = tempDir();
    const { out, data_dir } = prepare(dir.path);
    const folder = join(dir.path, "theirs");
    mkdirSync(folder);
    writeFileSync(join(folder, "file"), "old");
    symlinkSync(join(folder, "file"), join(out, "t2.csv"));
    chmodSync(folder, 0o500);
    const before = textsIn(dir.path);
    const error = await refusal({ output: out, data_dir, pages: three() });
    chmodSync(folder, 0o700);
    expect(error).toMatchObject({ code: "invalid_argument", details: { reason: "EACCES" } });
    expect(textsIn(dir.path)).toEqual(before);
  },
);

test("files that are one file by two names are two targets", async () => {
  using dir = tempDir();
  const { out, data_dir } = prepare(dir.path);
  linkSync(join(data_dir, "machine.key"), join(out, "t2.csv"));
  const tables = await exportTo({ output: out, data_dir, pages: three() });
  expect(tables).toHaveLength(3);
  const row = "__aggregate_id,x\n1,1\n";
  const files = { "out/t0.csv": row, "out/t1.csv": row, "out/t2.csv": row };
  expect(textsIn(dir.path)).toEqual({ ...files, "data/machine.key": "secret" });
});

test.each([
  [null, "link.csv"],
  ["a_csv", "link.zip"],
])("with the archive %p a link to nothing is no output", async (archive, name) => {
  using dir = tempDir();
  const output = join(dir.path, name);
  symlinkSync("ghost", output);
  const error = await refusal({ output, archive, pages: pagesFrom([]) });
  expect(error).toMatchObject({
    ...{ code: "invalid_argument", message: `--output: ${output} is a link to nothing` },
  });
  expect(readdirSync(dir.path)).toEqual([name]);
});

test("the data directory is known by any of its names", async () => {
  using dir = tempDir();
  const { data_dir } = prepare(dir.path);
  const name = join(dir.path, "name");
  symlinkSync(data_dir, name);
  for (const output of [name, join(name, "sub"), join(name, "new/x.csv"), join(data_dir, "x.csv")])
    for (const known of [data_dir, name]) {
      const error = await refusal({ output, data_dir: known, pages: three() });
      expect(error).toMatchObject({
        message: expect.stringContaining("lies in the data directory"),
      });
    }
  expect(textsIn(data_dir)).toEqual({ "machine.key": "secret" });
});

test("a place that refuses in the middle is named, with the files that are new by then", async () => {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  for (const name of ["a", "b", "c"]) writeFileSync(at(`${name}.new`), name);
  mkdirSync(at("b"));
  const moves = ["a", "b", "c"].map((name) => ({ from: at(`${name}.new`), to: at(name) }));
  const refused = await publish(moves).catch((error: unknown) => error);
  expect(refused).toMatchObject({
    code: "unavailable",
    message: `cannot write ${at("b")} (EISDIR); only 1 of 3 files are exported`,
    details: { exported: [at("a")] },
  });
  expect([readFileSync(at("a"), "utf8"), existsSync(at("c"))]).toEqual(["a", false]);
  // With nothing replaced there is nothing to name: the caller says so.
  await expect(publish(moves.slice(1))).rejects.toMatchObject({ code: "EISDIR" });
});
