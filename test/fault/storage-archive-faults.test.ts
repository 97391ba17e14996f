// An archive that cannot be written, or is damaged: that operation fails and says so, the aggregate
// stays readable, everybody else goes on, and the next request tries again.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Storage } from "../../src/storage/storage.ts";
import {
  append,
  change,
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

const modes = [false, "copier", "both"] as const;

const fill = (storage: Storage) =>
  append(storage, [transaction(Array.from({ length: 600 }, () => event(jane)))]);

test.each(modes)(
  "an archive that cannot be made fails the request alone (threads: %p)",
  (threads) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads });
      await fill(storage);
      const before = await readAll(storage);
      mkdirSync(join(directory, "archive.db"));

      // Not `rejects`: while it waits, no thread starts.
      const failed = await storage.archiveStream(jane, change).catch((error: unknown) => error);

      expect(failed).toMatchObject({ code: "unavailable" });
      expect(await storage.figures()).toMatchObject({
        ...{ moves_pending: 1, archive_fault: expect.stringContaining("cannot") },
      });
      expect(await readAll(storage)).toEqual(before);
      const outcomes = await append(storage, [
        transaction([event(jane)]),
        transaction([event(john)]),
      ]);
      expect(outcomes.outcomes.map(({ kind }) => kind)).toEqual(["refused", "appended"]);
      expect(await storage.createStream({ ...jane, aggregate_id: "new" }, change)).toBe(true);

      rmdirSync(join(directory, "archive.db"));
      expect(await storage.archiveStream(jane, change)).toMatchObject({ archived: true });
      const figures = await storage.figures();
      expect(figures).toMatchObject({ moves_pending: 0 });
      expect(figures).not.toHaveProperty("archive_fault");
      const trail = await storage.readAudit({ after: 0, limit: 9 });
      expect(trail.map(({ action }) => action)).toEqual(["archive", "create"]);
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }),
);

test.each(modes)(
  "somebody who holds the archive keeps nobody else (threads: %p)",
  (threads) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads });
      await fill(storage);
      await storage.archiveStream(jane, change);
      const before = await readAll(storage);
      const foreign = new Database(join(directory, "archive.db"));
      foreign.run("BEGIN IMMEDIATE");

      const failed = storage.restoreStream(jane, change).catch((error: unknown) => error);
      await append(storage, [transaction([event(john)])]);

      expect(await failed).toMatchObject({ code: "unavailable" });
      expect((await readAll(storage)).slice(0, -1)).toEqual(before);
      foreign.run("ROLLBACK");
      foreign.close();
      // The other way round: what was to come back stays.
      expect(await storage.archiveStream(jane, change)).toMatchObject({ archived: true });
      expect(await storage.restoreStream(jane, change)).toMatchObject({ archived: false });
      await append(storage, [transaction([event(jane, { expected_version: 600 })])]);
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }),
  30_000,
);

test("a damaged block is told by whoever needs it, and does not come back", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    await fill(first);
    await append(first, [transaction([event(john)])]);
    await first.archiveStream(jane, change);
    await first.close();
    const path = join(directory, "archive.db");
    const database = new Database(path);
    const [trigger] = database
      .query<{ sql: string }, []>("SELECT sql FROM sqlite_schema WHERE name = 'block_update'")
      .all();
    database.run("DROP TRIGGER block_update");
    database.run("UPDATE block SET bodies = CAST(bodies || x'00' AS BLOB) WHERE first = 257");
    database.run(trigger?.sql ?? "");
    database.close();

    const storage = await openWriting(directory);
    const where = { code: "data_corrupted", message: expect.stringContaining("257 to 512") };
    expect(await storage.readStream(jane, { after: 0, limit: 256 })).toHaveLength(256);
    await expect(storage.readStream(jane, { after: 256, limit: 1 })).rejects.toMatchObject(where);
    await expect(storage.readLog({ after: 200, limit: 100 })).rejects.toMatchObject(where);
    expect(await storage.readStream(jane, { after: 512, limit: 99 })).toHaveLength(88);
    await expect(storage.restoreStream(jane, change)).rejects.toMatchObject(where);
    await append(storage, [transaction([event(john, { expected_version: 1 })])]);
    expect(await storage.readStream(jane, { after: 512, limit: 99 })).toHaveLength(88);
    await storage.close();
    const reading = await openReading(directory);
    expect(await reading.figures()).toMatchObject({ moves_pending: 1 });
    expect(await reading.check({ limit: 9 })).toEqual([]);
    await reading.close();
  }));
