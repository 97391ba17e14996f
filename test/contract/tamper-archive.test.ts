// Whoever changes what is archived, what the main file says of it, or the audit trail, is found:
// each byte of each column, each removed and each added row.

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { canonicalize } from "../../src/model/canonical.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

type Row = Record<string, unknown>;

let dir: TempDir;
let store: TestStore;
const files = new Map<string, Database>();

beforeAll(async () => {
  dir = tempDir();
  {
    await using writing = await openStore(dir.path, { config: { snapshot_threshold: 2 } });
    const { dbx } = writing;
    const keyOf = (aggregate_id: string) => ({ aggregate_type: "t", aggregate_id });
    for (const [id, events] of Object.entries({ a: 3, b: 2, c: 1 })) {
      await dbx.appendEvents(root, {
        events: Array.from({ length: events }, (_, n) => ({
          ...{ ...keyOf(id), event_type: "e", note: n === 0 ? "é" : null },
          payload: canonicalize(`{"n":${n}}`),
        })),
      });
    }
    await dbx.createAggregate(root, keyOf("gone"));
    await dbx.createSnapshot(root, { ...keyOf("a"), comment: "kept" });
    await dbx.archiveAggregate(root, { ...keyOf("a"), comment: "old" });
    await dbx.archiveAggregate(root, keyOf("b"));
    await dbx.removeAggregate(root, keyOf("gone"));
  }
  for (const file of ["dbx.db", "archive.db"]) files.set(file, new Database(join(dir.path, file)));
  store = await openStore(dir.path, { access: "read" });
});

afterAll(async () => {
  for (const file of files.values()) file.close();
  await store.close();
  dir[Symbol.dispose]();
});

const told = (): Promise<string> =>
  store.dbx.verifyLog(root, {}).then(
    () => "verified",
    (error: unknown) => `${Object(error).code} ${Object(error).message}`,
  );

/** Puts other rows into a table, without its triggers, and looks; then the old ones are back. */
async function tampered(file: string, table: string, rows: readonly Row[]): Promise<string> {
  const database = files.get(file);
  if (database === undefined) throw new Error(`${file} is open`);
  const triggers = database
    .query<{ name: string; sql: string }, []>(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
    )
    .all();
  const replace = (others: readonly Row[]) =>
    database.transaction(() => {
      for (const { name } of triggers) database.run(`DROP TRIGGER ${name}`);
      database.run(`DELETE FROM ${table}`);
      for (const row of others) {
        const places = Object.keys(row).map(() => "?");
        database
          .prepare(`INSERT INTO ${table} (${Object.keys(row).join()}) VALUES (${places.join()})`)
          .run(...(Object.values(row) as string[]));
      }
      for (const { sql } of triggers) database.run(sql);
    })();
  const before = rowsOf(file, table);
  replace(rows);
  const found = await told();
  replace(before);
  return found;
}

const rowsOf = (file: string, table: string): Row[] =>
  files.get(file)?.query<Row, []>(`SELECT * FROM ${table}`).all() ?? [];

/** Values that differ from `value` in one byte, or where it has none, in the smallest way. */
function others(value: unknown): unknown[] {
  if (value === null) return ["archive"];
  if (typeof value === "number") return [value + 1, value - 1];
  if (value instanceof Uint8Array) {
    return Array.from(value, (byte, index) => value.with(index, byte ^ 1));
  }
  const text = String(value);
  return Array.from(text, (char, index) => {
    const other = String.fromCharCode(char.charCodeAt(0) ^ 1);
    return text.slice(0, index) + other + text.slice(index + 1);
  });
}

const tables = [
  ["dbx.db", "audit"],
  ["dbx.db", "trail"],
  ["dbx.db", "archive"],
  ["archive.db", "block"],
  ["archive.db", "snapshot"],
] as const;

test("an untouched store verifies", async () => {
  expect(await told()).toBe("verified");
  expect(await tampered("archive.db", "block", rowsOf("archive.db", "block"))).toBe("verified");
});

describe.each(tables)("%s %s", (file, table) => {
  test("every byte of every column counts", async () => {
    const rows = rowsOf(file, table);
    expect(rows.length).toBeGreaterThan(0);
    const missed: string[] = [];
    let tried = 0;
    for (const [at, row] of rows.entries()) {
      for (const [column, value] of Object.entries(row)) {
        // The table itself allows no other value.
        if (column === "one") continue;
        for (const other of others(value)) {
          const changed = rows.with(at, { ...row, [column]: other });
          const found = await tampered(file, table, changed).catch(refusedBySqlite);
          if (found === "refused") continue;
          tried++;
          // A move that begins anew is what a request could ask for; it changes nothing.
          if (column === "pending") continue;
          if (!found.startsWith("data_corrupted")) missed.push(`${column} of row ${at}: ${found}`);
        }
      }
    }
    expect(tried).toBeGreaterThan(rows.length);
    expect(missed).toEqual([]);
  }, 120_000);

  test("every removed row and every added one is found", async () => {
    const rows = rowsOf(file, table);
    for (const [at, row] of rows.entries()) {
      const found = await tampered(file, table, rows.toSpliced(at, 1));
      // A snapshot saves time and holds no fact: without it nothing is lost.
      if (file === "archive.db" && table === "snapshot") continue;
      expect([row, found]).toEqual([row, expect.stringContaining("data_corrupted")]);
    }
    const [first = {}] = rows;
    const numbers = Object.keys(first).filter((key) =>
      /^(stream_id|entry|first|version)$/.test(key),
    );
    for (const number of numbers) {
      const found = await tampered(file, table, [...rows, { ...first, [number]: 99 }]);
      expect([number, found]).toEqual([number, expect.stringContaining("data_corrupted")]);
    }
  });
});

/** Two rows of one key. */
function refusedBySqlite(error: unknown): string {
  if (Object(error).code?.startsWith("SQLITE_CONSTRAINT")) return "refused";
  throw error;
}

test("rows that were exchanged are found", async () => {
  for (const [file, table] of tables) {
    const [first, second, ...rest] = rowsOf(file, table);
    if (first === undefined || second === undefined) continue;
    const keys = ["entry", "stream_id", "first", "last", "version", "versions"];
    const swapped = (one: Row, other: Row): Row =>
      Object.fromEntries(
        Object.entries(one).map(([key, value]) => [key, keys.includes(key) ? value : other[key]]),
      );
    const rows = [swapped(first, second), swapped(second, first), ...rest];
    const found = await tampered(file, table, rows);
    // The rows of this one have nothing but their keys.
    if (table === "archive") expect(found).toBe("verified");
    else expect([table, found]).toEqual([table, expect.stringContaining("data_corrupted")]);
  }
});
