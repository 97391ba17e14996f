// Encryption at rest, seen from the files: nothing that was written is in any of them, what was
// moved, exchanged or changed there does not open, and a store opens with its key alone.

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import type { PlannedEvent } from "../../src/model/plan.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { createKeyring } from "../../src/storage/sqlite/keyring.ts";
import type { SqliteStorage } from "../../src/storage/sqlite/open.ts";
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

const dek = new Uint8Array(32).fill(7);
const otherDek = new Uint8Array(32).fill(8);
const due = { ...context, snapshotThresholdOf: () => 2 };

const secretOf = (word: string): string => `planted-secret-${word}`;
const secretEvent = (key: StreamKey, word: string, changes: Partial<PlannedEvent> = {}) =>
  event(key, {
    payload: canonicalOf({ [secretOf(`member-${word}`)]: secretOf(word) }),
    note: secretOf(`note-${word}`),
    ...changes,
  });

/** What every file of the directory holds, the log and what is free in it included. */
const filesOf = (directory: string): string[] =>
  readdirSync(directory).map((name) => readFileSync(join(directory, name), "latin1"));

/** In how many files something that was planted can be read. */
const openings = (directory: string): number =>
  filesOf(directory).filter((bytes) => bytes.includes("planted-secret")).length;

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  const error = await work.catch((cause: unknown) => cause);
  return error instanceof DbxError ? error.code : error;
}

describe.each([{ threads: false as const }, { threads: "both" as const }])(
  "with threads: $threads",
  (options) => {
    test("no payload, note or state is in any file, the log and the archive included", () =>
      withDirectory(async (directory) => {
        const storage = await openWriting(directory, { ...options, dek });
        expect(storage.sealing()).toBe("all");
        for (const word of ["a", "b", "c"]) {
          await append(storage, [transaction([secretEvent(jane, word)])], due);
          await append(storage, [transaction([secretEvent(john, word)])], due);
        }
        await storage.keepSnapshot(john, change);
        expect(openings(directory)).toBe(0);
        await storage.archiveStream(jane, change);
        expect(openings(directory)).toBe(0);
        const events = await readAll(storage);
        expect(events).toHaveLength(6);
        expect(events[0]?.payload).toContain(secretOf("a"));
        expect(await storage.readSnapshots(jane, { after: 0, limit: 9 })).toHaveLength(1);
        expect(await recompute(storage)).toEqual([]);
        await storage.restoreStream(jane, change);
        expect(openings(directory)).toBe(0);
        expect(await readAll(storage)).toEqual(events);
        await storage.close();
        expect(openings(directory)).toBe(0);

        const again = await openReading(directory, { dek });
        expect(await readAll(again)).toEqual(events);
        expect(await recompute(again)).toEqual([]);
        await again.close();
      }));

    test("without a key the same looks find it, so they can see", () =>
      withDirectory(async (directory) => {
        const storage = await openWriting(directory, options);
        expect(storage.sealing()).toBe("none");
        await append(storage, [transaction([secretEvent(jane, "a")])]);
        expect(openings(directory)).toBeGreaterThan(0);
        await storage.close();
      }));
  },
);

describe("a store opens", () => {
  test.each([
    ["without its key", null, "no data encryption key is set"],
    ["with another key", otherDek, "is not the one of this store"],
  ])("not %s, and stays as it is", (_name, wrong, words) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { dek });
      await append(storage, [transaction([event(jane)])]);
      await storage.close();
      const before = readFileSync(join(directory, "dbx.db"));
      for (const open of [openWriting, openReading]) {
        const error = await open(directory, { dek: wrong }).catch((cause: unknown) => cause);
        expect(error).toBeInstanceOf(DbxError);
        expect(error).toMatchObject({ code: "failed_precondition" });
        expect(String(error)).toContain(words);
      }
      expect(readFileSync(join(directory, "dbx.db")).equals(before)).toBe(true);
      const right = await openWriting(directory, { dek });
      expect(await readAll(right)).toHaveLength(1);
      await right.close();
    }),
  );

  test("with a key although it is older, and seals what is new", () =>
    withDirectory(async (directory) => {
      const plain = await openWriting(directory);
      await append(plain, [transaction([event(jane), event(john)])], due);
      await plain.archiveStream(john, change);
      await plain.close();

      const storage = await openWriting(directory, { dek });
      await append(storage, [transaction([secretEvent(jane, "a")])], due);
      expect(openings(directory)).toBe(0);
      await storage.restoreStream(john, change);
      await append(storage, [transaction([secretEvent(john, "b")])], due);
      await storage.archiveStream(john, change);
      expect(openings(directory)).toBe(0);
      expect((await readAll(storage)).map(({ version }) => version)).toEqual([1, 1, 2, 2]);
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }));
});

