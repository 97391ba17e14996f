/**
 * dbx from the checkout and dbx as one compiled file behave alike: they run in the caller's
 * directory, are the process the caller started, and run nothing that happens to lie there.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json";
import { compile } from "../../scripts/build.ts";
import { root } from "../../scripts/root.ts";
import { compiledDbx } from "../support/compiled.ts";
import { makeCheckout, run } from "../support/checkout.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

/** Says what it was given; ends as it is told. */
const program = `// Stands in for dbx.
import { word } from "./word.ts";
const [how] = process.argv.slice(2);
if (how === "wait") {
  process.on("SIGTERM", () => process.exit(9));
  console.log("waiting", process.pid);
  setInterval(() => {}, 1000);
} else {
  const stdin = await Bun.stdin.text();
  console.log(JSON.stringify({ word, stdin, args: process.argv.slice(2), cwd: process.cwd(),
    planted: process.env.PLANTED ?? null }));
  process.exitCode = 7;
}
`;

let place: TempDir;
let hostile: string;
beforeAll(() => {
  place = tempDir();
  // Everything that Bun would take from the directory it is started in.
  hostile = join(place.path, "hostile");
  mkdirSync(hostile);
  const files = {
    "bunfig.toml": 'preload = ["./evil.ts"]\n[define]\n"process.env.PLANTED" = "\\"bunfig\\""\n',
    "evil.ts": `require("node:fs").writeFileSync(import.meta.dir + "/ran", ""); export const word = "evil";`,
    ".env": "PLANTED=dotenv\n",
    ".env.local": "PLANTED=local\n",
    "tsconfig.json": '{ "compilerOptions": { "paths": { "*": ["./evil.ts"] } } }',
    "package.json": '{ "imports": { "#word": "./evil.ts" }, "type": "commonjs" }',
    "main.ts": "throw new Error('ran the wrong file')",
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(hostile, name), content);
});
afterAll(() => place[Symbol.dispose]());

describe("scripts/dbx", () => {
  let dbx: string;
  beforeAll(() => {
    const folder = join(place.path, "checkout");
    const files = { "src/main.ts": program, "src/word.ts": 'export const word = "good";\n' };
    makeCheckout(folder, { packages: "linked", files });
    dbx = join(folder, "scripts/dbx");
  });

  test("hands over arguments, stdin, directory and exit code untouched", async () => {
    const args = ["aggregate", "--version", "-e", "", "a b", "*", "--", "-h", "ü"];
    const ran = await run([dbx, ...args], { cwd: place.path, stdin: "in\n" });
    expect(JSON.parse(ran.stdout)).toEqual({
      ...{ word: "good", stdin: "in\n", args, planted: null },
      cwd: place.path,
    });
    expect(ran.stderr).toBe("");
    expect(ran.code).toBe(7);
  });
  test("runs nothing and reads nothing of the caller's directory", async () => {
    const ran = await run([dbx], { cwd: hostile });
    expect(ran.stderr).toBe("");
    expect(JSON.parse(ran.stdout)).toMatchObject({ word: "good", planted: null, cwd: hostile });
    expect(existsSync(join(hostile, "ran"))).toBe(false);
    // The trap is armed: without the flags of scripts/dbx the same call springs it.
    const main = join(place.path, "checkout/src/main.ts");
    await run([process.execPath, main], { cwd: hostile });
    expect(existsSync(join(hostile, "ran"))).toBe(true);
  });
  test("works through a symbolic link", async () => {
    mkdirSync(join(place.path, "bin"));
    symlinkSync("../checkout/scripts/dbx", join(place.path, "bin/first"));
    symlinkSync("first", join(place.path, "bin/dbx"));
    const ran = await run([join(place.path, "bin/dbx")], { cwd: hostile });
    expect(ran.code).toBe(7);
  });
  test("is the process that the caller started, so that signals arrive", async () => {
    const child = Bun.spawn([dbx, "wait"], { cwd: place.path, stdout: "pipe" });
    for await (const chunk of child.stdout) {
      expect(new TextDecoder().decode(chunk)).toBe(`waiting ${child.pid}\n`);
      break;
    }
    child.kill("SIGTERM");
    await child.exited;
    expect(child.exitCode).toBe(9);
  });
  test("says the version and nothing else", async () => {
    const ran = await run([join(root, "scripts/dbx"), "--version"], { cwd: hostile });
    expect(ran).toMatchObject({ stdout: `dbx ${manifest.version}\n`, stderr: "", code: 0 });
  });
});

describe("the compiled file", () => {
  test("runs nothing and reads nothing of the caller's directory", async () => {
    const folder = join(place.path, "compiled");
    mkdirSync(folder);
    writeFileSync(join(folder, "main.ts"), program);
    writeFileSync(join(folder, "word.ts"), 'export const word = "good";\n');
    const { file } = await compile({
      outfile: join(folder, "out/dbx"),
      entry: join(folder, "main.ts"),
    });
    const ran = await run([file, "--version"], { cwd: hostile });
    expect(JSON.parse(ran.stdout)).toMatchObject({ word: "good", planted: null, cwd: hostile });
    expect(ran.code).toBe(7);
  });
  test("says the version and nothing else", async () => {
    const ran = await run([await compiledDbx(), "--version"], { cwd: hostile });
    expect(ran).toMatchObject({ stdout: `dbx ${manifest.version}\n`, stderr: "", code: 0 });
  });
  test.skipIf(Bun.which("strace") === null)(
    "opens no file of the checkout, node_modules least of all [needs strace]",
    async () => {
      const file = join(place.path, "dbx");
      copyFileSync(await compiledDbx(), file);
      const trace = join(place.path, "trace");
      const argv = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", trace, file, "--help"];
      const ran = await run(argv, {
        cwd: hostile,
        env: { PATH: process.env["PATH"], HOME: hostile },
      });
      expect(ran.code).toBe(0);
      expect(ran.stdout).toContain("aggregate");
      const calls = readFileSync(trace, "utf8");
      expect(calls).toContain("execve(");
      expect(calls).not.toContain(root);
    },
  );
});
