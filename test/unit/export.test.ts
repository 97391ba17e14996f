// The parts of an export: names of files, places, cells, the bar, and what is left when it fails.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { csvCell } from "../../src/cli/export/csv.ts";
import { createFileNames, fileName } from "../../src/cli/export/names.ts";
import { pathsOf, placeOf, type Format } from "../../src/cli/export/place.ts";
import { progressLine } from "../../src/cli/progress.ts";
import { pagesOf } from "../../src/cli/export/tables.ts";
import type { Aggregate } from "../../src/model/aggregate.ts";
import { DbxError, tooLarge, unavailable } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { aggregate, exportTo, pagesFrom } from "../support/export.ts";
import { tempDir } from "../support/temp.ts";

describe("the name of a type's file", () => {
  const long = "😀".repeat(256);
  const rows: [type: string, name: string][] = [
    ["patient", "patient"],
    ["Order-Line_2", "Order-Line_2"],
    ["a/b c.d", "a_b_c_d"],
    ["é😀", "__"],
    ["../../etc", "______etc"],
    ["CON", "CON_"],
    ["lpt1", "lpt1_"],
    ["com10", "com10"],
  ];
  test.each(rows)("%p is %p", (type, name) => {
    expect(fileName(type)).toBe(name);
  });

  test("is cut where file systems would not take it, and still tells types apart", () => {
    const nameOf = createFileNames();
    const names = [long, `${long.slice(2)}x`].map(nameOf);
    expect(names.map((name) => name.length)).toEqual([240, 240]);
    expect(names[0]).toMatch(/^_{231}-[0-9a-f]{8}$/);
    expect(new Set(names).size).toBe(2);
  });

  test("is another one where it is taken, whatever the case of its letters", () => {
    const nameOf = createFileNames();
    const hash = (type: string) => new Bun.CryptoHasher("sha256").update(type).digest("hex");
    expect(nameOf("A b")).toBe("A_b");
    const second = `a_b-${hash("a.b").slice(0, 8)}`;
    expect(nameOf("a.b")).toBe(second);
    // Somebody chose this type in order to share the second one's file.
    expect(nameOf(second)).toBe(`${second}-${hash(second).slice(0, 8)}`);
  });

  test("is given to so many types and no more", () => {
    const nameOf = createFileNames();
    for (let index = 0; index < limits.export_types_max; index++) nameOf(`t${index}`);
    expect(() => nameOf("more")).toThrow(/at most 16384 aggregate types/);
  });
});

test.each([
  ["plain", "plain"],
  ["", '""'],
  ["a,b", '"a,b"'],
  ['a"b', '"a""b"'],
  ["a\nb", '"a\nb"'],
  ["a\rb", '"a\rb"'],
  [" a ", " a "],
  ["=1+1", "'=1+1"],
  ["=a,b", `"'=a,b"`],
  ["+1", "'+1"],
  ["-1", "-1"],
  ["-1.5e400", "-1.5e400"],
  ["-1-1", "'-1-1"],
  ["-", "'-"],
  ["@x", "'@x"],
  ["\tx", "'\tx"],
  ["\rx", `"'\rx"`],
  ["'", "''"],
  ["'=1", "''=1"],
  ["a=1", "a=1"],
])("the value %j is the cell %j", (value, cell) => {
  expect(csvCell(value)).toBe(cell);
});

const one = [aggregate("a", "1", { x: "1" })];
const two = [aggregate("b", "1", {}), aggregate("b", "2", { y: { z: [1] } })];

