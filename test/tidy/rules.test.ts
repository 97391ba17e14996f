/**
 * Every rule of test/tidy.test.ts is shown a culprit here and must name it, and is shown the
 * innocent look-alike and must keep quiet. A rule that cannot fail guards nothing.
 */
import { describe, expect, test } from "bun:test";
import { leaksIn } from "../../scripts/leaks.ts";
import { importsOf, withoutComments, workersOf } from "../../scripts/sources.ts";
import * as graph from "./graph.ts";
import * as text from "./text.ts";

const file = (path: string, ...lines: string[]): graph.SourceFile => ({
  path,
  text: `${lines.join("\n")}\n`,
});

describe("imports are read from the text", () => {
  test("in every form a module can be named", () => {
    const source = [
      'import { a } from "./a.ts";',
      'import type { B } from "./b.ts";',
      "import {",
      "  c,",
      '} from "./c.ts";',
      'import * as d from "./d.ts";',
      'import e from "./e.json";',
      'export { f } from "./f.ts";',
      'export type { G } from "./g.ts";',
      'import "./h.ts";',
      'const i = await import("./i.ts");',
      'import t from "./j.proto" with { type: "text" };',
    ].join("\n");
    const letters = importsOf(source).map((name) => name.charAt(2));
    expect(letters.sort().join("")).toBe("abcdefghij");
  });
  test("but not from comments and strings that look like one", () => {
    expect(importsOf('// import { a } from "./a.ts";\n/* import "./b.ts" */')).toEqual([]);
    expect(importsOf('const url = "https://x/"; // import("./c.ts")')).toEqual([]);
    expect(withoutComments('a("//"); // b\n/* c\n */ d')).toBe('a("//");     \n    \n    d');
  });
  test("workers are entry points too", () => {
    expect(workersOf('new Worker(new URL("./w.ts", import.meta.url))')).toEqual(["./w.ts"]);
    expect(workersOf('new Worker("./v.ts")')).toEqual(["./v.ts"]);
  });
});

