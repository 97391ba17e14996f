// A second or two of every fuzzing target against servers in processes of their own, encrypted for
// every other seed. The seed is in the names; SEED=… begins with that case. scripts/fuzz is the same
// for as long as one likes.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { shortRun } from "./growth.ts";
import { endFaults, fuzz, sample } from "./run.ts";
import { startFuzzServers, type FuzzServers } from "./servers.ts";
import { tallyText } from "./tally.ts";
import { targets } from "./targets.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));
const sealed = seed % 2 === 1;
const each_ms = 1_200;
/**
 * So many that chance leaves no target without an answer or a refusal for either token: in the 48
 * cases of the one with a scope, one in three at least has each.
 */
const cases_min = 160;
/** A case that hangs must be reported as one, not as a test that took too long. */
const test_ms_max = 90_000;

let servers: FuzzServers;
beforeAll(async () => {
  servers = await startFuzzServers(targets, { sealed });
  for (const target of targets)
    await fuzz(servers.of(target), target, { seed, ms: 0, cases_min: 96 });
  for (const server of servers.all) await sample(server);
}, test_ms_max);
afterAll(() => servers[Symbol.asyncDispose](), test_ms_max);

test.each(targets.map((target) => [target.name, target] as const))(
  `%s: some cases are answered and some refused, and the server is well (SEED=${seed})`,
  async (_, target) => {
    const run = { seed, ms: each_ms, cases_min };
    const { tally, narrow, faults } = await fuzz(servers.of(target), target, run);
    console.log(`${target.name}: ${tallyText(tally)}; with a scope: ${tallyText(narrow)}`);
    expect(faults).toEqual([]);
    for (const { answered, refused } of [tally, narrow]) {
      expect(answered).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(0);
    }
  },
  test_ms_max,
);

test(
  `afterwards nothing is held, memory has not grown and the log is whole (SEED=${seed})`,
  async () => {
    for (const server of servers.all) expect(await endFaults(server, shortRun)).toEqual([]);
  },
  test_ms_max,
);
