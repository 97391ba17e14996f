// `dbx man`: a page that formatters take without a warning, about every command.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { commands } from "../../src/cli/cli.ts";
import { otherVariables } from "../../src/cli/keys.ts";
import { entry, paragraphs, roff } from "../../src/cli/roff.ts";
import { treeRows } from "../../src/cli/tree.ts";
import { run } from "../support/checkout.ts";
import { dbx } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let page: string;
beforeAll(async () => {
  dir = tempDir();
  const { stdout, stderr, code } = await dbx(["man"], { home: dir.path });
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  page = stdout;
  writeFileSync(join(dir.path, "dbx.1"), page);
});
afterAll(() => dir[Symbol.dispose]());

/** As it is read, in one line. */
const shown = (text: string) =>
  text
    .replaceAll(/.\u0008|\u001b\[[0-9;]*m/g, "")
    .replaceAll(/-\n\s*/g, "-")
    .replaceAll(/\s+/g, " ");

/** Those that the command line asks for by name; keys of the configuration come on top. */
async function variablesRead(): Promise<string[]> {
  const files = [...new Bun.Glob("src/cli/**/*.ts").scanSync(root)];
  const texts = await Promise.all(files.map((file) => Bun.file(join(root, file)).text()));
  const names = texts.flatMap((text) => text.match(/(?<=")(?:EVENTDBX|DBX)_[A-Z_]+(?=")/g) ?? []);
  expect(new Set(names)).toEqual(new Set([...names, ...otherVariables]));
  return [...new Set(names)];
}

const formatters: readonly (readonly [string, readonly string[]])[] = [
  ["groff", ["groff", "-man", "-ww", "-Tutf8", "dbx.1"]],
  ["mandoc", ["mandoc", "-Tutf8", "dbx.1"]],
  ["man", ["man", "--warnings", "-l", "dbx.1"]],
];

describe.each(formatters)("%s", (name, command) => {
  test.skipIf(Bun.which(name) === null)(
    "shows every command with its flags, without a warning [needs the tool]",
    async () => {
      const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8", MANWIDTH: "200" };
      const { stdout, stderr, code } = await run([...command], { cwd: dir.path, env });

      const text = shown(stdout);
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      const rows = (await treeRows(commands)).slice(1);
      const wanted = rows.flatMap(({ path, flags }) => [
        ["dbx", ...path].join(" "),
        ...flags.map(({ flag }) => flag),
      ]);
      expect(wanted.length).toBeGreaterThan(500);
      expect([...new Set(wanted)].filter((word) => !text.includes(word))).toEqual([]);
      const variables = await variablesRead();
      expect(variables.filter((variable) => !text.includes(` ${variable}`))).toEqual([]);
    },
  );
});

describe("text for roff", () => {
  test("stands for itself whatever roff would read in it", () => {
    expect(roff("a-b \\n 'x' `y` ~ ^")).toBe("a\\-b \\en \\(aqx\\(aq \\(gay\\(ga \\(ti \\(ha");
    expect(roff(".TH x\n'br\n..")).toBe("\\&.TH x\n\\(aqbr\n\\&..");
    expect(roff("1 … 64 ≠ 𝄞")).toBe("1 \\[u2026] 64 \\[u2260] \\[u1D11E]");
  });
  test("keeps indented lines apart, and joins the others", () => {
    expect(paragraphs("one\ntwo\n\n  x\n  y")).toEqual([
      ...[".PP", "one two", ".PP", ".RS 4", ".nf", "  x", "  y", ".fi", ".RE"],
    ]);
    expect(entry("--a ", 'b"c', "")).toEqual([".TP", '.BI "\\-\\-a " "b\\(dqc"', "\\&"]);
  });
});

test("the page comes with the version, without a database, and by itself with --json", async () => {
  const { stdout } = await dbx(["man", "--json"], { home: dir.path });
  const { version } = JSON.parse((await dbx(["--version", "--json"], { home: dir.path })).stdout);
  expect(JSON.parse(stdout)).toEqual({ version, page });
  expect(page).toStartWith(`.TH DBX 1 "" "dbx ${version}"\n`);
  expect(existsSync(join(dir.path, ".eventdbx"))).toBe(false);
});
