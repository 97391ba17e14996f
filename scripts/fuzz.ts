/**
 * What `scripts/fuzz` runs: the targets of test/fuzz in turn, a few seconds each, until the time is
 * over. Exits with 1 and the seeds of what failed at the end of the first round that found
 * something.
 */
import { parseArgs } from "node:util";
import { endFaults, fuzz } from "../test/fuzz/run.ts";
import { startFuzzServer } from "../test/fuzz/server.ts";
import { targets } from "../test/fuzz/targets.ts";

/** How long a target has its turn, so that targets meet in what they leave behind. */
const turn_ms = 5_000;
/** Seeds of two turns must not be the same cases. */
const turn_seeds = 1_000_000;

const usage = `usage: scripts/fuzz [--seconds 60] [--seed <number>] [--target <name>]
targets: ${targets.map(({ name }) => name).join(" ")}`;

function options(): { seconds: number; seed: number; chosen: typeof targets } {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { seconds: text, seed: text, target: text } });
  const seconds = Number(values.seconds ?? 60);
  const now = Math.floor(performance.timeOrigin + performance.now());
  const seed = Number(values.seed ?? now);
  const { target } = values;
  const chosen = targets.filter(({ name }) => target === undefined || name === target);
  if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds} is no time`);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed ${values.seed} is no whole number`);
  if (chosen.length === 0) throw new Error(`there is no target ${target}`);
  return { seconds, seed, chosen };
}

async function main(): Promise<number> {
  const { seconds, seed, chosen } = options();
  console.log(`seed ${seed}`);
  await using server = await startFuzzServer();
  const end = performance.now() + seconds * 1_000;
  const faults: string[] = [];
  let warm = 0;
  for (let turn = 0; faults.length === 0 && performance.now() < end; turn++) {
    for (const target of chosen) {
      const left = Math.max(0, end - performance.now());
      const ms = Math.min(turn_ms, left, (seconds * 1_000) / chosen.length);
      const outcome = await fuzz(server, target, { seed: seed + turn * turn_seeds, ms });
      faults.push(...outcome.faults);
      const mib = Math.round(server.memory() / 2 ** 20);
      console.log(`${target.name}: ${outcome.cases} cases, the server has ${mib} MiB`);
    }
    // The first turn is the warm-up.
    if (turn === 0) warm = server.memory();
  }
  faults.push(...(await endFaults(server, warm)));
  for (const fault of faults) console.error(`error: ${fault}`);
  return faults.length === 0 ? 0 : 1;
}

if (process.argv.includes("--help")) {
  console.log(usage);
} else {
  process.exitCode = await main().catch((thrown) => {
    console.error(`error: ${thrown instanceof Error ? thrown.message : thrown}\n${usage}`);
    return 2;
  });
}
