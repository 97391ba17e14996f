// Heads in memory while changes of one stream overlap: what is removed and made anew faster than it
// becomes durable.

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { newHead } from "../../src/model/plan.ts";
import { createHeads } from "../../src/storage/sqlite/heads.ts";
import {
  append,
  change,
  event,
  jane,
  openWriting,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

test.each([false, "both"] as const)(
  "a stream is removed, made and removed at once, and goes on (threads: %p)",
  (threads) =>
    withDirectory(async (directory) => {
      const storage = await openWriting(directory, { threads });
      for (let round = 0; round < 20; round++) {
        await storage.createStream(jane, change);
        const answers = [
          storage.removeStream(jane, change),
          storage.createStream(jane, change),
          storage.removeStream(jane, change),
        ] as const;
        await answers[0];
        await answers[1];
        // Planned while the second removal may still run.
        const again = storage.createStream(jane, change);
        expect(await Promise.all(answers)).toEqual(["removed", true, "removed"]);
        expect(await again).toBe(true);
        expect(await storage.removeStream(jane, change)).toBe("removed");
        expect(await storage.removeStream(jane, change)).toBe("not_found");
      }
      await append(storage, [transaction([event(jane)])]);
      expect(await storage.readHead(jane)).toMatchObject({ version: 1 });
      expect(await recompute(storage)).toEqual([]);
      await storage.close();
    }),
);

const acts = fc.array(
  fc.record({
    act: fc.constantFrom("create", "remove", "remove", "snapshot", "wait"),
    id: fc.constantFrom("a", "b"),
  }),
  { minLength: 1, maxLength: 60 },
);

test(`whatever overlaps, each answer is that of the calls before it (SEED=${seed})`, () =>
  fc.assert(
    fc.asyncProperty(acts, (calls) =>
      withDirectory(async (directory) => {
        const storage = await openWriting(directory, { threads: "both", durability: "normal" });
        const there = new Set<string>();
        const told: Promise<unknown>[] = [];
        const expected: unknown[] = [];
        for (const { act, id } of calls) {
          const key = { aggregate_type: "patient", aggregate_id: id };
          if (act === "create") {
            told.push(storage.createStream(key, change));
            expected.push(!there.has(id));
            there.add(id);
          } else if (act === "remove") {
            told.push(storage.removeStream(key, change));
            expected.push(there.delete(id) ? "removed" : "not_found");
          } else if (act === "snapshot") {
            told.push(storage.keepSnapshot(key, change));
            expected.push(there.has(id) ? "no_events" : undefined);
          } else {
            // Some of what runs becomes durable, the rest not yet.
            await told[Math.floor(told.length * 0.8)];
          }
        }
        expect(await Promise.all(told)).toEqual(expected);
        const log = await storage.readLogHead();
        expect(log.streams).toBe(there.size);
        expect(await recompute(storage)).toEqual([]);
        await storage.close();
      }),
    ),
    { seed, numRuns: 25 },
  ));

test("a head keeps nothing of the texts that its names were cut from", () => {
  const heads = createHeads({ heads_max: 1_000 });
  const held = (): number => {
    Bun.gc(true);
    return heapStats().extraMemorySize;
  };
  const before = held();
  for (let index = 0; index < 200; index++) {
    // Like a page of events, of which the names are parts.
    const page = Buffer.alloc(500_000, String(index).padStart(40, "0")).toString();
    const [aggregate_type, aggregate_id] = [page.slice(0, 20), page.slice(20, 50)];
    const head = { ...newHead({ aggregate_type, aggregate_id }), updated_at: page.slice(3, 33) };
    const stored = { key: `n/${index}`, stream_id: index, head, positions: new Uint8Array(0) };
    heads.change(stored);
    heads.settle(stored);
  }
  expect(heads.count()).toBe(200);
  expect(heads.latest("n/199")?.head.aggregate_id).toBe(`${"0".repeat(17)}199${"0".repeat(10)}`);
  expect(held() - before).toBeLessThan(20_000_000);
});
