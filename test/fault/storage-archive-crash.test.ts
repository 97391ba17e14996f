// kill -9 while a stream moves to the archive and back and others are written: nothing is lost or
// doubled, everything reads and verifies at once, and the move that was cut short goes on.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { untilKilled, type Acknowledged } from "../support/fault-lines.ts";
import {
  append,
  change,
  context,
  event,
  openReading,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const script = join(import.meta.dir, "../support/fault-mover.ts");
const key = { aggregate_type: "fault", aggregate_id: "moved" };
const rounds = 6;
const count = 3_000;

for (const mode of ["inline", "copier", "both"]) {
  test(`kills during moves lose nothing and double nothing (${mode})`, async () => {
    await withDirectory(async (directory) => {
      const first = await openWriting(directory);
      const planContext = { ...context, snapshotThresholdOf: () => 100 };
      for (let from = 0; from < count; from += 500) {
        const events = Array.from({ length: 500 }, (_, n) =>
          event(key, {
            payload: canonicalOf({ n: from + n, filler: "x".repeat(n) }),
            note: `${n}`,
          }),
        );
        await append(first, [transaction(events)], planContext);
      }
      const written = await readAll(first);
      const snapshots = await first.readSnapshots(key, { after: 0, limit: 100 });
      await first.close();
      const acknowledged: Acknowledged[] = [];
      const interrupted = new Set<string>();
      for (let round = 0; round < rounds; round++) {
        const least = 20 + Math.floor(Math.random() * 300);
        acknowledged.push(...(await untilKilled([script, directory, mode], least)));
        interrupted.add(stateOf(directory));

        const reading = await openReading(directory);
        expect((await readAll(reading)).slice(0, count)).toEqual(written);
        expect(await reading.readSnapshots(key, { after: 0, limit: 100 })).toEqual(snapshots);
        expect(await recompute(reading)).toEqual([]);
        await reading.close();
        // Half of them turn round, and every other opening leaves it to the next process.
        if (round % 2 === 0) continue;
        const storage = await openWriting(directory);
        const archived = round % 4 === 1;
        const move = archived ? storage.archiveStream : storage.restoreStream;
        expect(await move(key, change)).toMatchObject({ archived, version: count });
        expect(await storage.figures()).toMatchObject({ moves_pending: 0 });
        const events = await readAll(storage);
        expect(events.slice(0, count)).toEqual(written);
        expect(await recompute(storage)).toEqual([]);
        const byPosition = new Map(events.map((each) => [each.position, each]));
        for (const each of acknowledged) {
          expect(byPosition.get(each.position)).toMatchObject(each);
        }
        await storage.close();
        expect(bodiesOf(directory)).toBe(archived ? events.length - count : events.length);
      }
      // Kills that never met a move would prove nothing.
      expect([...interrupted].some((state) => /archive|restore/.test(state))).toBe(true);
      console.log(`${mode}: killed at ${[...interrupted].join(", ")}`);
    });
  }, 120_000);
}

/** How far the move was: which way, and the number of versions that are in the archive. */
function stateOf(directory: string): string {
  using main = new Database(join(directory, "dbx.db"), { readonly: true });
  const row = main
    .query<{ versions: number; pending: string | null }, []>(
      "SELECT versions, pending FROM archive",
    )
    .get();
  return row === null ? "none" : `${row.pending} ${row.versions}`;
}

function bodiesOf(directory: string): number | undefined {
  expect(existsSync(join(directory, "archive.db"))).toBe(true);
  using main = new Database(join(directory, "dbx.db"), { readonly: true });
  return main.query<{ n: number }, []>("SELECT count(*) AS n FROM body").get()?.n;
}
