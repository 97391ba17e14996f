// Twenty backups of a server under load, in the clear and encrypted, whole and incremental, with
// kill -9 of the backup, of the server and of the restore. An archive that exists restores,
// verifies and holds every event acknowledged before it began; nothing is ever half.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { judgeDirectory } from "../../src/storage/sqlite/judge.ts";
import { startLoad, type Load } from "../support/backup-load.ts";
import { dbxCommand, type RunningServer } from "../support/cli.ts";
import { openHome, type Home } from "../support/homes.ts";

const rounds = 10;
const planted = "planted-secret-77a1";
const passphrase = "correct horse battery staple";
const seed = Math.floor(Math.random() * 2 ** 31);
console.log(`backup-crash: seed ${seed}`);
let state = seed;
/** From 0 to 1; a linear congruential generator is random enough for moments of a kill. */
const dice = (): number => {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return state / 0x7fff_ffff;
};

/** Files within hidden directories of dbx, in bytes: how far a command is. */
function staged(parent: string): number {
  let bytes = 0;
  try {
    for (const name of readdirSync(parent)) {
      if (!/^\.dbx-(?:backup|restore)-/.test(name)) continue;
      for (const file of readdirSync(join(parent, name), { recursive: true })) {
        bytes += statSync(join(parent, name, String(file)), { throwIfNoEntry: false })?.size ?? 0;
      }
    }
  } catch {
    // It was removed between two looks.
  }
  return bytes;
}

interface Command {
  readonly kill: () => void;
  readonly ended: () => boolean;
  readonly code: Promise<number>;
}

function spawn(home: Home, args: readonly string[], env: Record<string, string>): Command {
  const { command, options } = dbxCommand(args, { home: home.path, env });
  const child = Bun.spawn(command, { ...options, stdout: "ignore", stderr: "ignore" });
  return {
    kill: () => child.kill("SIGKILL"),
    ended: () => child.exitCode !== null || child.signalCode !== null,
    code: child.exited,
  };
}

/** Resolves when so much is staged, or the command has ended. */
async function reached(command: Command, parent: string, bytes: number): Promise<void> {
  while (!command.ended() && staged(parent) < bytes) {
    await new Promise((done) => setImmediate(done));
  }
}

type Round = "whole" | "incremental" | "kill backup" | "kill server" | "kill restore";
const plan: readonly Round[] = [
  ...["whole", "kill backup", "incremental", "kill server", "kill restore"],
  ...["incremental", "kill backup", "kill server", "kill restore", "whole"],
].map((name): Round => {
  const all = ["whole", "incremental", "kill backup", "kill server", "kill restore"] as const;
  const found = all.find((one) => one === name);
  if (found === undefined) throw new Error(name);
  return found;
});

