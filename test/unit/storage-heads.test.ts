// Heads in memory while changes of one stream overlap: what is removed and made anew faster than it
// becomes durable.

import { expect, test } from "bun:test";
import fc from "fast-check";
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
