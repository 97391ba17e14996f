// What becomes of the files when streams are archived and restored: where the bodies are, what no
// program can do to them, and what is told when the archive is missing or damaged.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import {
  append,
  change,
  context,
  event,
  jane,
  john,
  openReading,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const count = limits.archive_block_events * 2 + 10;

/** Two streams in turns, with snapshots. */
const fill = async (storage: Awaited<ReturnType<typeof openWriting>>): Promise<void> => {
  const planContext = { ...context, snapshotThresholdOf: () => 50 };
  for (let left = count; left > 0; left -= 50) {
    const events = Array.from({ length: Math.min(left, 50) }, (_, n) => {
      const payload = canonicalOf({
        n: left - n,
        text: "é😀".repeat(n),
        exact: "12345678901234567",
      });
      return [event(jane, { payload, note: n % 3 ? `n"${n}` : null }), event(john)];
    });
    await append(storage, [transaction(events.flat())], planContext);
  }
};

const archived = async (directory: string): Promise<void> => {
  const storage = await openWriting(directory);
  await fill(storage);
  await storage.archiveStream(jane, change);
  await storage.close();
};

const counts = (directory: string) => {
  using main = new Database(join(directory, "dbx.db"), { readonly: true });
  const one = (database: Database, table: string) =>
    database.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n;
  const here = { bodies: one(main, "body"), snapshots: one(main, "snapshot") };
  if (!existsSync(join(directory, "archive.db"))) return here;
  using archive = new Database(join(directory, "archive.db"), { readonly: true });
  return { ...here, blocks: one(archive, "block"), archived: one(archive, "snapshot") };
};

test.each([false, "copier", "both"] as const)(
  "bodies and snapshots move to the archive and back (threads: %p)",
  (threads) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads });
      await fill(storage);
      const before = await readAll(storage);
      const snapshots = await storage.readSnapshots(jane, { after: 0, limit: 100 });
      const kept = snapshots.length;
      expect(counts(directory)).toEqual({ bodies: count * 2, snapshots: kept * 2 });
      expect(readdirSync(directory)).not.toContain("archive.db");

      await storage.archiveStream(jane, change);

      expect(counts(directory)).toEqual({
        ...{ bodies: count, snapshots: kept, blocks: 3, archived: kept },
      });
      expect(statSync(join(directory, "archive.db")).mode & 0o777).toBe(0o600);
      expect(await readAll(storage)).toEqual(before);
      expect(await storage.readSnapshots(jane, { after: 0, limit: 100 })).toEqual(snapshots);
      expect(await storage.figures()).toMatchObject({ moves_pending: 0 });
      expect(Number((await storage.figures())["archive_bytes"])).toBeGreaterThan(4096);
      const reading = await openReading(directory);
      expect(await readAll(reading)).toEqual(before);
      expect(await recompute(reading)).toEqual([]);

      await storage.restoreStream(jane, change);

      expect(counts(directory)).toEqual({
        ...{ bodies: count * 2, snapshots: kept * 2, blocks: 0, archived: 0 },
      });
      expect(await readAll(reading)).toEqual(before);
      expect(await readAll(storage)).toEqual(before);
      expect(await recompute(storage)).toEqual([]);
      await reading.close();
      await storage.close();
      expect(readdirSync(directory).sort()).toEqual(["archive.db", "dbx.db", "lock.db"]);
    }),
);

test("a block holds few versions where they are large", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    const payload = canonicalOf("x".repeat(limits.archive_block_chars_max * 0.3));
    for (let n = 0; n < 7; n++) {
      const planContext = { ...context, snapshotThresholdOf: () => 2 };
      await append(storage, [transaction([event(jane, { payload })])], planContext);
    }
    const before = await readAll(storage);

    await storage.archiveStream(jane, change);

    // Versions 2, 4 and 6 have a snapshot as large as they are.
    expect(counts(directory)).toMatchObject({ bodies: 0, snapshots: 0, blocks: 4, archived: 3 });
    expect(await readAll(storage)).toEqual(before);
    await storage.restoreStream(jane, change);
    expect(counts(directory)).toMatchObject({ bodies: 7, snapshots: 3, blocks: 0, archived: 0 });
    expect(await recompute(storage)).toEqual([]);
    await storage.close();
  }));