describe("the place of an export", () => {
  const rows: [string, Format, Aggregate[], Record<string, string>][] = [
    ["old.csv", "csv", one, { "old.csv": "__aggregate_id,x\n1,1\n" }],
    ["folder", "csv", one, { "folder/a.csv": "__aggregate_id,x\n1,1\n" }],
    ["folder.csv", "csv", one, { "folder.csv/a.csv": "__aggregate_id,x\n1,1\n" }],
    ["new.CSV", "csv", one, { "new.CSV": "__aggregate_id,x\n1,1\n" }],
    ["new.csv/", "csv", one, { "new.csv/a.csv": "__aggregate_id,x\n1,1\n" }],
    ["new.json/", "csv", one, { "new.json/a.csv": "__aggregate_id,x\n1,1\n" }],
    ["folder.csv", "json", one, { "folder.csv/a.json": '[{"__aggregate_id":"1","x":"1"}]\n' }],
    ["new.json", "json", one, { "new.json": '[{"__aggregate_id":"1","x":"1"}]\n' }],
    ["deep/er/new.csv", "csv", one, { "deep/er/new.csv": "__aggregate_id,x\n1,1\n" }],
    [
      "new.csv",
      "csv",
      [...one, ...two],
      {
        "new.csv/a.csv": "__aggregate_id,x\n1,1\n",
        "new.csv/b.csv": '__aggregate_id,y\n1,\n2,"{""z"":[1]}"\n',
      },
    ],
  ];
  test.each(rows)("%s as %s takes what is found", async (output, format = "csv", list, files) => {
    using dir = tempDir();
    mkdirSync(join(dir.path, "folder"));
    mkdirSync(join(dir.path, "folder.csv"));
    writeFileSync(join(dir.path, "old.csv"), "old");
    const tables = await exportTo({
      output: join(dir.path, output),
      format,
      pages: pagesFrom(list),
    });
    const shown = (path: string) => join(dir.path, path);
    expect(tables.map(({ file }) => file)).toEqual(Object.keys(files).map(shown));
    for (const [path, text] of Object.entries(files)) {
      expect(readFileSync(shown(path), "utf8")).toBe(text);
    }
    expect(hidden(dir.path)).toEqual([]);
  });

  test.each([
    ["folder", "folder/a_csv.zip"],
    ["new/", "new/a_csv.zip"],
    ["new", "new.zip"],
    ["new.csv", "new.zip"],
    ["new.ZIP", "new.ZIP"],
  ])("with --zip %s is %s", (output, path) => {
    using dir = tempDir();
    mkdirSync(join(dir.path, "folder"));
    const place = placeOf({
      ...{ output: `${dir.path}/${output}`, format: "csv", archive: "a_csv", data_dir: "/none" },
    });
    expect(pathsOf(place, ["a.csv"])).toEqual([join(dir.path, path)]);
  });

  test("may be a link, which then names the new file", async () => {
    using dir = tempDir();
    const [file, link] = [join(dir.path, "elsewhere"), join(dir.path, "link")];
    writeFileSync(file, "old");
    symlinkSync(file, link);
    await exportTo({ output: link, pages: pagesFrom(one) });
    expect(readlinkSync(link)).toBe(file);
    expect(readFileSync(file, "utf8")).toBe("__aggregate_id,x\n1,1\n");
  });

  test("must be a directory for several types, which the file that is there survives", async () => {
    using dir = tempDir();
    const output = join(dir.path, "old.csv");
    writeFileSync(output, "old");
    const refused = exportTo({ output, pages: pagesFrom(one, two) });
    expect(refused).rejects.toMatchObject({
      code: "invalid_argument",
      message: "output path must be a directory when exporting multiple aggregate types",
    });
    await refused.catch(() => {});
    expect(readFileSync(output, "utf8")).toBe("old");
    expect(readdirSync(dir.path)).toEqual(["old.csv"]);
  });

  test.each([
    ["new.json", "csv"],
    ["new.JSON", "csv"],
    ["old.json", "csv"],
    ["new.csv", "json"],
    ["deep/er/new.csv", "json"],
  ] as const)("%s is not for %s", (output, format) => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "old.json"), "");
    const path = join(dir.path, output);
    const place = () => placeOf({ output: path, format, archive: null, data_dir: "/none" });
    const other = format === "csv" ? "json" : "csv";
    expect(place).toThrow(
      `--output: ${path} is no name for ${format}; --format ${other} goes there`,
    );
  });

  test("is never a device, something below a file, or the data directory", () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "file"), "");
    mkdirSync(join(dir.path, "data/sub"), { recursive: true });
    const data_dir = join(dir.path, "data");
    const at = (output: string) => () =>
      placeOf({ output, format: "csv", archive: null, data_dir });
    expect(at("/dev/null")).toThrow("--output: /dev/null is neither a file nor a directory");
    expect(at(join(dir.path, "file/x/y"))).toThrow(`${dir.path}/file is not a directory`);
    for (const inside of ["data", "data/sub", "data/tokens.csv", "data/new/x"]) {
      expect(at(join(dir.path, inside))).toThrow("lies in the data directory");
    }
    expect(at(join(dir.path, "data2"))).not.toThrow();
  });
});

