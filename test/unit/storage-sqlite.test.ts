// What only SQLite can do or get wrong: the lock, the format, triggers, files, settings.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { isLocked } from "../../src/storage/sqlite/lock.ts";
import {
  append,
  change,
  event,
  jane,
  openReading,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const filled = async (directory: string): Promise<void> => {
  const storage = await openWriting(directory);
  await append(storage, [transaction([event(jane), event(jane)])]);
  await storage.close();
};

test("a second writer is refused with a clear message until the first closes", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    expect(isLocked(directory)).toBe(true);

    const second = openWriting(directory);

    await expect(second).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("in use by another dbx process"),
    });
    await first.close();
    expect(isLocked(directory)).toBe(false);
    await (await openWriting(directory)).close();
  }));

test("a writer waits for another one that closes in time", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    const second = openWriting(directory, { lock_wait_ms: 10_000 });

    await first.close();

    await append(await second, [transaction([event(jane)])]);
    await (await second).close();
  }));

test("reading needs no lock and sees what was committed since", () =>
  withDirectory(async (directory) => {
    const writing = await openWriting(directory);
    await append(writing, [transaction([event(jane)])]);
    const reading = await openReading(directory);
    expect(await readAll(reading)).toHaveLength(1);

    await append(writing, [transaction([event(jane)])]);

    expect(await readAll(reading)).toHaveLength(2);
    expect(await recompute(reading)).toEqual([]);
    const refused = append(reading, [transaction([event(jane)])]);
    await expect(refused).rejects.toMatchObject({ code: "failed_precondition" });
    await reading.close();
    await writing.close();
  }));

test("a directory that does not exist reads as empty and is not made", () =>
  withDirectory(async (root) => {
    const directory = join(root, "none");

    const storage = await openReading(directory);

    expect(await readAll(storage)).toEqual([]);
    expect(isLocked(directory)).toBe(false);
    const refused = storage.createStream(jane, change);
    await expect(refused).rejects.toMatchObject({ code: "failed_precondition" });
    await storage.close();
    expect(existsSync(directory)).toBe(false);
  }));

test("closing leaves one database file, no log", () =>
  withDirectory(async (directory) => {
    for (const threads of [false, "copier", "both"] as const) {
      const storage = await openWriting(directory, { threads });
      await append(storage, [transaction([event(jane)])]);
      await Promise.all([storage.close(), storage.close()]);

      expect(readdirSync(directory).sort()).toEqual(["dbx.db", "lock.db"]);
    }
  }));

test.skipIf(process.platform === "win32")(
  "a new directory is 0700 and its files are 0600 [needs POSIX modes]",
  () =>
    withDirectory(async (root) => {
      const directory = join(root, "a", "b");
      const storage = await openWriting(directory);
      await append(storage, [transaction([event(jane)])]);

      expect(statSync(directory).mode & 0o777).toBe(0o700);
      for (const name of ["dbx.db", "dbx.db-wal", "dbx.db-shm", "lock.db"]) {
        expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
      }
      await storage.close();
    }),
);

test("the settings are read back from SQLite", () =>
  withDirectory(async (directory) => {
    for (const [durability, synchronous] of [
      ["full", 2],
      ["normal", 1],
    ] as const) {
      const storage = await openWriting(directory, { durability });
      expect(storage.settings).toMatchObject({
        journal_mode: "wal",
        synchronous,
        recursive_triggers: 1,
        trusted_schema: 0,
        cell_size_check: 1,
      });
      await storage.close();
    }
  }));

test("a database of a newer format is refused, for writing and for reading", () =>
  withDirectory(async (directory) => {
    await filled(directory);
    const database = new Database(join(directory, "dbx.db"));
    database.run("PRAGMA user_version = 999");
    database.close();

    for (const open of [openWriting, openReading]) {
      await expect(open(directory)).rejects.toMatchObject({
        code: "failed_precondition",
        message: expect.stringContaining("format 999"),
      });
    }
    expect(isLocked(directory)).toBe(false);
  }));

test("a file that is no dbx database is refused and left alone", () =>
  withDirectory(async (root) => {
    const foreign = join(root, "foreign");
    mkdirSync(foreign);
    const database = new Database(join(foreign, "dbx.db"));
    database.run("CREATE TABLE t (a)");
    database.close();
    const text = join(root, "text");
    mkdirSync(text);
    writeFileSync(join(text, "dbx.db"), "not a database at all, but long enough. ".repeat(99));

    for (const directory of [foreign, text]) {
      const before = await Bun.file(join(directory, "dbx.db")).bytes();
      await expect(openWriting(directory)).rejects.toMatchObject({ code: "data_corrupted" });
      expect(await Bun.file(join(directory, "dbx.db")).bytes()).toEqual(before);
    }
  }));