describe("the graph rules name", () => {
  const table = { model: [], engine: ["model", "storage/storage.ts"], storage: ["model"] };

  test("an import against the table, types included", () => {
    const culprit = file("src/model/a.ts", 'import type { B } from "../engine/b.ts";');
    expect(graph.checkImportTable([culprit], table)).toEqual([
      "src/model/a.ts: may not import src/engine/b.ts",
    ]);
    const narrow = file("src/engine/a.ts", 'import { b } from "../storage/sqlite/open.ts";');
    expect(graph.checkImportTable([narrow], table)).toHaveLength(1);
    const escape = file("src/model/a.ts", 'import { b } from "../../test/b.ts";');
    expect(graph.checkImportTable([escape], table)).toHaveLength(1);
    const stranger = file("src/newcomer/a.ts", "export const a = 1;");
    expect(graph.checkImportTable([stranger], table)).toHaveLength(1);
    const innocent = file("src/engine/a.ts", 'import { b } from "../storage/storage.ts";');
    expect(graph.checkImportTable([innocent], table)).toEqual([]);
  });
  test("a value where only the type is allowed", () => {
    const options = { module: "src/system.ts", values_from: ["src/open.ts"] };
    const line = 'import { realSystem } from "./system.ts";';
    expect(graph.checkTypeOnly([file("src/a.ts", line)], options)).toHaveLength(1);
    expect(graph.checkTypeOnly([file("src/open.ts", line)], options)).toEqual([]);
    const type = file("src/a.ts", 'import type { System } from "./system.ts";');
    expect(graph.checkTypeOnly([type], options)).toEqual([]);
  });
  test("a package away from home, or without one", () => {
    const homes = { elysia: ["server"], "node:fs": ["storage"] };
    const away = file("src/engine/a.ts", 'import { Elysia } from "elysia";');
    const deep = file("src/model/a.ts", 'import { open } from "node:fs/promises";');
    const unknown = file("src/server/a.ts", 'import x from "left-pad";');
    const home = file("src/server/a.ts", 'import { Elysia } from "elysia";');
    expect(graph.checkHomes([away, deep, unknown, home], homes)).toHaveLength(3);
    expect(graph.packageOf("@sinclair/typebox/compiler")).toBe("@sinclair/typebox");
  });
  test("a cycle of values, once, and not one of types", () => {
    const a = file("src/a.ts", 'import { b } from "./b.ts";');
    const b = file("src/b.ts", 'import { c } from "./c.ts";');
    const back = (keyword: string) => file("src/c.ts", `${keyword} { a } from "./a.ts";`);
    expect(graph.findCycles([a, b, back("import")])).toEqual([
      "src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts",
    ]);
    expect(graph.findCycles([a, b, back("import type")])).toEqual([]);
  });
  test("a file nobody reaches, and not a worker", () => {
    const main = file("src/main.ts", 'new Worker(new URL("./w.ts", import.meta.url));');
    const files = [main, file("src/w.ts"), file("src/dead.ts")];
    expect(graph.findDeadFiles(files, "src/main.ts")).toHaveLength(1);
    expect(graph.findDeadFiles([file("src/dead.ts")], "src/main.ts")).toHaveLength(1);
  });
  test("an export nobody imports", () => {
    const owner = file(
      "src/a.ts",
      "export const used = 1;",
      "export function lost() {}",
      "export interface Part {}",
      "export type Whole = Part;",
      "const inner = 1;",
      "export { inner as outer };",
    );
    const user = file("src/b.ts", "import {", "  type Whole,", "  used as u,", '} from "./a.ts";');
    expect(graph.findUnusedExports([owner, user], [])).toEqual([
      "src/a.ts: nobody imports lost",
      "src/a.ts: nobody imports outer",
    ]);
    const all = file("test/a.test.ts", 'import * as a from "../src/a.ts";');
    expect(graph.findUnusedExports([owner, user], [all])).toEqual([]);
  });
});

