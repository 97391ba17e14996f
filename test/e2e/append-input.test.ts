// What `dbx aggregate apply` takes for a payload, and what it would rather refuse than guess:
// an event is for ever.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, dbxCommand } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
beforeAll(() => {
  dir = tempDir();
});
afterAll(() => dir[Symbol.dispose]());
const apply = (...more: string[]) =>
  dbx(["aggregate", "apply", "person", "p1", "made", ...more], { home: dir.path });

/** dbx with a last argument in bytes that `printf` makes, since a string here is always Unicode. */
async function withBytes(args: readonly string[], printed: string) {
  const { command, options } = dbxCommand(args, { home: dir.path });
  const script = `"$@" "$(printf '${printed}')"`;
  const child = Bun.spawn(["sh", "-c", script, "sh", ...command], {
    ...options,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

describe("arguments that are not UTF-8", () => {
  const commands: readonly (readonly string[])[] = [
    ["aggregate", "apply", "person", "bytes", "made", "--field"],
    ["aggregate", "apply", "person", "bytes", "made", "--field", "x=1", "--note"],
    ["aggregate", "create", "person"],
    ["token", "generate", "--group", "g", "--user"],
  ];

  test.each(commands.map((args) => [args] as const))("are refused: dbx %j", async (args) => {
    const { stdout, stderr, code } = await withBytes(args, "na=J\\351r");
    expect(stderr).toStartWith('error: the argument "na=J\ufffdr" is not UTF-8 text (invalid_arg');
    expect({ stdout, code }).toEqual({ stdout: "", code: 2 });
  });

  test("are not confused with the replacement character itself", async () => {
    const args = ["aggregate", "apply", "person", "real", "made", "--field"];
    const { stdout, code } = await withBytes(args, "na=J\\357\\277\\275r");
    expect(code).toBe(0);
    expect(JSON.parse(stdout).payload).toEqual({ na: "J\ufffdr" });
  });
});

describe("a payload", () => {
  const refused: readonly (readonly [readonly string[], string, number])[] = [
    [["--field", "a=1", "--field", "a=2"], '--field "a" is given twice (invalid_argument)', 2],
    [[], "neither --payload nor --field is given; an empty payload is --payload '{}'", 2],
    [["--payload", "@missing.json"], "cannot read missing.json: there is no such file (ENOENT)", 2],
    [["--payload", "@directory"], "cannot read directory: it is a directory (EISDIR)", 2],
    [["--payload", "@"], "--payload @ needs the name of a file after it", 2],
    [["--payload", "@latin1.json"], "", 2],
    [["--payload", "@/dev/zero"], "--payload is larger than 100663296 bytes (too_large)", 6],
  ];

  test.each(refused)("%j is refused", async (args, message, exit) => {
    mkdirSync(join(dir.path, "directory"), { recursive: true });
    writeFileSync(join(dir.path, "latin1.json"), new Uint8Array([0x22, 0xe9, 0x22]));
    const { stdout, stderr, code } = await apply(...args);
    expect(stderr).toStartWith(`error: ${message}`);
    expect({ stdout, code }).toEqual({ stdout: "", code: exit });
  });

  test("without an end on stdin is refused before it fills the memory", async () => {
    const args = ["aggregate", "apply", "person", "p1", "made", "--payload", "-"];
    const { command, options } = dbxCommand(args, { home: dir.path });
    const child = Bun.spawn(command, {
      ...options,
      stdin: Bun.file("/dev/zero"),
      stdout: "pipe",
      stderr: "pipe",
    });
    expect(await child.stderr.text()).toContain("larger than 100663296 bytes (too_large)");
    expect(await child.exited).toBe(6);
  });

  test("may be empty when it says so, and comes from a file or stdin", async () => {
    expect(JSON.parse((await apply("--payload", "{}")).stdout).payload).toEqual({});
    writeFileSync(join(dir.path, "new.json"), '{"n":1}');
    expect(JSON.parse((await apply("--payload", "@new.json")).stdout).payload).toEqual({ n: 1 });
    const args = ["aggregate", "apply", "person", "p1", "made", "--payload", "-"];
    const ran = await dbx(args, { home: dir.path, stdin: '{"n":2}' });
    expect(JSON.parse(ran.stdout).payload).toEqual({ n: 2 });
  });
});