test("no snapshot is lost where states are far larger than events", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    const payload = canonicalOf({ large: "x".repeat(limits.archive_block_chars_max * 0.6) });
    await append(storage, [transaction([event(jane, { payload })])]);
    for (let n = 0; n < 6; n++) {
      await append(storage, [transaction([event(jane), event(jane)])]);
      await storage.keepSnapshot(jane, { ...change, comment: `by hand ${n}` });
    }
    const all = async () => {
      const found = [];
      for (let version = 1; version <= 13; version++) {
        found.push(await storage.readSnapshot(jane, { version_max: version }));
      }
      return found;
    };
    const before = await all();
    expect(before.filter((snapshot) => snapshot !== undefined)).toHaveLength(11);

    await storage.archiveStream(jane, change);

    expect(counts(directory)).toMatchObject({ bodies: 0, snapshots: 0, archived: 6 });
    expect(await all()).toEqual(before);
    await storage.restoreStream(jane, change);
    expect(counts(directory)).toMatchObject({ bodies: 13, snapshots: 6, blocks: 0, archived: 0 });
    expect(await all()).toEqual(before);
    expect(await recompute(storage)).toEqual([]);
    await storage.close();
  }));

test("a page of the log opens few blocks, and the next one goes on", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    const keys = Array.from({ length: 80 }, (_, n) => ({ ...jane, aggregate_id: `p-${n}` }));
    // As large as a block gets, so that no two events of a stream are in one.
    const payload = canonicalOf("x".repeat(limits.archive_block_chars_max - 2));
    for (const some of [keys.slice(0, 40), keys.slice(40)]) {
      await append(storage, [transaction(some.map((key) => event(key, { payload })))]);
    }
    await append(storage, [transaction(keys.map((key) => event(key)))]);
    for (const key of keys) await storage.archiveStream(key, change);

    const sizes: number[] = [];
    let last = 0;
    for (;;) {
      const events = await storage.readLog({ after: last, limit: 1_000 });
      if (events.length === 0) break;
      expect(events.map(({ position }) => position)).toEqual(events.map((_, n) => last + n + 1));
      last += events.length;
      sizes.push(events.length);
    }
    expect(last).toBe(160);
    // 32 MiB of blocks, then the one that goes beyond.
    expect(sizes[0]).toBeLessThanOrEqual(33);
    await storage.close();
  }));

test("a body that is in both files is told", () =>
  withDirectory(async (directory) => {
    await archived(directory);
    using main = new Database(join(directory, "dbx.db"));
    main.run("INSERT INTO body (position, salt, payload) VALUES (1, zeroblob(16), '{}')");
    const storage = await openReading(directory);
    expect(await storage.check({ limit: 9 })).toEqual(["body 1 is in the archive, too"]);
    await storage.close();
  }));

test("a move that closing cuts short is finished after the next opening", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    await fill(first);
    const before = await readAll(first);
    for (const direction of ["archive", "restore"] as const) {
      const storage = direction === "archive" ? first : await openWriting(directory);
      const move = direction === "archive" ? storage.archiveStream : storage.restoreStream;
      const moving = move(jane, change).then(
        () => "moved",
        (error: unknown) => Object(error).code,
      );
      await storage.close();
      expect(await moving).toBe("unavailable");

      const reading = await openReading(directory);
      expect((await reading.figures())["moves_pending"]).toBe(1);
      expect(await readAll(reading)).toEqual(before);
      expect(await recompute(reading)).toEqual([]);
      await reading.close();

      const again = await openWriting(directory);
      // The same once more waits for the one that goes on; the trail has one entry of it.
      const same = direction === "archive" ? again.archiveStream : again.restoreStream;
      expect(await same(jane, change)).toMatchObject({ archived: direction === "archive" });
      expect((await again.figures())["moves_pending"]).toBe(0);
      expect(await readAll(again)).toEqual(before);
      expect(await recompute(again)).toEqual([]);
      await again.close();
    }
    const reading = await openReading(directory);
    expect((await reading.readAudit({ after: 0, limit: 9 })).map(({ action }) => action)).toEqual([
      "archive",
      "restore",
    ]);
    await reading.close();
  }));

