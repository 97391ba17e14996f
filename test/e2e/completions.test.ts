// `dbx completions`, in the shells themselves: what they offer for a line that is being typed.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "../../src/cli/cli.ts";
import { powershellScript } from "../../src/cli/completions/powershell.ts";
import { treeRows, type TreeRow } from "../../src/cli/tree.ts";
import { dbx } from "../support/cli.ts";
import { bash, fish, powershell, zsh, type Completing } from "../support/completing.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let rows: readonly TreeRow[];
/** Of each shell. */
const scripts = new Map<string, string>();
beforeAll(async () => {
  dir = tempDir();
  rows = await treeRows(commands);
  writeFileSync(join(dir.path, "settings one.toml"), "");
  for (const [name] of shells) {
    const { stdout, stderr, code } = await dbx(["completions", name], { home: dir.path });
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    scripts.set(name, stdout);
  }
});
afterAll(() => dir[Symbol.dispose]());
const scriptOf = (name: string) => scripts.get(name) ?? "";

const named = (words: string) => words.split(" ").sort();
const rootWords = () => [...Object.keys(commands.commands), "help", "version"].sort();

/** Lines up to the cursor, and what is offered for their last word. */
const lines: readonly (readonly [string, () => readonly string[]])[] = [
  ["dbx ", rootWords],
  ["dbx tok", () => ["token"]],
  ["dbx token ", () => named("generate list revoke refresh")],
  ["dbx token l", () => ["list"]],
  ["dbx help token ", () => named("generate list revoke refresh")],
  // A flag of every command may stand in front, and its value is no command.
  ["dbx --config token token l", () => ["list"]],
  ["dbx --url http://127.0.0.1:1 token l", () => ["list"]],
  ["dbx --json queue re", () => ["retry"]],
  ["dbx start --po", () => ["--port"]],
  ["dbx start --port ", () => []],
  ["dbx config --restrict ", () => named("default off strict")],
  ["dbx schema field a b --format e", () => ["email"]],
  ["dbx completions z", () => ["zsh"]],
  ["dbx token generate --group a --gra", () => ["--grant"]],
  ["dbx token generate --grant re", () => ["read"]],
  ["dbx token generate --grant read --grant a", () => named("append admin")],
  ["dbx status --con", () => ["--config"]],
  ["dbx audit nothing-that-begins-so --zz", () => []],
];

const shells: readonly (readonly [string, string, Completing])[] = [
  ["bash", "bash", bash],
  ["zsh", "zsh", zsh],
  ["fish", "fish", fish],
  ["powershell", "pwsh", powershell],
];

for (const [name, program, shell] of shells) {
  const isMissing = Bun.which(program) === null;
  test.skipIf(isMissing)(
    `${name} offers what the command line takes [needs ${program}]`,
    async () => {
      // Where nothing is offered, PowerShell offers the files that are there.
      const asked = lines.filter(([, wanted]) => name !== "powershell" || wanted().length > 0);
      const offered = await shell.offers(
        scriptOf(name),
        asked.map(([line]) => line),
        dir.path,
      );

      const table = asked.map(([line], index) => [line, offered[index]]);
      expect(table).toEqual(asked.map(([line, wanted]) => [line, [...wanted()]]));
    },
  );

  // PowerShell does that unasked.
  if (name === "powershell") continue;
  test.skipIf(isMissing)(
    `${name} offers files where a flag names one [needs ${program}]`,
    async () => {
      const [offered = []] = await shell.offers(scriptOf(name), ["dbx --config ./sett"], dir.path);

      expect(offered.join(" ").replaceAll("\\", "")).toContain("settings one.toml");
    },
  );
}

