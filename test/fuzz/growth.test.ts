// The fuzzer itself: what it must notice is planted into a server of its own, never into dbx.

import { expect, test } from "bun:test";
import { judge } from "./answer.ts";
import { growthFaults, longRun, type Sample } from "./growth.ts";
import { fuzz, grownFaults, sample } from "./run.ts";
import { startFuzzServer } from "./server.ts";
import { exchange, requestBytes, type Target } from "./target.ts";

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
  ["fills a cache for a while", (cases: number) => (80 + Math.min(12, cases / 250)) * mib, false],
  ["keeps 256 bytes of each case", (cases: number) => 80 * mib + 256 * cases, false],
  ["keeps 2 KiB of each case", (cases: number) => 80 * mib + 2_048 * cases, true],
  [
    "keeps 2 KiB of each case, and goes up and down",
    (cases: number) => (80 + (cases % 2_000) / 500) * mib + 2_048 * cases,
    true,
  ],
])("memory that %s", (_, bytesAt, found) => {
  expect(growthFaults("it", run(bytesAt), longRun.heap)).toHaveLength(found ? 1 : 0);
});

/** The least that a case can be, because thousands have to be had in seconds. */
const asker: Target = {
  name: "asker",
  place: "shared",
  async attempt(goal) {
    const fields = [`Authorization: Bearer ${goal.token}`];
    const body = Buffer.alloc(0);
    const bytes = requestBytes({ method: "GET", path: "/v1/aggregates?take=0", body }, fields);
    return judge(goal, await exchange(goal, [bytes]));
  },
};

test(
  "a server that keeps 8 KiB of each request is found out within 2,500 cases",
  async () => {
    const planted = { place: "shared", sealed: false, leak_bytes: 8_192 } as const;
    await using server = await startFuzzServer(planted);
    for (let turn = 0; turn < 5; turn++) {
      const { faults } = await fuzz(server, asker, { seed: 0, ms: 0, cases_min: 500 });
      expect(faults).toEqual([]);
      await sample(server);
    }
    expect(grownFaults(server, longRun)).toEqual([
      expect.stringMatching(/^the heap grows by \d{4,5} bytes a case/),
    ]);
  },
  test_ms_max,
);
