// The passphrase of a backup as somebody types it.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { dbxCommand } from "../support/cli.ts";
import { openHome, type Home } from "../support/homes.ts";

const passphrase = "correct horse battery staple";

test("a passphrase is asked for at a terminal, twice for a new one, and shows nothing of it", async () => {
  using home = await openHome();
  const at = (name: string) => join(home.path, name);
  await home.fill("person", 1);
  const backup = ["backup", "--output", at("one.dbx"), "--passphrase"];
  const made = await typing(home, backup, ["passphrase: ", "the same again: "]);
  expect(made.code).toBe(0);
  expect(made.screen).toContain("Backup created");
  const restore = ["restore", "--input", at("one.dbx"), "--data-dir", at("r")];
  const restored = await typing(home, restore, [`passphrase of ${at("one.dbx")}: `]);
  expect(restored.code).toBe(0);
  expect(restored.screen).toContain("Restored");
  for (const { screen } of [made, restored]) expect(screen).not.toContain(passphrase);
}, 60_000);

/** Types the passphrase on a terminal as often as it is asked for. */
async function typing(
  home: Home,
  args: readonly string[],
  questions: readonly string[],
): Promise<{ screen: string; code: number }> {
  let screen = "";
  let asked = 0;
  const decoder = new TextDecoder();
  const { command, options } = dbxCommand(args, { home: home.path, env: { TERM: "xterm" } });
  const child = Bun.spawn(command, {
    ...options,
    terminal: {
      ...{ cols: 200, rows: 50 },
      data(terminal, bytes) {
        screen += decoder.decode(bytes, { stream: true });
        const question = questions[asked];
        if (question === undefined || !screen.includes(question)) return;
        asked++;
        terminal.write(`${passphrase}\r`);
      },
    },
  });
  const code = await child.exited;
  child.terminal?.close();
  return { screen, code };
}
