// kill -9 around staging: between the commit and the emptying of the file, and at any moment. What
// was staged is in the log or in the queue, what was committed is in the log, nothing is twice.

import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { loggedIds, noted, stagedIds, stagedPath, stagedText } from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const scriptOf = (name: string) => join(import.meta.dir, "../support", name);
const rounds = 6;

/** Why this machine cannot run the test; null if it can. */
function reasonToSkip(): string | null {
  if (process.platform !== "linux") return "strace exists on Linux only";
  if (Bun.which("strace") === null) return "strace is not installed";
  const trial = Bun.spawnSync(["strace", "-f", "-e", "trace=fsync", "true"]);
  return trial.exitCode === 0 ? null : `strace may not trace here: ${trial.stderr.toString()}`;
}

const skipped = reasonToSkip();
if (skipped !== null) console.log(`kill before the emptying skipped: ${skipped}`);

test.skipIf(skipped !== null)(
  "a kill between the commit and the emptying commits nothing twice [needs strace]",
  async () => {
    using dir = tempDir();
    const ids: string[] = [];
    {
      await using store = await openStore(dir.path);
      for (const n of [1, 2, 3]) {
        ids.push((await store.dbx.stageEvent(root, noted(`p-${n}`))).event_id);
      }
    }
    const before = stagedText(dir.path);
    // Its only rename puts the empty list in place of the events.
    const child = Bun.spawn(
      [
        ...["strace", "-f", "-qq", "-o", join(dir.path, "trace")],
        ...["-e", "trace=rename,renameat,renameat2"],
        ...["-e", "inject=rename,renameat,renameat2:error=EIO:signal=SIGKILL:when=1"],
        ...[process.execPath, scriptOf("fault-commit.ts"), dir.path],
      ],
      { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    );
    expect(await child.stdout.text()).toBe("");
    await child.exited;
    expect(stagedText(dir.path)).toBe(before);

    await using store = await openStore(dir.path);
    expect(await loggedIds(store)).toEqual(ids);
    expect(await stagedIds(store)).toEqual([]);
    const { event_id } = await store.dbx.stageEvent(root, noted("p-1"));
    expect(await store.dbx.commitStaged(root, {})).toMatchObject([{ metadata: { event_id } }]);
    expect(await loggedIds(store)).toEqual([...ids, event_id]);
    expect(stagedText(dir.path)).toBe("[]\n");
    await store.dbx.verifyLog(root, {});
  },
  30_000,
);

test("six kills at any moment lose no staged event and append none twice", async () => {
  using dir = tempDir();
  const said = { staged: new Set<string>(), committed: new Set<string>() };
  /** A discard that was not acknowledged may have happened or not. */
  const doubtful = new Set<string>();
  const discarded = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    for await (const line of linesUntilKilled(dir.path)) {
      if (line.staged !== undefined) said.staged.add(line.staged);
      if (line.committed !== undefined) said.committed.add(line.committed);
      if (line.discarding !== undefined) doubtful.add(line.discarding);
      if (line.discarded !== undefined) discarded.add(line.discarded);
    }
    await using store = await openStore(dir.path);
    const { event_id } = await store.dbx.stageEvent(root, noted("p-1"));
    said.staged.add(event_id);
    const [queue, log] = [await stagedIds(store), await loggedIds(store)];
    expect(queue).toContain(event_id);
    expect(new Set([...queue, ...log]).size).toBe(queue.length + log.length);
    // What was staged before this round's commit stays in the queue for the next process.
    if (round % 2 === 0) await store.dbx.commitStaged(root, {});
    await store.dbx.verifyLog(root, {});
  }
  await using store = await openStore(dir.path);
  await store.dbx.commitStaged(root, {});
  const log = await loggedIds(store);
  const logged = new Set(log);
  expect(logged.size).toBe(log.length);
  for (const id of said.committed) expect(logged).toContain(id);
  for (const id of said.staged) if (!doubtful.has(id)) expect(logged).toContain(id);
  for (const id of discarded) expect(logged).not.toContain(id);
  expect(said.staged.size).toBeGreaterThan(rounds * 10);
  expect(existsSync(stagedPath(dir.path))).toBe(true);
  console.log(`${said.staged.size} staged events survived ${rounds} kills`);
}, 120_000);

interface Line {
  readonly staged?: string;
  readonly committed?: string;
  readonly discarding?: string;
  readonly discarded?: string;
}

/** The kill comes after a random number of lines; a cut last line was acknowledged to nobody. */
async function* linesUntilKilled(directory: string): AsyncGenerator<Line> {
  const child = Bun.spawn([process.execPath, scriptOf("fault-staging.ts"), directory], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  let left = 15 + Math.floor(Math.random() * 60);
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Line;
    left -= lines.length;
    if (left <= 0) child.kill("SIGKILL");
  }
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readdirSync(directory)).toContain("staged_events.json");
}
