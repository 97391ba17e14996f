// A few seconds of every fuzzing target against one server in a process of its own. The seed is in
// the names; SEED=… begins with that case. scripts/fuzz is the same for as long as one likes.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { endFaults, fuzz } from "./run.ts";
import { startFuzzServer, type FuzzServer } from "./server.ts";
import { targets } from "./targets.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(performance.timeOrigin + performance.now()));
const each_ms = 2_000;
/** A case that hangs must be reported as one, not as a test that took too long. */
const test_ms_max = 90_000;

let server: FuzzServer;
let warm = 0;
beforeAll(async () => {
  server = await startFuzzServer();
  for (const target of targets) await fuzz(server, target, { seed, ms: 300 });
  warm = server.memory();
}, test_ms_max);
afterAll(() => server[Symbol.asyncDispose](), test_ms_max);

test.each(targets.map((target) => [target.name, target] as const))(
  `%s: every case is answered or refused, and the server is well (SEED=${seed})`,
  async (_, target) => {
    const { cases, faults } = await fuzz(server, target, { seed, ms: each_ms });
    expect(faults).toEqual([]);
    expect(cases).toBeGreaterThan(0);
  },
  test_ms_max,
);

test(
  `afterwards nothing is held, memory has not grown and the log is whole (SEED=${seed})`,
  async () => {
    expect(await endFaults(server, warm)).toEqual([]);
  },
  test_ms_max,
);
