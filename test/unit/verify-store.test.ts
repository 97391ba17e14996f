// Verifying the whole store: what others do meanwhile is no fault, and what cannot be read hides
// nothing else.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { verifyStore } from "../../src/engine/verify.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import {
  append,
  change,
  event,
  openReading,
  openWriting,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const nothingBeside = { beside: async () => [] };

const keyOf = (aggregate_id: string) => ({ aggregate_type: "patient", aggregate_id });

test("aggregates that come and go meanwhile are no fault", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory, { threads: "both", durability: "normal" });
    for (const id of ["a", "b", "c"]) {
      const events = Array.from({ length: 300 }, () => event(keyOf(id)));
      await append(storage, [transaction(events)]);
    }
    await storage.createStream(keyOf("x0"), change);
    let ended = false;
    const churning = (async () => {
      for (let n = 0; !ended; n++) {
        await storage.createStream(keyOf(`x${n + 1}`), change);
        await storage.removeStream(keyOf(`x${n}`), change);
      }
    })();
    for (let n = 0; n < 8; n++)
      expect((await verifyStore(storage, nothingBeside)).faults).toEqual([]);
    ended = true;
    await churning;
    await storage.close();
  }));

test("others run while the events of a large state are folded", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    const large = canonicalOf({ text: "x".repeat(limits.scan_chars_max / 4) });
    const events = [event(keyOf("a"), { payload: large })];
    for (let n = 0; n < 200; n++) events.push(event(keyOf("a"), { payload: canonicalOf({ n }) }));
    await append(storage, [transaction(events)]);
    let turns = 0;
    let verifying = true;
    const count = () => {
      turns++;
      if (verifying) setImmediate(count);
    };
    setImmediate(count);
    expect((await verifyStore(storage, nothingBeside)).faults).toEqual([]);
    verifying = false;
    expect(turns).toBeGreaterThanOrEqual(50);
    await storage.close();
  }));

test("each aggregate that cannot be read is a fault, and the others are looked at", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory);
    for (const id of ["a", "b", "c", "d", "e"]) {
      await append(storage, [transaction([event(keyOf(id)), event(keyOf(id))])]);
    }
    await storage.close();
    using raw = new Database(join(directory, "dbx.db"));
    const triggers = raw
      .query<{ name: string; sql: string }, []>(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
      )
      .all();
    for (const { name } of triggers) raw.run(`DROP TRIGGER ${name}`);
    raw.run("UPDATE stream SET positions = zeroblob(16) WHERE aggregate_id IN ('a', 'c')");
    raw.run("UPDATE stream SET frontier = x'00' WHERE aggregate_id = 'b'");
    raw.run("UPDATE stream SET state = '{}' WHERE aggregate_id = 'e'");
    for (const { sql } of triggers) raw.run(sql);
    const reading = await openReading(directory);

    const { faults, aggregates } = await verifyStore(reading, nothingBeside);

    const told = (id: string) =>
      faults.filter(({ aggregate_id }) => aggregate_id === id).map(({ fault }) => fault);
    expect(aggregates).toBe(5);
    for (const id of ["a", "c"]) expect(told(id)[0]).toContain("is not where its stream says");
    expect(told("b")).toEqual(["the head of patient/b is malformed"]);
    expect(told("d")).toEqual([]);
    expect(told("e")).toEqual(["the state does not follow from the events"]);
    await reading.close();
  }));