test("no program can change, delete or replace an event, its body or its place", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    const events = Array.from({ length: 70 }, () => event(jane));
    await append(storage, [transaction(events)]);
    await storage.close();
    const columns =
      "stream_id, version, event_id, event_type, created_at, issued_group, issued_user";
    const digests = "content_digest, hash, merkle_root";
    // A connection without our pragmas, as another program would have it.
    const database = new Database(join(directory, "dbx.db"));

    for (const [sql, reason] of [
      ["UPDATE event SET event_type = 'x' WHERE position = 1", "never changes"],
      ["UPDATE event SET position = 999 WHERE position = 1", "never changes"],
      ["DELETE FROM event WHERE position = 70", "never deleted"],
      ["DELETE FROM event", "never deleted"],
      ["INSERT OR REPLACE INTO event SELECT * FROM event WHERE position = 1", "never replaced"],
      [
        `INSERT OR REPLACE INTO event (position, ${columns}, ${digests})
          SELECT 71, ${columns}, ${digests} FROM event WHERE position = 1`,
        "never replaced",
      ],
      ["UPDATE body SET payload = '{}' WHERE position = 1", "never changes"],
      ["DELETE FROM body WHERE position = 1", "never deleted"],
      ["REPLACE INTO body SELECT * FROM body WHERE position = 1", "never replaced"],
      ["UPDATE run SET positions = x'00'", "never change"],
      ["DELETE FROM run", "never deleted"],
      ["REPLACE INTO run SELECT * FROM run", "never replaced"],
      ["DELETE FROM stream", "never deleted"],
      ["UPDATE stream SET aggregate_id = 'p-002'", "keeps its key"],
    ] as const) {
      expect(() => database.run(sql)).toThrow(reason);
    }
    database.close();
    const again = await openReading(directory);
    expect(await recompute(again)).toEqual([]);
    await again.close();
  }));

test("a row that somebody removed, moved or added is told", () =>
  withDirectory(async (root) => {
    const changes = [
      ["DROP TRIGGER event_delete", "DELETE FROM event WHERE position = 5"],
      ["DROP TRIGGER body_delete", "DELETE FROM body WHERE position = 5"],
      ["DROP TRIGGER event_update", "UPDATE event SET stream_id = 2 WHERE position = 5"],
      ["DROP TRIGGER event_update", "UPDATE event SET version = 7 WHERE position = 5"],
      ["DROP TRIGGER run_delete", "DELETE FROM run"],
      ["UPDATE stream SET positions = zeroblob(length(positions)) WHERE stream_id = 1"],
      ["UPDATE stream SET version = version + 1 WHERE stream_id = 1"],
      ["UPDATE log SET size = size - 1"],
      ["UPDATE log SET streams = 7"],
      ["INSERT INTO body VALUES (999, zeroblob(16), NULL, '{}')"],
    ];
    for (const [index, statements] of changes.entries()) {
      const directory = join(root, String(index));
      const storage = await openWriting(directory);
      const john = { ...jane, aggregate_id: "p-002" };
      const events = Array.from({ length: 70 }, () => [event(jane), event(john)]).flat();
      await append(storage, [transaction(events)]);
      await storage.close();
      const database = new Database(join(directory, "dbx.db"));
      const triggers = database
        .query<{ name: string; sql: string }, []>(
          "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
        )
        .all();
      for (const statement of statements) database.run(statement);
      // Put back, as whoever covers his tracks would: a missing one is told at the opening.
      for (const { name, sql } of triggers) {
        if (statements[0] === `DROP TRIGGER ${name}`) database.run(sql);
      }
      database.close();

      const reading = await openReading(directory);
      const told = await Promise.all([
        recompute(reading),
        reading.readStream(jane, { after: 0, limit: 200 }),
        reading.readStream(john, { after: 0, limit: 200 }),
      ]).then(
        ([faults]) => faults.join(),
        (error: unknown) => `${Object(error).code} ${error}`,
      );
      await reading.close();

      expect(`${statements.join()}: ${told}`).not.toBe(`${statements.join()}: `);
      expect(told).not.toContain("undefined");
    }
  }));

