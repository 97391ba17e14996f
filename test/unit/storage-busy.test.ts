// Opening waits for others that hold the database for a moment, as whoever recovers its log after a
// crash does; and a lock that is waited for is the one of the directory that is there by then.

import { expect, test } from "bun:test";
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import {
  append,
  event,
  jane,
  openWriting,
  transaction,
  withDirectory,
} from "../support/storage.ts";

/** Holds the file for itself, says so, and lets go after so many milliseconds. */
const holder = (path: string, ms: number): string => `
  import { Database } from "bun:sqlite";
  const database = new Database(${JSON.stringify(path)});
  database.run("PRAGMA locking_mode = EXCLUSIVE");
  database.run("BEGIN IMMEDIATE");
  database.run("COMMIT");
  console.log("held");
  setTimeout(() => process.exit(0), ${ms});`;

test(
  "opening for writing waits for a moment's hold from its first look on",
  () =>
    withDirectory(async (directory) => {
      const first = await openWriting(directory);
      await append(first, [transaction([event(jane)])]);
      await first.close();
      const script = holder(join(directory, "dbx.db"), 300);
      const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
      for await (const piece of child.stdout) if (piece.length > 0) break;

      const storage = await openWriting(directory);

      expect((await storage.readLogHead()).frontier.size).toBe(1);
      await storage.close();
      await child.exited;
    }),
  30_000,
);

test(
  "a lock that is waited for is that of the directory which is there when it is free",
  () =>
    withDirectory(async (parent) => {
      const [here, aside, fresh] = ["db", "aside", "fresh"].map((name) => join(parent, name));
      if (here === undefined || aside === undefined || fresh === undefined)
        throw new Error("names");
      mkdirSync(here);
      mkdirSync(fresh);
      const release = await takeLock({ directory: here, lock_wait_ms: 0 });
      const waiting = takeLock({ directory: here, lock_wait_ms: 20_000 });
      renameSync(here, aside);
      renameSync(fresh, here);
      release();

      const own = await waiting;

      const other = takeLock({ directory: here, lock_wait_ms: 0 });
      await expect(other).rejects.toMatchObject({ code: "unavailable" });
      const old = await takeLock({ directory: aside, lock_wait_ms: 0 });
      old();
      own();
    }),
  30_000,
);
