// Directories of older formats: they open for writing and are brought up to date, with what they
// hold.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { migrations } from "../../src/storage/sqlite/migrations.ts";
import { writeFormat } from "../../src/storage/sqlite/sql.ts";
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

/** What a dbx that knew the first format alone would have left. */
async function makeFirstFormat(directory: string): Promise<void> {
  const storage = await openWriting(directory);
  const events = Array.from({ length: 150 }, () => [event(jane), event(john)]).flat();
  await append(storage, [transaction(events, { token_id: "00" })], {
    now: "2024-12-01T17:22:43.512345Z",
    allowanceOf: () => ({ ok: true, writes_max: null, expires_at: null, term: "t" }),
    checkSchema: () => undefined,
    snapshotThresholdOf: () => 40,
    hidesSomething: () => false,
  });
  await storage.createStream({ ...jane, aggregate_id: "empty" }, change);
  await storage.close();
  const path = join(directory, "dbx.db");
  using old = new Database(join(directory, "old.db"), { create: true });
  for (const statement of migrations[0] ?? []) old.run(statement);
  old.run(writeFormat(1));
  old.run(`ATTACH '${path}' AS now`);
  old.run("DELETE FROM log");
  for (const table of ["stream", "event", "run", "body", "snapshot", "token_use", "log"]) {
    // Later formats have added columns.
    const columns = old
      .query<{ name: string }, []>(`SELECT name FROM pragma_table_info('${table}', 'main')`)
      .all()
      .map(({ name }) => name);
    old.run(`INSERT INTO ${table} SELECT ${columns.join()} FROM now.${table}`);
  }
  old.run("DETACH now");
  rmSync(path);
  old.run(`VACUUM INTO '${path}'`);
}

test("a directory of the first format opens, is brought up to date and goes on", () =>
  withDirectory(async (directory) => {
    await makeFirstFormat(directory);
    await expect(openReading(directory)).rejects.toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("format 1"),
    });

    const storage = await openWriting(directory);

    expect(await readAll(storage)).toHaveLength(300);
    expect(await recompute(storage)).toEqual([]);
    expect(await storage.readAudit({ after: 0, limit: 9 })).toEqual([]);
    expect(await storage.readSnapshots(jane, { after: 0, limit: 9 })).toHaveLength(3);
    expect(await storage.removeStream({ ...jane, aggregate_id: "empty" }, change)).toBe("removed");
    await storage.createStream({ ...jane, aggregate_id: "new" }, change);
    expect(await storage.archiveStream(jane, change)).toMatchObject({ archived: true });
    await append(storage, [transaction([event(john, { expected_version: 150 })])]);
    expect(await recompute(storage)).toEqual([]);
    await storage.close();
    const reading = await openReading(directory);
    expect(await readAll(reading)).toHaveLength(301);
    expect(await recompute(reading)).toEqual([]);
    await reading.close();
  }));