describe("the text rules name", () => {
  test("a banned call in code, and not in a comment, a string or an import", () => {
    const ban = { pattern: /\bMath\.random\b/g, instead: "x", except: ["src/system.ts"] };
    const call = file("src/a.ts", "", "const a = Math.random();");
    expect(text.checkBans([call], [ban])).toEqual(["src/a.ts:2: Math.random — x"]);
    expect(text.checkBans([{ ...call, path: "src/system.ts" }], [ban])).toEqual([]);
    const talk = file("src/a.ts", "// Math.random", 'const a = "Math.random";', "`Math.random`;");
    expect(text.checkBans([talk], [ban])).toEqual([]);
    const inTemplate = file("src/a.ts", "const a = `x ${Math.random()} y`;");
    expect(text.checkBans([inTemplate], [ban])).toHaveLength(1);
    const renamed = file("src/a.ts", 'import { b as c } from "./b.ts";');
    expect(text.checkBans([renamed], [{ pattern: /\bas \w/g, instead: "x" }])).toEqual([]);
    const empty = { pattern: /\bcatch\s*\{\s*\}/g, instead: "x", in: "text" as const };
    const explained = file("src/a.ts", "try {", "} catch {", "  // It is gone already.", "}");
    expect(text.checkBans([explained], [empty])).toEqual([]);
  });
  test("a file that is too long, one that grew, and a ratchet that is too high", () => {
    const long = file("src/a.ts", ..."x".repeat(9).split(""));
    const check = (ratchet: Record<string, number>) =>
      text.checkFileLengths([long], { lines_max: 8, ratchet });
    expect(check({})).toHaveLength(1);
    expect(check({ "src/a.ts": 8 })).toEqual(["src/a.ts: grew from 8 to 9 lines"]);
    expect(check({ "src/a.ts": 9 })).toEqual([]);
    expect(check({ "src/a.ts": 10 })).toHaveLength(1);
  });
  test("a long function, and not the factory around short ones", () => {
    const body = ["  a();", "  a();", "  a();"];
    const long = file("src/a.ts", "export function f(", "  x: number,", "): void {", ...body, "}");
    expect(text.checkFunctionLengths([long], 4)).toHaveLength(1);
    expect(text.checkFunctionLengths([long], 5)).toEqual([]);
    const arrow = file("src/a.ts", "const f = async (x: number) => {", ...body, "};");
    expect(text.checkFunctionLengths([arrow], 4)).toHaveLength(1);
    const inner = ["  const g = () => {", ...body.map((line) => `  ${line}`), "  };"];
    const factory = file("src/a.ts", "function create() {", ...inner, ...inner, "}");
    expect(text.checkFunctionLengths([factory], 5)).toEqual([]);
    const branch = file("src/a.ts", "if (a) {", ...body, "}");
    expect(text.checkFunctionLengths([branch], 4)).toEqual([]);
  });
  test("a long line, unless one literal makes it long", () => {
    const wide = file("src/a.ts", `const a = b + ${"c + ".repeat(30)}d;`);
    const literal = file("src/a.ts", `const a = "${"c".repeat(120)}";`);
    expect(text.checkLineLengths([wide, literal], 100)).toHaveLength(1);
  });
  test("a file without a header, or with an essay", () => {
    expect(text.checkHeaders([file("src/a.ts", "export const a = 1;")], 5)).toHaveLength(1);
    expect(text.checkHeaders([file("src/a.ts", ...Array(6).fill("// x"))], 5)).toHaveLength(1);
    expect(text.checkHeaders([file("src/a.ts", "#!/usr/bin/env bun", "// What.")], 5)).toEqual([]);
    expect(text.checkHeaders([file("src/a.ts", "/**", " * What.", " */")], 5)).toEqual([]);
  });
  test("a name that says nothing", () => {
    const paths = ["src/utils/a.ts", "src/cli/helpers.ts", "src/index.ts", "src/Foo.ts"];
    expect(text.checkNames(paths)).toHaveLength(4);
    expect(text.checkNames(["src/model/stream.ts", "test/unit/machine-key.test.ts"])).toEqual([]);
  });
  test("Event without its import", () => {
    expect(text.checkUnimportedEvent([file("src/a.ts", "let e: Event;")])).toHaveLength(1);
    const own = 'import { type Event } from "./event.ts";';
    expect(text.checkUnimportedEvent([file("src/a.ts", own, "let e: Event;")])).toEqual([]);
    expect(text.checkUnimportedEvent([file("src/a.ts", "let e: EventRecord;")])).toEqual([]);
  });
  test("a skip without a reason", () => {
    const silent = file("test/a.test.ts", 'test.skipIf(no)("works", () => {});');
    const said = file("test/a.test.ts", 'test.skipIf(no)("works [needs strace]", () => {});');
    expect(text.checkSkipReasons([silent, said])).toHaveLength(1);
  });
  test("SQL away from home, and not prose", () => {
    const query = file("src/engine/a.ts", 'db.run("SELECT a FROM b");');
    const prose = file("src/engine/a.ts", 'say("select one of these");', "// DELETE FROM event");
    const homes = ["src/storage/sqlite"];
    expect(text.checkSql([query], homes)).toHaveLength(1);
    expect(text.checkSql([prose, { ...query, path: "src/storage/sqlite/sql.ts" }], homes)).toEqual(
      [],
    );
  });
  test("a path or host of one machine", () => {
    const path = ["", "work", "main"].join("/");
    const host = ["registry", "npmjs", "org"].join(".");
    expect(leaksIn(`cd ${path}\nget https://${host}/bun`)).toHaveLength(2);
    expect(leaksIn("https://example.com/work/x and src/work/y")).toEqual([]);
    expect(text.checkLeaks([file("README.md", path)])).toHaveLength(1);
  });
});
