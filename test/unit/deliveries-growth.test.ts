// What a step costs must not grow with what waits: every query of plugins.db goes along an index.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { openSqliteDeliveries } from "../../src/storage/sqlite/deliveries.ts";
import * as sql from "../../src/storage/sqlite/sql-deliveries.ts";
import { deadOf, failureOf, pluginOf, settlementOf, waitingOf } from "../conformance/deliveries.ts";
import { withDirectory } from "../support/storage.ts";

/** What a step, a list or a removal runs; `check` and sealing look at everything, and may. */
const steps: readonly (keyof typeof sql)[] = [
  ...(["readStreamAt", "deleteDelivery", "deleteBeyond", "deleteDead", "deleteStream"] as const),
  ...(["clearFirst", "markFirst", "readFirsts", "readLane", "readNextDue", "isWaiting"] as const),
  ...(["readOutboxPage", "readOutboxOfState", "readOutboxOfEvent", "insertDelivery"] as const),
];

test("no step looks through the outbox", () => {
  using database = new Database(":memory:");
  for (const statement of sql.deliveriesFormat.migrations.flat()) database.run(statement);
  const statements = Object.entries(sql);
  for (const name of steps) {
    const text = statements.find(([other]) => other === name)?.[1];
    if (typeof text !== "string") throw new Error(`${name} is a statement`);
    const plan = database.query<{ detail: string }, []>(`EXPLAIN QUERY PLAN ${text}`).all();
    const details = plan.map(({ detail }) => `${name}: ${detail}`);
    expect(details.filter((detail) => /SCAN (?!CONSTANT)|TEMP B-TREE/.test(detail))).toEqual([]);
  }
});

test("200,000 deliveries of one aggregate and of many are stepped through as a few are", async () => {
  await withDirectory(async (directory) => {
    const deliveries = await openSqliteDeliveries({ directory, access: "write", vault: null });
    await deliveries.putPlugin(pluginOf("p"), 0);
    const rows = 200_000;
    for (let position = 1; position <= rows; position += 1_000) {
      const failed = Array.from({ length: 1_000 }, (_, index) => {
        const place = position + index;
        if (place % 2 === 0) return waitingOf("one", place);
        return place % 10 === 1 ? deadOf(`a${place}`, place) : failureOf(`a${place}`, place);
      });
      await deliveries.settle("p", settlementOf({ checkpoint: position + 999, failed }));
    }
    const measured = performance.now();
    const turns = 200;
    for (let turn = 0; turn < turns; turn++) {
      const now = "2025-01-01T12:00:00.000000Z";
      const due = await deliveries.readDue("p", { now, limit: 16, lane_limit: 4 });
      const delivered = due.map(({ position }) => position);
      expect(delivered.length).toBe(16);
      await deliveries.settle("p", settlementOf({ delivered, count: delivered.length }));
      await deliveries.nextDue("p");
    }
    const each_ms = (performance.now() - measured) / turns;
    const [entry] = await deliveries.readPlugins();
    const found = await deliveries.readOutbox({ dead: true }, { after: null, limit: 10 });
    await deliveries.close();

    console.log(`${each_ms.toFixed(2)} ms for a step of 16 among ${rows}`);
    expect(entry).toMatchObject({ pending: 180_000 - 16 * turns, dead: 20_000 });
    expect(found.map(({ position }) => position)).toEqual([1, 11, 21, 31, 41, 51, 61, 71, 81, 91]);
  });
}, 120_000);
