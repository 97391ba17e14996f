// kill -9 in the middle of settling: every step that was answered is there, and none is there in
// part. The kernel survives such a kill; what a power cut may take is said in plugins/DESIGN.md.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { openSqliteDeliveries } from "../../src/storage/sqlite/deliveries.ts";
import { untilKilled } from "../support/fault-lines.ts";
import { withDirectory } from "../support/storage.ts";

const script = join(import.meta.dir, "../support/fault-deliveries.ts");

test("eight kills while settling lose no step and leave no half of one", async () => {
  await withDirectory(async (directory) => {
    let reached = 0;
    for (let round = 0; round < 8; round++) {
      const least = 20 + Math.floor(Math.random() * 400);
      const steps = await untilKilled([script, directory], least);
      reached = Math.max(reached, ...steps.map(({ position }) => position));

      const deliveries = await openSqliteDeliveries({ directory, access: "write", vault: null });
      const [entry] = await deliveries.readPlugins();
      const left = await deliveries.readOutbox({}, { after: null, limit: 100 });
      const faults = await deliveries.check({ limit: 10 });
      await deliveries.close();

      expect(faults).toEqual([]);
      const end = entry?.checkpoint ?? 0;
      expect(end).toBeGreaterThanOrEqual(reached);
      // Exactly what the last step left behind: each third of its twenty.
      const wanted = Array.from({ length: 20 }, (_, index) => end - 19 + index).filter(
        (position) => position % 3 === 0,
      );
      expect(left.map(({ position }) => position)).toEqual(wanted);
      expect(entry).toMatchObject({ pending: wanted.length, sequence: end - wanted.length });
    }
    console.log(`${reached / 20} steps survived 8 kills`);
  });
}, 60_000);