test("a move turns round where it was cut short", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    await fill(first);
    const before = await readAll(first);
    const moving = first.archiveStream(jane, change).catch(() => undefined);
    await first.close();
    await moving;

    const storage = await openWriting(directory);
    expect(await storage.restoreStream(jane, change)).toMatchObject({ archived: false });
    await append(storage, [transaction([event(jane, { expected_version: count })])]);
    expect((await readAll(storage)).slice(0, -1)).toEqual(before);
    expect(await recompute(storage)).toEqual([]);
    await storage.close();
  }));

test("a directory whose archive is missing, empty or another file's is refused", () =>
  withDirectory(async (directory) => {
    await archived(directory);
    const path = join(directory, "archive.db");
    renameSync(path, `${path}.away`);
    for (const content of [null, "", "not a database, but long enough to look at. ".repeat(99)]) {
      if (content === null) rmSync(path, { force: true });
      else writeFileSync(path, content);
      for (const open of [openWriting, openReading]) {
        await expect(open(directory)).rejects.toMatchObject({ code: "data_corrupted" });
      }
    }
    renameSync(`${path}.away`, path);
    const storage = await openWriting(directory);
    expect(await recompute(storage)).toEqual([]);
    await storage.close();
  }));

test("no program can change, delete or replace what is archived", () =>
  withDirectory(async (directory) => {
    await archived(directory);
    using database = new Database(join(directory, "archive.db"));
    for (const [sql, reason] of [
      ["UPDATE block SET bodies = x'00'", "never changes"],
      ["DELETE FROM block", "never deleted"],
      ["REPLACE INTO block SELECT * FROM block", "never replaced"],
      ["UPDATE snapshot SET state = x'00'", "never changes"],
      ["DELETE FROM snapshot", "never deleted"],
      ["REPLACE INTO snapshot SELECT * FROM snapshot", "never replaced"],
    ] as const) {
      expect(() => database.run(sql)).toThrow(reason);
    }
    using main = new Database(join(directory, "dbx.db"));
    for (const [sql, reason] of [
      ["DELETE FROM body WHERE position = 2", "never deleted"],
      ["UPDATE audit SET at = 'x'", "never changes"],
      ["DELETE FROM audit", "never deleted"],
      ["REPLACE INTO audit SELECT * FROM audit", "never replaced"],
    ] as const) {
      expect(() => main.run(sql)).toThrow(reason);
    }
  }));

test(
  "a foreign process reads a stream while it moves there and back",
  () =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads: "both" });
      await fill(storage);
      const before = await readAll(storage);
      const snapshots = await storage.readSnapshots(jane, { after: 0, limit: 100 });
      const reading = await openReading(directory);
      let moving = true;
      const moves = (async () => {
        for (let round = 0; round < 4; round++) {
          await storage.archiveStream(jane, change);
          await storage.restoreStream(jane, change);
        }
        moving = false;
      })();
      let rounds = 0;
      while (moving) {
        expect(await readAll(reading, 90)).toEqual(before);
        expect(await reading.readSnapshots(jane, { after: 0, limit: 100 })).toEqual(snapshots);
        expect((await reading.readSnapshot(jane, { version_max: 120 }))?.version).toBe(100);
        expect(await reading.check({ limit: 9 })).toEqual([]);
        await new Promise((resolve) => setImmediate(resolve));
        rounds++;
      }
      await moves;
      expect(rounds).toBeGreaterThan(1);
      await reading.close();
      await storage.close();
    }),
  30_000,
);