for (const mode of ["in the clear", "encrypted"]) {
  test(`ten backups of a server under load, some killed, lose nothing (${mode})`, async () => {
    const dek = Buffer.alloc(32, 5).toString("base64");
    const isSealed = mode === "encrypted";
    using home = await openHome(isSealed ? { dek } : {});
    await home.fill("old", 2_000, { text: planted.repeat(20) });
    const at = (name: string) => join(home.path, name);
    const out = at("b");
    let server: RunningServer = await home.start();
    const issue = ["token", "generate", "--group", "admin", "--user", "u", "--expiration", "600"];
    const { token } = JSON.parse(await home.ok(...issue, "--json"));
    const payload = () => ({ text: planted.repeat(10), dice: dice() });
    const load = startLoad({ port: server.port, token, payload, erases: isSealed });
    let killed = 0;
    let last: { name: string; position: number } | null = null;
    try {
      for (let round = 0; round < rounds; round++) {
        const kind = plan[round % plan.length] ?? "whole";
        const name = join(out, `${round}.dbx`);
        await load.more(40);
        const before = new Map(load.acknowledged);
        // A second of scrypt each; the one after is incremental and opens the one before.
        const env: Record<string, string> = [4, 5].includes(round)
          ? { EVENTDBX_BACKUP_PASSPHRASE: passphrase }
          : {};
        const since = kind === "incremental" && last !== null ? ["--since", last.name] : [];
        const backup = spawn(home, ["backup", "--output", name, ...since], env);
        const whole = statSync(at(".eventdbx/dbx.db")).size;
        if (kind === "kill backup" || kind === "kill server") {
          await reached(backup, out, round === 1 ? 1 : 1 + dice() * whole * 1.2);
          if (kind === "kill backup") backup.kill();
          else {
            server.kill("SIGKILL");
            await server.exited;
            server = await home.start();
            load.at(server.port);
          }
        }
        const code = await backup.code;
        // Killed or not: what has the name is whole.
        if (kind === "kill backup" && !existsSync(name)) {
          killed++;
          continue;
        }
        expect({ round, kind, code: existsSync(name) ? 0 : code }).toEqual({
          round,
          kind,
          code: 0,
        });
        if (isSealed) expectNothingOf(name, env);
        const found: Judged = { name, env, kind, before, last };
        last = await load.pause(() => restoreAndCompare(home, found));
      }
    } finally {
      await load.stop();
      await server[Symbol.asyncDispose]();
    }
    // Kills that never met a backup, and backups that met no move, would prove nothing.
    expect(killed).toBeGreaterThan(0);
    expect(load.counts.moved).toBeGreaterThan(0);
    expect(load.counts.erased > 0).toBe(isSealed);
    console.log(
      `${mode}: ${load.acknowledged.size} appends, ${JSON.stringify(load.counts)}, ` +
        `${killed} backups killed in time`,
    );
  }, 240_000);
}

function expectNothingOf(name: string, env: Record<string, string>): void {
  const bytes = readFileSync(name);
  const plain = "EVENTDBX_BACKUP_PASSPHRASE" in env ? bytes : Bun.zstdDecompressSync(bytes);
  expect(Buffer.from(plain).includes(planted)).toBe(false);
}

interface Judged {
  readonly name: string;
  readonly env: Record<string, string>;
  readonly kind: Round;
  /** What had been answered when the backup began. */
  readonly before: Load["acknowledged"];
  readonly last: { readonly name: string; readonly position: number } | null;
}

/** Into the directory of the round before where the restore is killed: that one, or the new one. */
async function restoreAndCompare(
  home: Home,
  round: Judged,
): Promise<{ name: string; position: number }> {
  const { name, env, kind, before, last } = round;
  const parent = join(home.path, "r");
  const target = join(parent, "db");
  const args = ["restore", "--input", name, "--data-dir", target, "--force"];
  if (kind === "kill restore" && last !== null) {
    const restore = spawn(home, args, env);
    await reached(restore, parent, 1 + dice() * statSync(join(target, "dbx.db")).size * 1.1);
    restore.kill();
    await restore.code;
    const { position, faults } = judgeDirectory(target);
    expect(faults).toEqual([]);
    if (position !== last.position)
      expect(position).toBeGreaterThanOrEqual(Math.max(...before.keys()));
  }
  const { stdout, stderr, code } = await home.run([...args, "--json"], { env });
  expect({ stderr: code === 0 ? "" : stderr, code }).toEqual({ stderr: "", code: 0 });
  const told = JSON.parse(stdout);
  expect(told).toMatchObject({ verified: true });
  using database = new Database(join(target, "dbx.db"), { readonly: true });
  const rows = database
    .query<{ position: number; id: string }, []>(
      "SELECT position, lower(hex(event_id)) AS id FROM event",
    )
    .all();
  const found = new Map(rows.map(({ position, id }) => [position, id]));
  const missing = [...before].filter(
    ([position, id]) => found.get(position) !== id.replaceAll("-", ""),
  );
  expect(missing).toEqual([]);
  expect(readdirSync(parent).filter((entry) => entry.startsWith(".dbx-"))).toEqual([]);
  return { name, position: told.position };
}