const hidden = (path: string) => readdirSync(path).filter((name) => name.startsWith("."));

describe("a failed export leaves everything as it was", () => {
  const fail = () => {
    throw unavailable("the server is gone");
  };
  test.each([
    ["csv", null],
    ["json", null],
    ["csv", "a"],
    ["json", "a"],
  ] as const)("when the pages end early (%s, archive %p)", async (format, archive) => {
    using dir = tempDir();
    const output = join(dir.path, `old.${archive === null ? format : "zip"}`);
    writeFileSync(output, "old");
    const refused = exportTo({ output, format, archive, pages: pagesFrom(one, fail) });
    expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: "unavailable" });
    expect(readFileSync(output, "utf8")).toBe("old");
    expect(readdirSync(dir.path)).toHaveLength(1);
  });

  test("when a type has more columns than a table may have", async () => {
    using dir = tempDir();
    const output = join(dir.path, "new");
    const keys = (from: number, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${from + index}`, ""]));
    const wide = aggregate("wide", "1", keys(0, limits.export_columns_max));
    await exportTo({ output, pages: pagesFrom([wide]) });
    const refused = exportTo({
      output,
      pages: pagesFrom([wide, aggregate("wide", "2", keys(-1, 1))]),
    });
    const message = /type "wide" have more than 16384 different members/;
    expect(await refused.catch((error: Error) => error.message)).toMatch(message);
    await exportTo({
      output,
      format: "json",
      pages: pagesFrom([wide, aggregate("wide", "2", { z: "" })]),
    });
    expect(readdirSync(output).sort()).toEqual(["wide.csv", "wide.json"]);
  });

  test("when the path cannot be written, which is not the disk's fault", async () => {
    if (process.getuid?.() === 0) {
      // Root may write anywhere; a name no file system takes does for root.
      using dir = tempDir();
      const output = `${join(dir.path, "n".repeat(300))}.csv`;
      const error = await exportTo({ output, pages: pagesFrom(one) }).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({ code: "invalid_argument" });
      expect(String(error)).toContain("ENAMETOOLONG");
      expect(readdirSync(dir.path)).toEqual([]);
      return;
    }
    using dir = tempDir();
    chmodSync(dir.path, 0o500);
    const refused = exportTo({ output: join(dir.path, "new.csv"), pages: pagesFrom(one) });
    expect(await refused.catch((error: unknown) => error)).toMatchObject({
      ...{ code: "invalid_argument", details: { reason: "EACCES" } },
    });
  });
});

test("values that span the pieces in which files are read stay whole", async () => {
  using dir = tempDir();
  const output = join(dir.path, "long.csv");
  const texts = [1, 2, 3].map((width) => "😀é\n".repeat(30_000) + "x".repeat(width));
  const list = texts.map((text, index) => aggregate("a", `${index}`, { text, other: "1" }));
  await exportTo({ output, pages: pagesFrom(list.slice(0, 1), list.slice(1)) });
  const lines = texts.map((text, index) => `${index},1,"${text}"\n`);
  expect(readFileSync(output, "utf8")).toBe(`__aggregate_id,other,text\n${lines.join("")}`);
});

test("nothing to export makes no file", async () => {
  using dir = tempDir();
  expect(await exportTo({ output: join(dir.path, "new"), pages: pagesFrom([]) })).toEqual([]);
  expect(readdirSync(dir.path)).toEqual([]);
});

test.skipIf(Bun.which("unzip") === null)(
  "an archive holds one entry per type, at its top [needs unzip]",
  async () => {
    using dir = tempDir();
    const output = join(dir.path, "all.zip");
    const many = Array.from({ length: 3_000 }, (_, index) =>
      aggregate("c", `${index}`, { n: "é" }),
    );
    const pages = pagesFrom(one, two, many.slice(0, 1_500), many.slice(1_500));
    const tables = await exportTo({ output, archive: "all", pages });
    expect(tables.map(({ file }) => file)).toEqual(["a.csv", "b.csv", "c.csv"]);
    const unzip = (...args: string[]) => Bun.spawnSync(["unzip", ...args]).stdout.toString();
    expect(unzip("-t", output)).toContain("No errors detected");
    expect(unzip("-Z1", output)).toBe("a.csv\nb.csv\nc.csv\n");
    expect(unzip("-p", output, "a.csv")).toBe("__aggregate_id,x\n1,1\n");
    expect(unzip("-p", output, "c.csv")).toBe(
      `__aggregate_id,n\n${many.map(({ aggregate_id }) => `${aggregate_id},é\n`).join("")}`,
    );
    expect(existsSync(output)).toBe(true);
  },
);

describe("pages of an export", () => {
  test("that are refused for their size are asked for in smaller ones", async () => {
    const all = Array.from({ length: 20 }, (_, index) => aggregate("a", `${index}`, {}));
    const taken: number[] = [];
    const ask: Parameters<typeof pagesOf>[0] = async ({ take = 0, cursor = "0" }) => {
      if (take > 8) throw tooLarge("the page is larger than it may be");
      taken.push(take);
      const end = Number(cursor) + take;
      const next_cursor = end < 20 ? String(end) : null;
      return { aggregates: all.slice(Number(cursor), end), next_cursor };
    };
    const ids: string[] = [];
    for await (const page of pagesOf(ask, {})) ids.push(...page.map((each) => each.aggregate_id));
    expect(ids).toEqual(all.map(({ aggregate_id }) => aggregate_id));
    expect(taken.every((take) => take <= 8)).toBe(true);
  });

  test("where even one row is too large, the refusal is told", async () => {
    const ask = async () => {
      throw tooLarge("the page is larger than it may be");
    };
    const first = pagesOf(ask, {}).next();
    expect(await first.catch((error: unknown) => error)).toBeInstanceOf(DbxError);
  });
});

const half = { done: 500_000, total: 1_000_000, seconds: 5 };
test.each([
  [
    { done: 250, total: 1_000, seconds: 5 },
    79,
    "[=====               ]  25 %  250 of 1,000 aggregates  50/s  0:15 left",
  ],
  [
    { done: 1, total: 1_000_000, seconds: 1 },
    79,
    "[                    ]   0 %  1 of 1,000,000 aggregates  1/s  277:46:39 left",
  ],
  // Aggregates that were made meanwhile.
  [
    { done: 3.5, total: 3, seconds: 1 },
    79,
    "[====================] 100 %  3 of 3 aggregates  3/s  0:00 left",
  ],
  [
    { done: 0, total: 0, seconds: 0 },
    79,
    "[====================] 100 %  0 of 0 aggregates  0/s  ? left",
  ],
  [{ done: 12_345.5, total: null, seconds: 10 }, 79, "12,345 aggregates  1,234/s"],
  [half, 79, "[========        ]  50 %  500,000 of 1,000,000 aggregates  100,000/s  0:05 left"],
  [half, 67, " 50 %  500,000 of 1,000,000 aggregates  100,000/s  0:05 left"],
  [half, 59, "[===    ]  50 %  500,000 of 1,000,000 aggregates  100,000/s"],
  [half, 56, " 50 %  500,000 of 1,000,000 aggregates  100,000/s"],
  [half, 40, " 50 %  500,000 of 1,000,000 aggregates"],
  [half, 20, "[======      ]  50 %"],
  [half, 3, " 50"],
  [{ ...half, total: null }, 20, "500,000 aggregates"],
])("the bar for %o in %d columns", (progress, columns, line) => {
  expect(progressLine({ ...progress, unit: "aggregates", columns })).toBe(line);
});

test("the bar never has more columns than the terminal", () => {
  for (let columns = 1; columns <= 120; columns++)
    for (const total of [null, 0, 10, 999_999_999])
      for (const done of [0, 1, 1e6]) {
        const line = progressLine({ done, total, unit: "aggregates", seconds: 3, columns });
        expect(line.length).toBeLessThanOrEqual(columns);
      }
});
