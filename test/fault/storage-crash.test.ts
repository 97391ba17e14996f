// kill -9 under 32 concurrent writers: what was acknowledged is there, in order, and verifies. The
// kernel survives such a kill, so this proves order and atomicity; storage-syscall.test.ts proves
// the fsync.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { isLocked } from "../../src/storage/sqlite/lock.ts";
import { untilKilled, type Acknowledged } from "../support/fault-lines.ts";
import { dek } from "../support/sealing.ts";
import { openReading, openWriting, readAll, recompute, withDirectory } from "../support/storage.ts";

const script = join(import.meta.dir, "../support/fault-writer.ts");

for (const [mode, way, rounds] of [
  ["inline", "plain", 5],
  ["copier", "plain", 5],
  ["both", "plain", 5],
  ["inline", "sealed", 2],
  ["both", "sealed", 2],
] as const) {
  const name = `${rounds} kills under 32 writers lose nothing that was acknowledged`;
  const key = way === "sealed" ? dek : null;
  test(`${name} (${mode}, ${way})`, async () => {
    await withDirectory(async (directory) => {
      const acknowledged: Acknowledged[] = [];
      for (let round = 0; round < rounds; round++) {
        const least = 100 + Math.floor(Math.random() * 1_000);
        acknowledged.push(...(await untilKilled([script, directory, mode, way], least)));

        expect(isLocked(directory)).toBe(false);
        // Reading needs no lock, and recovers the log on its own.
        const reading = await openReading(directory, { dek: key });
        const seen = await readAll(reading);
        await reading.close();
        const storage = await openWriting(directory, { dek: key });
        const events = await readAll(storage);
        const faults = await recompute(storage);
        await storage.close();

        expect(seen).toEqual(events);
        expect(faults).toEqual([]);
        const byPosition = new Map(events.map((event) => [event.position, event]));
        for (const each of acknowledged) {
          expect(byPosition.get(each.position)).toMatchObject(each);
        }
        expect(events.length).toBeGreaterThanOrEqual(acknowledged.length);
      }
      expect(acknowledged.length).toBeGreaterThan(rounds * 100);
      console.log(
        `${mode}, ${way}: ${acknowledged.length} acknowledged events survived ${rounds} kills`,
      );
    });
  }, 60_000);
}
