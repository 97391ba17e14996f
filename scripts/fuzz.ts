/**
 * What `scripts/fuzz` runs: the targets of test/fuzz in turn, a few seconds each, until the time is
 * over. Encrypted for every other seed. Exits with 1 and the seeds of what failed at the end of the
 * first round that found something.
 */
import { parseArgs } from "node:util";
import { longRun, shortRun } from "../test/fuzz/growth.ts";
import { endFaults, fuzz, grownFaults, sample } from "../test/fuzz/run.ts";
import { startFuzzServers } from "../test/fuzz/servers.ts";
import { tallyText } from "../test/fuzz/tally.ts";
import { targets } from "../test/fuzz/targets.ts";

/** How long a target has its turn, so that targets meet in what they leave behind. */
const turn_ms = 5_000;
/** Seeds of two turns must not be the same cases. */
const turn_seeds = 1_000_000;

/** Samples of memory before growth is judged during a run. */
const samples_min = 6;

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
  const sealed = seed % 2 === 1;
  console.log(`seed ${seed}, ${sealed ? "encrypted" : "not encrypted"}`);
  await using servers = await startFuzzServers(chosen, { sealed });
  const end = performance.now() + seconds * 1_000;
  const faults: string[] = [];
  for (let turn = 0; faults.length === 0 && performance.now() < end; turn++) {
    for (const target of chosen) {
      const left = Math.max(0, end - performance.now());
      const ms = Math.min(turn_ms, left, (seconds * 1_000) / chosen.length);
      const server = servers.of(target);
      const outcome = await fuzz(server, target, { seed: seed + turn * turn_seeds, ms });
      faults.push(...outcome.faults);
      console.log(`${target.name}: ${outcome.cases} cases, ${tallyText(outcome.tally)}`);
      console.log(`  with a scope: ${tallyText(outcome.narrow)}`);
    }
    // The first turn is the warm-up: its end is the first sample.
    for (const server of servers.all) {
      await sample(server);
      const { history } = server;
      const [heap, resident] = [history.heap, history.resident].map((samples) =>
        Math.round((samples.at(-1)?.bytes ?? 0) / 2 ** 20),
      );
      console.log(`${history.cases} cases: ${heap} MiB of heap, ${resident} MiB in all`);
      if (history.heap.length >= samples_min) faults.push(...grownFaults(server, longRun));
    }
  }
  // Few samples are a crooked line.
  const long = servers.all.every(({ history }) => history.heap.length >= samples_min);
  const bounds = long ? longRun : shortRun;
  for (const server of servers.all) faults.push(...(await endFaults(server, bounds)));
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