describe("the bash script", () => {
  const offer = async (line: string) => {
    const [offered] = await bash.offers(scriptOf("bash"), [line], dir.path);
    return offered;
  };

  test("offers at every place what the tree has there, and nothing else", async () => {
    const places = rows.map(({ path }) => ["dbx", ...path].join(" "));
    const script = scriptOf("bash");
    const flags = await bash.offers(
      script,
      places.map((place) => `${place} --`),
      dir.path,
    );
    const words = await bash.offers(
      script,
      places.map((place) => `${place} `),
      dir.path,
    );

    expect(rows.length).toBeGreaterThan(70);
    for (const [index, row] of rows.entries()) {
      const known = row.flags.map(({ flag }) => flag).sort();
      expect([places[index], flags[index]]).toEqual([places[index], known]);
      if (row.commands.length === 0) continue;
      const below = row.commands.map(({ name }) => name).sort();
      expect([places[index], words[index]]).toEqual([places[index], below]);
    }
  });
  test("completes behind an equals sign, where bash cuts the line", async () => {
    expect(await offer("dbx start --restrict=")).toEqual(named("default off strict"));
    expect(await offer("dbx start --restrict=st")).toEqual(["strict"]);
  });
  test("takes a flag that contradicts one that is there for done", async () => {
    expect(await offer("dbx start --no-r")).toEqual(["--no-rest"]);
    expect(await offer("dbx start --rest --no-r")).toEqual([]);
    expect(await offer("dbx start --no-rest --res")).toEqual(["--restrict"]);
  });
  test("offers flags where no word is wanted any more", async () => {
    expect(await offer("dbx aggregate get person p-1 ")).toContain("--version");
    expect(await offer("dbx aggregate get person ")).toEqual([]);
    expect(await offer("dbx aggregate get --aggregate person p-1 ")).toContain("--version");
  });
  test("offers nothing behind -- but what is a word", async () => {
    expect(await offer("dbx aggregate get -- --ver")).toEqual([]);
  });
  test.skipIf(Bun.which("shellcheck") === null)(
    "has nothing that shellcheck minds [needs shellcheck]",
    async () => {
      const child = Bun.spawn(["shellcheck", "--shell=bash", "-"], {
        stdin: new Blob([scriptOf("bash")]),
      });
      expect(await child.stdout.text()).toBe("");
      expect(await child.exited).toBe(0);
    },
  );
});

describe("every script", () => {
  test.each(shells.map(([name]) => name))("of %s knows every command and flag", async (name) => {
    const wanted = rows.flatMap(({ commands, flags }) => [
      ...commands.map((each) => each.name),
      ...flags.map(({ flag }) => (name === "fish" ? `-l ${flag.slice(2)} ` : flag)),
    ]);
    expect(wanted.length).toBeGreaterThan(500);
    expect([...new Set(wanted)].filter((word) => !scriptOf(name).includes(word))).toEqual([]);
  });

  test("of PowerShell has nothing that a code page could take for a quote", () => {
    expect(scriptOf("powershell")).toMatch(/^[\n\u0020-\u007e]+$/);
    const [row] = rows;
    const [flag] = row?.flags ?? [];
    if (row === undefined || flag === undefined) throw new Error("the tree has no flags");
    const odd = { ...flag, summary: "it‘s 1…2 \u2011 'so'" };
    const script = powershellScript([{ ...row, flags: [odd] }]);
    expect(script).toContain(`'it?s 1...2 ? ''so'''`);
  });

  test("is printed without a database being looked for, and by itself with --json", async () => {
    using home = tempDir();
    const { stdout } = await dbx(["completions", "--json", "fish"], { home: home.path });

    expect(JSON.parse(stdout)).toEqual({ shell: "fish", script: scriptOf("fish") });
    expect(existsSync(join(home.path, ".eventdbx"))).toBe(false);
  });
});

test("a shell that nobody defined is refused with those that are", async () => {
  const { stderr, code } = await dbx(["completions", "tcsh"], { home: dir.path });
  expect(stderr).toContain("--shell must be one of: bash, zsh, fish, powershell");
  expect(code).toBe(2);
});
