// Encrypting what is there already, exchanging keys, erasing: what is in the files afterwards, and
// that nothing is lost on the way.
import { describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import type { PlannedEvent } from "../../src/model/plan.ts";
import type { Storage } from "../../src/storage/storage.ts";
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

const dek = new Uint8Array(32).fill(1);
const other = new Uint8Array(32).fill(2);
const third = new Uint8Array(32).fill(3);

const secrets = ["secret-payload-7f3a", "secret-note-91bc", "secret-member-44d0"] as const;
/** How a compressed block begins that is not sealed. */
const zstdFrame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

const secretEvent = (index: number): PlannedEvent =>
  event(index % 2 === 0 ? jane : john, {
    payload: canonicalOf({ a: `${secrets[0]}-${index}`, [secrets[2]]: [index] }),
    note: secrets[1],
  });

const erasing = (): PlannedEvent => ({
  ...event(jane),
  event_type: "$erased",
  erasure: { reason: "asked for" },
});

const snapshotting = { ...context, snapshotThresholdOf: () => 5 };

async function fill(storage: Storage, events: number): Promise<void> {
  for (let index = 0; index < events; index++) {
    await append(storage, [transaction([secretEvent(index)])], snapshotting);
  }
}

/** Which of these bytes stand anywhere in the files of a directory. */
function foundIn(directory: string, needles: readonly (string | Uint8Array)[]): string[] {
  const files = readdirSync(directory).map((name) => [name, readFileSync(join(directory, name))]);
  return needles.flatMap((needle) =>
    files.flatMap(([name, bytes]) =>
      (bytes as Buffer).includes(needle) ? [`${String(name)}: ${String(needle)}`] : [],
    ),
  );
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const thrown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  return thrown instanceof DbxError ? thrown.code : `no refusal: ${String(thrown)}`;
};

const wrappedKeys = (directory: string): Uint8Array[] => {
  using database = new Database(join(directory, "dbx.db"), { readonly: true });
  const rows = database.query("SELECT wrapped FROM data_key").all() as { wrapped: Uint8Array }[];
  return rows.map(({ wrapped }) => wrapped);
};

describe.each([[false], ["copier"], ["both"]] as const)("threads: %p:", (threads) => {
  test("what is older than the key is sealed, archive included, and no copy in clear stays", () =>
    withDirectory(async (directory) => {
      const plain = await openWriting(directory, { threads });
      await fill(plain, 40);
      await plain.archiveStream(john, { ...change, comment: "left" });
      const before = await readAll(plain);
      await plain.close();
      expect(foundIn(directory, secrets)).not.toEqual([]);

      const storage = await openWriting(directory, { threads, dek });
      expect(storage.sealing()).toBe("partly");
      const seen: number[] = [];
      // What is appended meanwhile is sealed from the beginning.
      const [, , last] = await Promise.all([
        storage.sealOlder((position) => seen.push(position)),
        append(storage, [transaction([secretEvent(40)])]),
        append(storage, [transaction([secretEvent(42)])]),
      ]);
      expect(last.position).toBe(42);
      expect(seen.length).toBeGreaterThan(0);
      expect(storage.sealing()).toBe("all");
      expect((await readAll(storage)).slice(0, before.length)).toEqual(before);
      expect(await recompute(storage)).toEqual([]);
      expect(await storage.check({ limit: 10 })).toEqual([]);
      expect(foundIn(directory, secrets)).toEqual([]);
      await storage.close();
      expect(foundIn(directory, secrets)).toEqual([]);

      const again = await openWriting(directory, { threads, dek });
      await again.restoreStream(john, change);
      expect((await readAll(again)).slice(0, before.length)).toEqual(before);
      expect(await again.check({ limit: 10 })).toEqual([]);
      await again.close();
      expect(foundIn(directory, secrets)).toEqual([]);
    }));

  test("a move that was cut short before there was a key goes on under one", () =>
    withDirectory(async (directory) => {
      const plain = await openWriting(directory, { threads });
      for (let block = 0; block < 4; block++) {
        const events = Array.from({ length: 256 }, () => secretEvent(0));
        await append(plain, [transaction(events)]);
      }
      const before = await readAll(plain);
      const cut = codeOf(plain.archiveStream(jane, change));
      await plain.close();
      expect(await cut).toBe("unavailable");

      const storage = await openWriting(directory, { threads, dek });
      // The opening has resumed it.
      let figures = await storage.figures();
      while (figures["moves_pending"] !== 0 && !("archive_fault" in figures)) {
        await new Promise((resolve) => setImmediate(resolve));
        figures = await storage.figures();
      }
      expect(figures).toMatchObject({ moves_pending: 0 });
      await storage.sealOlder(() => undefined);
      expect(await readAll(storage)).toEqual(before);
      expect(await storage.check({ limit: 10 })).toEqual([]);
      await storage.close();
      expect(foundIn(directory, [...secrets, zstdFrame])).toEqual([]);
    }));

  test("what has left the archive before there was a key does not stay in its file", () =>
    withDirectory(async (directory) => {
      const plain = await openWriting(directory, { threads });
      const events = Array.from({ length: 400 }, (_, index) => secretEvent(index));
      await append(plain, [transaction(events)], snapshotting);
      await plain.archiveStream(john, change);
      await plain.restoreStream(john, change);
      await plain.close();
      expect(foundIn(directory, [zstdFrame])).not.toEqual([]);

      const storage = await openWriting(directory, { threads, dek });
      await storage.sealOlder(() => undefined);
      await storage.close();

      expect(foundIn(directory, [...secrets, zstdFrame])).toEqual([]);
    }));

  test("another key takes the place of the first, which opens nothing any more", () =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads, dek });
      await fill(storage, 20);
      const before = await readAll(storage);
      let begun = 0;
      const { keys } = await storage.rotateKey(other, async () => {
        begun++;
      });
      expect([begun, keys]).toEqual([1, 3]);
      await append(storage, [transaction([secretEvent(20)])]);
      await append(storage, [transaction([event({ ...jane, aggregate_id: "new" })])]);
      await storage.archiveStream(john, change);
      expect((await readAll(storage)).slice(0, before.length)).toEqual(before);
      await storage.close();

      expect(await codeOf(openWriting(directory, { dek }))).toBe("failed_precondition");
      const again = await openWriting(directory, { threads, dek: other });
      expect((await readAll(again)).slice(0, before.length)).toEqual(before);
      expect(await recompute(again)).toEqual([]);
      expect(await again.check({ limit: 10 })).toEqual([]);
      await again.rotateKey(third, async () => undefined);
      await again.close();
      expect(await codeOf(openWriting(directory, { dek: other }))).toBe("failed_precondition");
      await (await openWriting(directory, { dek: third })).close();
    }));

  test("a rotation that is cut short opens with either key and goes on with the new one", () =>
    withDirectory(async (directory) => {
      for (const key of [dek, other]) {
        const place = join(directory, key === dek ? "old" : "new");
        const storage = await openWriting(place, { threads, dek });
        await fill(storage, 10);
        const cut = storage.rotateKey(other, async () => {
          throw new Error("the configuration cannot be written");
        });
        expect(String(await cut.catch((error: unknown) => error))).toContain("configuration");
        await append(storage, [transaction([event({ ...jane, aggregate_id: "between" })])]);
        await storage.close();
        const again = await openWriting(place, { threads, dek: key });
        await again.rotateKey(other, async () => undefined);
        expect(await recompute(again)).toEqual([]);
        await again.close();
        expect(await codeOf(openWriting(place, { dek }))).toBe("failed_precondition");
        await (await openWriting(place, { dek: other })).close();
      }
    }));

  test("a rotation whose key is lost is ended before the next, and its key kept in between", () =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads, dek });
      await fill(storage, 10);
      const before = await readAll(storage);
      await codeOf(storage.rotateKey(other, () => Promise.reject(new Error("killed"))));
      await storage.close();

      const again = await openWriting(directory, { threads, dek });
      const kept: Uint8Array[] = [];
      await again.rotateKey(third, async (key) => {
        // Whatever happens next, this is a key that opens the store.
        await (await openReading(directory, { dek: key })).close();
        kept.push(key);
      });
      expect(kept.map((key) => key.toHex())).toEqual([other.toHex(), third.toHex()]);
      await append(again, [transaction([secretEvent(10)])]);
      expect((await readAll(again)).slice(0, before.length)).toEqual(before);
      await again.close();
      for (const key of [dek, other]) {
        expect(await codeOf(openWriting(directory, { dek: key }))).toBe("failed_precondition");
      }
      const last = await openWriting(directory, { threads, dek: third });
      expect(await recompute(last)).toEqual([]);
      await last.close();
    }));

  test("erasing leaves neither the key nor anything that it opened, and everything verifies", () =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads, dek });
      await fill(storage, 20);
      await storage.archiveStream(jane, change);
      const keys = wrappedKeys(directory);
      await append(storage, [transaction([erasing()])]);
      await storage.forgetErased(jane);
      const now = wrappedKeys(directory).map((key) => key.toHex());
      const gone = keys.filter((key) => !now.includes(key.toHex()));
      expect(gone).toHaveLength(1);
      expect(foundIn(directory, gone)).toEqual([]);

      const events = await storage.readStream(jane, { after: 0, limit: 100 });
      expect(events.filter(({ erased }) => erased === true)).toHaveLength(10);
      expect(await storage.readSnapshots(jane, { after: 0, limit: 100 })).toEqual([]);
      expect(await storage.check({ limit: 10 })).toEqual([]);
      await storage.restoreStream(jane, change);
      await append(storage, [transaction([secretEvent(0)])]);
      expect((await storage.readHead(jane))?.version).toBe(12);
      expect(await storage.check({ limit: 10 })).toEqual([]);
      await storage.close();
      const again = await openWriting(directory, { threads, dek });
      expect((await readAll(again)).map(({ erased }) => erased ?? false)).toEqual(
        (await readAll(again)).map(
          ({ aggregate_id, version }) => aggregate_id === jane.aggregate_id && version <= 10,
        ),
      );
      expect(await again.check({ limit: 10 })).toEqual([]);
      await again.close();
    }));
});
