// What a person at a terminal gets that a pipe does not: a question, emphasis, Ctrl-C; and how the
// faults of a damaged store are told.

import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, dbxCommand } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());
const run = (args: readonly string[]) => dbx(args, { home });

/** Runs `dbx …` on a terminal; answers with a line when `question` is asked. */
async function onTerminal(
  args: readonly string[],
  over: { question?: string; answer?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<{ screen: string; code: number }> {
  const { question, answer = "", env = {} } = over;
  let screen = "";
  let asked = false;
  const decoder = new TextDecoder();
  const { command, options } = dbxCommand(args, { home, env: { TERM: "xterm", ...env } });
  const child = Bun.spawn(command, {
    ...options,
    terminal: {
      cols: 200,
      rows: 50,
      data(terminal, bytes) {
        screen += decoder.decode(bytes, { stream: true });
        if (asked || question === undefined || !screen.includes(question)) return;
        asked = true;
        terminal.write(`${answer}\n`);
      },
    },
  });
  const code = await child.exited;
  child.terminal?.close();
  return { screen: screen.replaceAll("\r\n", "\n"), code };
}

/** Changes the store behind the back of a trigger, whose absence would be told before all else. */
function damage(trigger: string, statement: string): void {
  using database = new Database(join(home, ".eventdbx/dbx.db"));
  const made = database
    .query<{ sql: string }, [string]>("SELECT sql FROM sqlite_schema WHERE name = ?")
    .get(trigger);
  database.run(`DROP TRIGGER ${trigger}`);
  database.run(statement);
  database.run(made?.sql ?? "");
}

describe("destroy on a terminal", () => {
  const question = 'Type "destroy" to continue: ';

  test("does nothing for any other word", async () => {
    await run(["aggregate", "create", "a", "1"]);
    const { screen, code } = await onTerminal(["destroy"], { question, answer: "yes" });
    expect(screen).toContain(`This removes the data directory ${home}/.eventdbx\n`);
    expect(screen).toContain("Destroy command cancelled.\n");
    expect(code).toBe(2);
    expect((await run(["aggregate", "list"])).stdout).toContain("aggregate_id=1");
  });

  test("removes everything for the right one", async () => {
    await run(["aggregate", "create", "a", "1"]);
    const { screen, code } = await onTerminal(["destroy"], { question, answer: "destroy" });
    expect(screen).toContain("all dbx data and configuration removed");
    expect(code).toBe(0);
    expect(existsSync(join(home, ".eventdbx"))).toBe(false);
  });
});

test("errors are emphasised on a terminal, but not with NO_COLOR and not in a pipe", async () => {
  const wrong = ["aggregate", "get", "a"];
  const bold = await onTerminal(wrong);
  expect(bold.screen).toContain("\u001b[1merror:\u001b[0m --aggregate-id is missing");
  const plain = await onTerminal(wrong, { env: { NO_COLOR: "1" } });
  expect(plain.screen).toStartWith("error: --aggregate-id is missing");
  expect((await run(wrong)).stderr).toStartWith("error: ");
  expect([bold.code, plain.code]).toEqual([2, 2]);
});

/** What is to be read on a screen where lines were removed and written again. */
const readable = (screen: string) =>
  screen.replaceAll(/[^\n]*\r\u001b\[K/g, "").replaceAll(/\u001b\[\d*m/g, "");

describe("a replay in many pages", () => {
  const replay = ["aggregate", "replay", "a", "1"];
  const fill = async () => {
    for (const n of [1, 2, 3])
      await run(["aggregate", "apply", "a", "1", "made", "--field", `n=${n}`]);
    writeFileSync(join(home, ".eventdbx/config.toml"), "page_limit = 1\n");
  };

  test.each([[[]], [["--json"]]])("with %j shows on a terminal what a pipe gets", async (flags) => {
    await fill();
    const piped = await run([...replay, ...flags]);
    expect(piped).toMatchObject({ stderr: "", code: 0 });
    const { screen, code } = await onTerminal([...replay, ...flags]);
    expect({ shown: readable(screen), code }).toEqual({ shown: piped.stdout, code: 0 });
    if (flags.length === 0) expect(screen).toContain("\r\u001b[K3 events\r\u001b[K");
  });

  test("that fails at a later one tells so on a line of its own", async () => {
    await fill();
    damage("body_delete", "DELETE FROM body WHERE position = 2");
    const { screen, code } = await onTerminal(replay);
    const shown = readable(screen);
    expect(shown).toStartWith("{\n");
    expect(shown).toMatch(/^\}\nerror: .* \(data_corrupted\)$/m);
    expect(shown).not.toContain("1 events");
    expect(code).toBe(8);
  });
});

test("Ctrl-C ends a waiting command as shells expect", async () => {
  const { command, options } = dbxCommand(["token", "revoke", "-"], { home });
  const child = Bun.spawn(["sh", "-c", '"$@"; echo "code $?"', "sh", ...command], {
    ...options,
    stdin: "pipe",
    stdout: "pipe",
    // The shell and the command get the signal together, as from a terminal.
    detached: true,
  });
  const started = () =>
    Bun.spawnSync(["pgrep", "-P", String(child.pid)])
      .stdout.toString()
      .trim();
  const output = child.stdout.text();
  let ended = false;
  void output.then(() => (ended = true));
  // Between its fork and the start of the command a shell swallows the signal: sent until it works.
  while (!ended) {
    if (started() !== "") Bun.spawnSync(["pkill", "-INT", "-P", String(child.pid)]);
    await new Promise<void>((done) => setImmediate(done));
  }
  expect(await output).toBe("code 130\n");
});

test("a changed byte is found by verify, which names it, and other reads go on", async () => {
  for (const id of ["1", "2"]) {
    await run(["aggregate", "apply", "a", id, "made", "--field", `name=n${id}`]);
  }
  damage("body_update", `UPDATE body SET payload = '{"name":"N2"}' WHERE position = 2`);
  const all = await run(["aggregate", "verify", "--all"]);
  expect(all.stderr).toMatch(/^error: .* \(data_corrupted\)\n/);
  expect(all.stderr).toMatch(/^ +faults: aggregate_type=a aggregate_id=2 version=1 position=2: /m);
  expect({ stdout: all.stdout, code: all.code }).toEqual({ stdout: "", code: 8 });
  const one = await run(["aggregate", "verify", "a", "2", "--json"]);
  expect(JSON.parse(one.stderr)).toMatchObject({ code: "data_corrupted" });
  expect(one.code).toBe(8);
  expect((await run(["aggregate", "verify", "a", "1"])).code).toBe(0);
});