/** Two streams of two events each, with a snapshot each; both in the same way. */
async function prepared(directory: string): Promise<void> {
  const storage = await openWriting(directory, { dek });
  for (const key of [jane, john]) {
    await append(storage, [transaction([secretEvent(key, "a"), secretEvent(key, "b")])], due);
  }
  await storage.close();
}

/** With the triggers out of the way: whoever has the disk does not ask them. */
function tamper(directory: string, statements: readonly string[], name = "dbx.db"): void {
  using database = new Database(join(directory, name));
  const triggers = database
    .query<{ name: string; sql: string }, []>(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
    )
    .all();
  for (const trigger of triggers) database.run(`DROP TRIGGER ${trigger.name}`);
  for (const statement of statements) database.run(statement);
  for (const { sql } of triggers) database.run(sql);
}

/** Reads all there is: `read`, or the code of the error. */
async function everything(directory: string): Promise<unknown> {
  const reading = openReading(directory, { dek }).then(async (storage) => {
    try {
      await readAll(storage);
      await storage.readHeads({ aggregate_type: null, after: null, skip: 0, limit: 9 });
      for (const key of [jane, john]) await storage.readSnapshots(key, { after: 0, limit: 9 });
      return "read";
    } finally {
      await storage.close();
    }
  });
  return await reading.catch((error: unknown) => (error instanceof DbxError ? error.code : error));
}

const sealedOf = (table: string, where: string) => `(SELECT sealed FROM ${table} WHERE ${where})`;

