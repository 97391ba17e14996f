// The care for the write-ahead log after a commit: what happens when it fails, or cannot be done.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { planAppends } from "../../src/model/plan.ts";
import { archivePathOf, createArchive } from "../../src/storage/sqlite/archive.ts";
import { nextTryAt } from "../../src/storage/sqlite/checkpoint.ts";
import { connectReader, connectWriter } from "../../src/storage/sqlite/connect.ts";
import { createCore } from "../../src/storage/sqlite/core.ts";
import { mainFormat } from "../../src/storage/sqlite/migrations.ts";
import { createMoves } from "../../src/storage/sqlite/moves.ts";
import { createKeyring } from "../../src/storage/sqlite/keyring.ts";
import { createReader } from "../../src/storage/sqlite/reader.ts";
import { createOpener } from "../../src/storage/sqlite/sealed.ts";
import { createCopiedSink, createLocalWriter } from "../../src/storage/sqlite/sinks.ts";
import {
  append,
  askOf,
  context,
  event,
  jane,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

test("a commit that is durable is answered so, also if its log cannot be looked at", () =>
  withDirectory(async (directory) => {
    const first = await openWriting(directory);
    await append(first, [transaction([event(jane), event(jane)])]);
    await first.close();
    const path = join(directory, "dbx.db");
    const { database } = connectWriter(path, {
      ...{ format: mainFormat, durability: "full", autocheckpoint: 0, secure_delete: false },
    });
    const reading = connectReader(path, mainFormat);
    if (reading === undefined) throw new Error("nothing to read");
    const keyring = createKeyring(reading.database, null);
    const opener = createOpener(keyring);
    const archive = createArchive(archivePathOf(path), opener);
    const reader = createReader(reading.database, archive, opener);
    const moves = createMoves({ path, dek: null, threads: true, read: reader.move });
    const writer = createLocalWriter(database, null);
    const sink = await createCopiedSink(writer, { path, durability: "full", dek: null });
    const core = createCore({ reader, moves, sink, heads_max: 10 });
    const appendOne = () => {
      const transactions = [transaction([event(jane)])];
      return core.commit(askOf(transactions), (known) => planAppends(known, transactions, context));
    };
    // A statement that is not finished: its connection can commit, but no checkpoint looks at the
    // log meanwhile.
    const unfinished = database.prepare("SELECT position FROM event").iterate();
    unfinished.next();

    const [committed, next] = await Promise.allSettled([appendOne(), appendOne()]);

    expect(committed).toMatchObject({ value: { outcomes: [{ kind: "appended" }], position: 3 } });
    expect((await core.failure).code).toBe("unavailable");
    // Nothing is written after something has failed, not even what was planned already.
    expect(next).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
    await expect(appendOne()).rejects.toMatchObject({ code: "unavailable" });
    unfinished.return?.();
    reader.close();
    keyring.close();
    reading.database.close();
    await sink.close();
    const again = await openWriting(directory);
    expect(await readAll(again)).toHaveLength(3);
    expect(await recompute(again)).toEqual([]);
    await again.close();
  }));

test("a reader that stays while a terabyte is written costs some waits, and each comes later", () => {
  const tries = [192 * 2 ** 20];
  while ((tries.at(-1) ?? 0) < 2 ** 40) tries.push(nextTryAt(tries.at(-1) ?? 0));
  expect(tries.length).toBeLessThan(25);
  tries.slice(1).forEach((bytes, index) => {
    expect(bytes - (tries[index] ?? 0)).toBeGreaterThanOrEqual(16 * 2 ** 20);
  });
});