test("a trigger, index or table that is missing, changed or added is told at the opening", () =>
  withDirectory(async (root) => {
    const changes = [
      "DROP TRIGGER event_update",
      "DROP INDEX event_by_id",
      "CREATE TRIGGER mine AFTER INSERT ON event BEGIN SELECT 1; END",
      "CREATE TABLE mine (a)",
    ];
    for (const [index, change] of changes.entries()) {
      const directory = join(root, String(index));
      await (await openWriting(directory)).close();
      const database = new Database(join(directory, "dbx.db"));
      database.run(change);
      database.close();
      for (const open of [openWriting, openReading]) {
        const told = await open(directory).then(
          () => "opened",
          (error: unknown) => `${Object(error).code}: ${Object(error).message}`,
        );
        expect([change, told]).toEqual([
          change,
          expect.stringMatching(/^data_corrupted: .*not as dbx made it/),
        ]);
      }
    }
  }));

test("a check while the audit trail grows tells no fault", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory, { threads: "both", durability: "normal" });
    await append(storage, [transaction([event(jane)])]);
    const change = { at: "2025-01-01T00:00:00.000000Z", issued_by: null, comment: null };
    let ended = false;
    const growing = (async () => {
      while (!ended) {
        await Promise.all(Array.from({ length: 8 }, () => storage.keepSnapshot(jane, change)));
      }
    })();
    for (let n = 0; n < 10; n++) expect(await storage.check({ limit: 9 })).toEqual([]);
    ended = true;
    await growing;
    await storage.close();
  }));

test("a damaged page is told by the check, and the store goes on", () =>
  withDirectory(async (directory) => {
    await filled(directory);
    const path = join(directory, "dbx.db");
    const bytes = await Bun.file(path).bytes();
    // The index over event ids: appends by dbx itself do not read it before they fail.
    const database = new Database(path, { readonly: true });
    const [index] = database
      .prepare<{ rootpage: number }, []>(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'stream_by_key'",
      )
      .all();
    database.close();
    bytes.fill(0xff, ((index?.rootpage ?? 0) - 1) * 2048, (index?.rootpage ?? 0) * 2048);
    writeFileSync(path, bytes);

    for (const threads of [false, "copier", "both"] as const) {
      const storage = await openWriting(directory, { threads });
      const told = await storage.check({ limit: 10 }).then(
        (faults) => faults.length,
        (error: unknown) => Object(error).code,
      );
      expect(told === "data_corrupted" || Number(told) > 0).toBe(true);
      expect(await readAll(storage)).toHaveLength(2);
      await storage.close();
    }
  }));

test.each(["copier", "both"] as const)(
  "closing ends a check that runs, and those that wait for it (threads: %s)",
  (threads) =>
    withDirectory(async (directory) => {
      await filled(directory);
      const database = new Database(join(directory, "dbx.db"));
      // A check of these takes longer than asking for the end.
      database.run(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)
        INSERT INTO token_use SELECT hex(randomblob(16)), i, NULL, 't' FROM n`);
      database.close();
      const storage = await openWriting(directory, { threads });
      const checks = Promise.allSettled([1, 2].map(() => storage.check({ limit: 10 })));
      await append(storage, [transaction([event(jane)])]);

      await storage.close();

      for (const check of await checks) {
        expect(check).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
      }
      expect(isLocked(directory)).toBe(false);
      const again = await openReading(directory);
      expect(await readAll(again)).toHaveLength(3);
      expect(await again.check({ limit: 10 })).toEqual([]);
      await again.close();
    }),
);

test(
  "a page of large rows ends early, but never empty",
  () =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory);
      const payload = canonicalOf("x".repeat(16_000_000));
      for (let index = 0; index < 6; index++) {
        await append(storage, [transaction([event(jane, { payload })])]);
      }

      const first = await storage.readLog({ after: 0, limit: 10 });
      const rest = await storage.readStream(jane, { after: 4, limit: 10 });

      expect(first.map(({ position }) => position)).toEqual([1, 2, 3, 4]);
      expect(rest.map(({ version }) => version)).toEqual([5, 6]);
      await storage.close();
    }),
  60_000,
);

test.each(["copier", "both"] as const)(
  "the log is copied while writes go on, and starts over (threads: %s)",
  (threads) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads, durability: "normal" });
      const payload = canonicalOf("x".repeat(1_000_000));
      let bytesMax = 0;
      for (let index = 0; index < 220; index++) {
        await append(storage, [transaction([event(jane, { payload })])]);
        bytesMax = Math.max(bytesMax, statSync(join(directory, "dbx.db-wal")).size);
      }

      const { checkpoints, log_bytes_max } = await storage.figures();

      // 220 MB were written, twice with the heads: without starting over the log would hold all.
      expect(checkpoints).toBeGreaterThan(1);
      expect(Number(log_bytes_max)).toBeLessThan(256 * 1024 * 1024);
      expect(bytesMax).toBeLessThan(256 * 1024 * 1024);
      await storage.close();
    }),
  60_000,
);
