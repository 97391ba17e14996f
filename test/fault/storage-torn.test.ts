// Files that were cut or changed at any place: the store opens with a prefix of what was committed,
// or says that the data is damaged. Wrong data that looks right is the one outcome that must not
// be.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFile, mkdir, open, readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { dek } from "../support/sealing.ts";
import {
  append,
  event,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
let state = seed;
/** A small generator of our own, so that a failure can be repeated with SEED. */
function below(limit: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
  return Math.floor((state / 0x80000000) * limit);
}

async function fill(storage: Storage): Promise<void> {
  for (let commit = 0; commit < 40; commit++) {
    const events = Array.from({ length: 1 + (commit % 4) }, (_, index) =>
      event(
        { aggregate_type: "torn", aggregate_id: `s${(commit + index) % 7}` },
        { payload: canonicalOf({ commit, index, filler: "é".repeat((commit * 37) % 900) }) },
      ),
    );
    await append(storage, [transaction(events)]);
  }
}

/** How a damaged directory looks from outside. */
async function look(
  directory: string,
  { key, whole }: { key: Uint8Array | null; whole: string },
): Promise<CommittedEvent[] | "told"> {
  try {
    const storage = await openWriting(directory, { dek: key });
    try {
      const faults = await recompute(storage);
      return faults.length > 0 ? "told" : await readAll(storage);
    } finally {
      await storage.close();
    }
  } catch (error) {
    expect(error).toBeInstanceOf(DbxError);
    if (error instanceof DbxError && error.details["reason"] === "key_wrong") {
      // True of a store in which that was changed by which its key is known, and of no other.
      expect(keyRows(directory)).not.toEqual(keyRows(whole));
    } else expect(error).toMatchObject({ code: "data_corrupted" });
    return "told";
  }
}

function keyRows(directory: string): unknown[] {
  using raw = new Database(join(directory, "dbx.db"), { readonly: true });
  const rows = ["SELECT * FROM sealing", "SELECT * FROM data_key WHERE stream_id = 0"];
  return rows.map((query) => raw.query(query).all());
}

async function flip(path: string, offset: number): Promise<void> {
  const file = await open(path, "r+");
  const byte = new Uint8Array(1);
  await file.read(byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ (1 << below(8));
  await file.write(byte, 0, 1, offset);
  await file.close();
}

async function copyTo(from: string, to: string, names: readonly string[]): Promise<string> {
  await mkdir(to);
  for (const name of names) await copyFile(join(from, name), join(to, name));
  return to;
}

const ways = [
  { way: "in clear", key: null, rounds: 120 },
  { way: "sealed", key: dek, rounds: 60 },
] as const;

test.each(ways)(
  `a log cut or changed anywhere gives a prefix or is told: $way (SEED=${seed})`,
  async ({ key, rounds }) => {
    await withDirectory(async (root) => {
      const source = join(root, "source");
      const storage = await openWriting(source, { dek: key });
      await fill(storage);
      const all = await readAll(storage);
      // Copied while it is open and nothing writes: the log is not copied into the database yet.
      const names = ["dbx.db", "dbx.db-wal"];
      const whole = await copyTo(source, join(root, "whole"), names);
      await storage.close();
      const { size } = await stat(join(whole, "dbx.db-wal"));
      expect(await look(await copyTo(whole, join(root, "control"), names), { key, whole })).toEqual(
        all,
      );

      const outcomes = { prefix: 0, told: 0 };
      for (let round = 0; round < rounds; round++) {
        const directory = await copyTo(whole, join(root, `d${round}`), names);
        const log = join(directory, "dbx.db-wal");
        const offset = round < rounds / 3 ? below(200) : below(size);
        if (round % 2 === 0) await truncate(log, offset);
        else await flip(log, offset);

        const seen = await look(directory, { key, whole });

        if (seen === "told") outcomes.told++;
        else {
          outcomes.prefix++;
          expect(seen).toEqual(all.slice(0, seen.length));
        }
      }
      expect(outcomes.prefix + outcomes.told).toBe(rounds);
      expect(outcomes.prefix).toBeGreaterThan(0);
    });
  },
  60_000,
);

test.each(ways)(
  `a database changed anywhere is the same, or it is told: $way (SEED=${seed})`,
  async ({ key, rounds }) => {
    await withDirectory(async (root) => {
      const source = join(root, "source");
      const storage = await openWriting(source, { dek: key });
      await fill(storage);
      const all = await readAll(storage);
      const heads = await storage.readHeads({
        aggregate_type: null,
        after: null,
        skip: 0,
        limit: 100,
      });
      await storage.close();
      const { length } = await readFile(join(source, "dbx.db"));

      let told = 0;
      for (let round = 0; round < rounds; round++) {
        const directory = await copyTo(source, join(root, `d${round}`), ["dbx.db"]);
        await flip(join(directory, "dbx.db"), below(length));

        const seen = await look(directory, { key, whole: source });

        if (seen === "told") {
          told++;
          continue;
        }
        expect(seen).toEqual(all);
        const again = await openWriting(directory, { dek: key });
        expect(
          await again.readHeads({ aggregate_type: null, after: null, skip: 0, limit: 100 }),
        ).toEqual(heads);
        await again.close();
      }
      expect(told).toBeGreaterThan(rounds / 3);
    });
  },
  60_000,
);
