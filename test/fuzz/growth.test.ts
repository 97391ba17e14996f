// The fuzzer itself: what it must notice is planted into a server of its own, never into dbx.

import { expect, test } from "bun:test";
import { filter } from "./filter.ts";
import { growthFaults, heapBound, type Sample } from "./growth.ts";
import { fuzz, grownFaults, sample } from "./run.ts";
import { startFuzzServer } from "./server.ts";

/** A busy machine needs a second. */
const test_ms_max = 60_000;

const mib = 2 ** 20;
const run = (bytesAt: (cases: number) => number): Sample[] =>
  Array.from({ length: 8 }, (_, turn) => turn * 1_000).map((cases) => ({
    cases,
    bytes: bytesAt(cases),
  }));

test.each([
  ["stands still", () => 80 * mib, false],
  ["goes up and down", (cases: number) => (80 + (cases % 2_000) / 300) * mib, false],
  ["fills a cache of its own at first", (cases: number) => (cases > 0 ? 88 : 80) * mib, false],
  ["keeps 256 bytes of each case", (cases: number) => 80 * mib + 256 * cases, false],
  ["keeps 2 KiB of each case", (cases: number) => 80 * mib + 2_048 * cases, true],
  [
    "keeps 2 KiB of each case, and goes up and down",
    (cases: number) => (80 + (cases % 2_000) / 500) * mib + 2_048 * cases,
    true,
  ],
])("memory that %s", (_, bytesAt, found) => {
  expect(growthFaults("it", run(bytesAt), heapBound)).toHaveLength(found ? 1 : 0);
});

test(
  "a server that keeps 4 KiB of each request is found out within 3,000 cases",
  async () => {
    await using server = await startFuzzServer({
      place: "shared",
      sealed: false,
      leak_bytes: 4_096,
    });
    for (let turn = 0; turn < 5; turn++) {
      const { faults } = await fuzz(server, filter, {
        seed: turn * 1_000,
        ms: 0,
        cases_min: 600,
      });
      expect(faults).toEqual([]);
      await sample(server);
    }
    expect(grownFaults(server, heapBound)).toEqual([
      expect.stringMatching(/^the heap grows by [45]\d\d\d bytes/),
    ]);
  },
  test_ms_max,
);
