// A main file that has no room for a block on its way back, or that a foreign program has put rows
// into: the move is rolled back and waits, everybody else goes on, and so does the next opening.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { archivePathOf, createArchive } from "../../src/storage/sqlite/archive.ts";
import { connectReader, connectWriter } from "../../src/storage/sqlite/connect.ts";
import { createCore } from "../../src/storage/sqlite/core.ts";
import { mainFormat } from "../../src/storage/sqlite/migrations.ts";
import { createMoves } from "../../src/storage/sqlite/moves.ts";
import { createKeyring } from "../../src/storage/sqlite/keyring.ts";
import { createReader } from "../../src/storage/sqlite/reader.ts";
import { createOpener } from "../../src/storage/sqlite/sealed.ts";
import {
  createCopiedSink,
  createInlineSink,
  createLocalWriter,
} from "../../src/storage/sqlite/sinks.ts";
import {
  append,
  change,
  event,
  jane,
  john,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

/** One stream in the archive, in several blocks; the main file is as small as it gets. */
async function archived(directory: string): Promise<void> {
  const storage = await openWriting(directory);
  const payload = canonicalOf("x".repeat(10_000));
  for (let n = 0; n < 6; n++) {
    const events = Array.from({ length: 50 }, () => event(jane, { payload }));
    await append(storage, [transaction(events)]);
  }
  await append(storage, [transaction([event(john)])]);
  await storage.keepSnapshot(jane, change);
  await storage.archiveStream(jane, change);
  await storage.close();
  using database = new Database(join(directory, "dbx.db"));
  database.run("VACUUM");
}

/** The storage from its parts, with a main file that may have so many pages more than it has. */
async function openSmall(path: string, mode: "inline" | "copier", pagesMore: number) {
  const file = { format: mainFormat, durability: "full", autocheckpoint: 0 } as const;
  const options = { ...file, secure_delete: false };
  const { database } = connectWriter(path, options);
  const reading = connectReader(path, mainFormat)?.database;
  if (reading === undefined) throw new Error("nothing to read");
  const pages = database.query<{ page_count: number }, []>("PRAGMA page_count").get()?.page_count;
  const limit = (count: number) => database.run(`PRAGMA max_page_count = ${count}`);
  limit((pages ?? 0) + pagesMore);
  const keyring = createKeyring(reading, null);
  const opener = createOpener(keyring);
  const archive = createArchive(archivePathOf(path), opener);
  const reader = createReader(reading, archive, opener);
  const sink =
    mode === "inline"
      ? createInlineSink(database, { path, dek: null })
      : await createCopiedSink(createLocalWriter(database, null), {
          ...{ path, durability: "full", dek: null },
        });
  const moves = createMoves({ path, dek: null, threads: mode === "copier", read: reader.move });
  const core = createCore({ reader, moves, sink, heads_max: 100 });
  const close = async (): Promise<void> => {
    await moves.close();
    reader.close();
    archive.close();
    keyring.close();
    reading.close();
    await sink.close();
    database.close();
  };
  return { core, moves, reader, makeRoom: () => limit(1_000_000), close };
}

const moveOf = ({ reader }: Awaited<ReturnType<typeof openSmall>>) => {
  const [stream_id = 0] = reader.pendingMoves();
  return reader.move(stream_id);
};

test.each(["inline", "copier"] as const)(
  "a main file without room keeps an aggregate in the archive and nobody else (%s)",
  (mode) =>
    withDirectory(async (directory) => {
      await archived(directory);
      const path = join(directory, "dbx.db");
      // Room for what tells of the move and for small events, and for no block.
      for (const attempt of [1, 2]) {
        const small = await openSmall(path, mode, 40);
        if (attempt === 2) small.core.resume();
        const failed = await small.core
          .restoreStream(jane, change)
          .catch((error: unknown) => error);

        expect(failed).toMatchObject({ code: "unavailable", details: { sqlite: "SQLITE_FULL" } });
        expect(small.moves.figures()).toMatchObject({
          archive_fault: expect.stringContaining("full"),
        });
        expect(moveOf(small)).toMatchObject({ pending: "restore", versions: 300 });
        const both = [transaction([event(jane)]), transaction([event(john)])];
        const { outcomes } = await append(small.core, both);
        expect(outcomes.map(({ kind }) => kind)).toEqual(["refused", "appended"]);
        if (attempt === 2) {
          small.makeRoom();
          expect(await small.core.restoreStream(jane, change)).toMatchObject({ archived: false });
          expect(small.moves.figures()).toEqual({});
          const late = [transaction([event(jane, { expected_version: 300 })])];
          expect((await append(small.core, late)).outcomes[0]?.kind).toBe("appended");
        }
        await small.close();
      }
      const storage = await openWriting(directory);
      expect(await readAll(storage)).toHaveLength(304);
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }),
  30_000,
);

test.each([false, "copier", "both"] as const)(
  "rows of a foreign program keep an aggregate only if they differ (threads: %p)",
  (threads) =>
    withDirectory(async (directory) => {
      await archived(directory);
      const first = await openWriting(directory);
      const before = await readAll(first);
      const [kept] = await first.readSnapshots(jane, { after: 0, limit: 9 });
      await first.close();
      const { position = 0, salt = "", payload = "" } = before[2] ?? {};
      const { stream_id, version, state, created_at } = { stream_id: 1, ...Object(kept) };
      using foreign = new Database(join(directory, "dbx.db"));
      foreign.run("INSERT INTO body VALUES (?, ?, NULL, ?)", [position, salt, payload]);
      foreign.run(
        `INSERT INTO snapshot (stream_id, version, state, merkle_root, created_at)
          VALUES (?, ?, ?, x'00', ?)`,
        [stream_id, version, state, created_at],
      );

      const storage = await openWriting(directory, { threads });
      const failed = await storage.restoreStream(jane, change).catch((error: unknown) => error);
      expect(failed).toMatchObject({ code: "data_corrupted" });
      expect(await storage.figures()).toMatchObject({ moves_pending: 1 });
      await append(storage, [transaction([event(john)])]);

      foreign.run("UPDATE snapshot SET merkle_root = ?", [Object(kept).merkle_root]);
      expect(await storage.restoreStream(jane, change)).toMatchObject({ archived: false });
      expect((await readAll(storage)).slice(0, -1)).toEqual(before);
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }),
  30_000,
);

test("moves that wait in line while the storage is closed are told so", () =>
  withDirectory(async (directory) => {
    await archived(directory);
    const storage = await openWriting(directory);
    const waiting = Array.from({ length: 6 }, (_, n) =>
      (n % 2 === 0 ? storage.restoreStream : storage.archiveStream)(jane, change).then(
        () => "moved",
        (error: unknown) => Object(error).code,
      ),
    );
    await storage.close();

    const answers = new Set(await Promise.all(waiting));
    expect([...answers]).toEqual(["unavailable"]);
    await expect(storage.archiveStream(jane, change)).rejects.toMatchObject({
      code: "unavailable",
    });
  }));