describe("what is sealed opens at its own place alone", () => {
  const readJane = (storage: SqliteStorage) => storage.readStream(jane, { after: 0, limit: 9 });
  const headJane = (storage: SqliteStorage) => storage.readHead(jane);
  const snapshotsJane = (storage: SqliteStorage) =>
    storage.readSnapshots(jane, { after: 0, limit: 9 });
  const heads = (storage: SqliteStorage) =>
    storage.readHeads({ aggregate_type: null, after: null, skip: 0, limit: 9 });

  const body = (of: number) =>
    `UPDATE sealed_body SET sealed = ${sealedOf("sealed_body", `position = ${of}`)}`;
  const cases: [string, string[], (storage: SqliteStorage) => Promise<unknown>][] = [
    ["a body at another version", [`${body(2)} WHERE position = 1`], readJane],
    ["a body at another aggregate", [`${body(3)} WHERE position = 1`], readJane],
    [
      "a body with its key at another aggregate",
      [
        `${body(3)} WHERE position = 1`,
        "UPDATE data_key SET wrapped = (SELECT wrapped FROM data_key WHERE stream_id = 2) WHERE stream_id = 1",
      ],
      readJane,
    ],
    [
      "a changed body",
      [
        "UPDATE sealed_body SET sealed = CAST(substr(sealed, 1, 40) || x'00' || substr(sealed, 42) AS BLOB)",
      ],
      readJane,
    ],
    [
      "a cut body",
      ["UPDATE sealed_body SET sealed = substr(sealed, 1, 20) WHERE position = 1"],
      readJane,
    ],
    [
      "a state at another aggregate",
      [`UPDATE stream SET sealed = ${sealedOf("stream", "stream_id = 2")} WHERE stream_id = 1`],
      headJane,
    ],
    [
      "a snapshot in the place of the state",
      [`UPDATE stream SET sealed = ${sealedOf("snapshot", "stream_id = 1")} WHERE stream_id = 1`],
      heads,
    ],
    [
      "a state in the place of a snapshot",
      [`UPDATE snapshot SET sealed = ${sealedOf("stream", "stream_id = 1")} WHERE stream_id = 1`],
      snapshotsJane,
    ],
    ["a body whose key is gone", ["DELETE FROM data_key WHERE stream_id = 1"], readJane],
  ];
  test.each(cases)("%s is data_corrupted", (_name, statements, read) =>
    withDirectory(async (directory) => {
      await prepared(directory);
      const sound = await openReading(directory, { dek });
      expect(await codeOf(read(sound))).not.toBe("data_corrupted");
      await sound.close();
      tamper(directory, statements);
      const storage = await openReading(directory, { dek });
      expect(await codeOf(read(storage))).toBe("data_corrupted");
      await storage.close();
    }),
  );

  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  test(`any other bit of anything sealed is told, never answered (SEED=${seed})`, () =>
    withDirectory(async (directory) => {
      await prepared(directory);
      using database = new Database(join(directory, "dbx.db"));
      let drawn = seed;
      const draw = (below: number): number => {
        drawn = (Math.imul(drawn, 1_103_515_245) + 12_345) & 0x7fffffff;
        return drawn % below;
      };
      for (const [table, column] of [
        ...[["sealed_body", "sealed"] as const, ["stream", "sealed"] as const],
        ...[["snapshot", "sealed"] as const, ["data_key", "wrapped"] as const],
      ]) {
        const name = `SELECT ${column} AS bytes FROM ${table}`;
        const rows = database.query<{ bytes: Uint8Array }, []>(name).all();
        for (let round = 0; round < 6; round++) {
          const bytes = rows[draw(rows.length)]?.bytes ?? new Uint8Array();
          const at = draw(bytes.length);
          const other = bytes.map((byte, index) => (index === at ? byte ^ (1 << draw(8)) : byte));
          const put = (from: Uint8Array, to: Uint8Array): void =>
            tamper(directory, [
              `UPDATE ${table} SET ${column} = x'${to.toHex()}' WHERE ${column} = x'${from.toHex()}'`,
            ]);
          put(bytes, other);
          const told = await everything(directory);
          expect(["data_corrupted", "failed_precondition"]).toContain(String(told));
          put(other, bytes);
          expect(await everything(directory)).toBe("read");
        }
      }
    }));

  test("a block of the archive at another aggregate is data_corrupted", () =>
    withDirectory(async (directory) => {
      await prepared(directory);
      const storage = await openWriting(directory, { dek });
      await storage.archiveStream(jane, change);
      await storage.archiveStream(john, change);
      expect(await readJane(storage)).toHaveLength(2);
      await storage.close();
      using archive = new Database(join(directory, "archive.db"));
      const blocks = archive.query<{ bodies: Uint8Array }, []>("SELECT bodies FROM block").all();
      archive.close();
      const [, johns] = blocks;
      const digest = new Bun.CryptoHasher("sha256")
        .update(JSON.stringify([1, 1, 2]))
        .update(johns?.bodies ?? "")
        .digest("hex");
      tamper(
        directory,
        [
          "UPDATE block SET bodies = (SELECT bodies FROM block WHERE stream_id = 2) WHERE stream_id = 1",
          `UPDATE block SET digest = x'${digest}' WHERE stream_id = 1`,
        ],
        "archive.db",
      );
      const again = await openReading(directory, { dek });
      const error = await readJane(again).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ code: "data_corrupted" });
      expect(String(error)).toContain("does not open");
      await again.close();
    }));

  test("check tells what lies in clear in an encrypted store, and keys that are missing", () =>
    withDirectory(async (directory) => {
      await prepared(directory);
      tamper(directory, [
        "INSERT INTO body (position, salt, payload) VALUES (1, zeroblob(16), 'null')",
        "UPDATE stream SET state = '{}' WHERE stream_id = 1",
        "DELETE FROM data_key WHERE stream_id = 2",
      ]);
      const storage = await openReading(directory, { dek });
      expect(await storage.check({ limit: 10 })).toEqual([
        "body 1 is there in clear and sealed",
        "body 1 is in clear, but the store is encrypted",
        "the state of stream 1 is in clear and sealed, or neither",
        "stream 2 has something sealed, but no key",
      ]);
      await storage.close();
    }));
});

test(`no more than ${limits.data_keys_max} keys stay in memory, and those that went are found again`, () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory, { dek });
    await storage.close();
    using database = new Database(join(directory, "dbx.db"));
    const keyring = createKeyring(database, dek);
    const count = limits.data_keys_max + 10;
    database.run("BEGIN");
    const first = keyring.keyFor(1);
    for (let stream_id = 2; stream_id <= count; stream_id++) keyring.keyFor(stream_id);
    expect(keyring.kept()).toBeLessThanOrEqual(limits.data_keys_max);
    expect(keyring.keyOf(1)).toEqual(first);
    database.run("ROLLBACK");
    keyring.forget();
    expect(keyring.keyOf(1)).toBeUndefined();
    keyring.close();
  }));
