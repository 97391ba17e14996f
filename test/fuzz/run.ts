// One run: cases of a target, some at a time, until its time is over or something is wrong. Case n
// of a seed is case 0 of the seed n further on, so the seed that a failure names begins with it.

import { createDice } from "./dice.ts";
import { growthFaults, type RunBounds } from "./growth.ts";
import type { FuzzServer } from "./server.ts";
import { counted, emptyTally, type Tally } from "./tally.ts";
import { case_ms_max, type Target, type Tried } from "./target.ts";

export interface Outcome {
  readonly cases: number;
  /** What was said to the token that may see everything, and to the one with a scope. */
  readonly tally: Tally;
  readonly narrow: Tally;
  readonly faults: readonly string[];
}

/** At the same time, so that cases meet; each finds its own place in one batch. */
const batch_cases = 16;
/** The part of the cases that come with the token that has a scope. */
const narrow_part = 0.3;

export async function fuzz(
  server: FuzzServer,
  target: Target,
  { seed, ms, cases_min = 0 }: { seed: number; ms: number; cases_min?: number },
): Promise<Outcome> {
  const end = performance.now() + ms;
  let [tally, narrow] = [emptyTally, emptyTally];
  for (let cases = batch_cases; ; cases += batch_cases) {
    const first = seed + cases - batch_cases;
    const seeds = Array.from({ length: batch_cases }, (_, index) => first + index);
    const tried = await Promise.all(seeds.map((one) => attempted(server, target, one)));
    tally = counted(
      tally,
      tried.flatMap(({ said, narrowed }) => (narrowed ? [] : said)),
    );
    narrow = counted(
      narrow,
      tried.flatMap(({ said, narrowed }) => (narrowed ? said : [])),
    );
    const unwell = (await server.faults()).map(
      (fault) => `${fault}\n  SEED between ${first} and ${first + batch_cases - 1}`,
    );
    const found = [...tried.flatMap(({ faults }) => faults), ...unwell];
    const faults = found.map((fault) => `${target.name}: ${fault}`);
    server.history.cases += batch_cases;
    const over = performance.now() > end && cases >= cases_min;
    if (faults.length > 0 || over) return { cases, tally, narrow, faults };
  }
}

/** A case that throws, or does not end, is a fault like any other. */
async function attempted(
  server: FuzzServer,
  target: Target,
  seed: number,
): Promise<Tried & { narrowed: boolean }> {
  const dice = createDice(seed);
  const narrowed = dice.chance(narrow_part);
  const wrong = (fault: string): Tried => ({ said: [], faults: [fault] });
  const late = Promise.withResolvers<Tried>();
  const deadline = setTimeout(() => late.resolve(wrong("hangs")), 2 * case_ms_max);
  const tried = target
    .attempt(narrowed ? server.narrow : server, dice)
    .catch((thrown) =>
      wrong(
        `the case threw ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : thrown}`,
      ),
    );
  const { said, faults } = await Promise.race([tried, late.promise]);
  clearTimeout(deadline);
  return { said, narrowed, faults: faults.map((fault) => `${fault}\n  SEED=${seed}`) };
}

/** Notes what memory the server has now. The first time is after the warm-up. */
export async function sample({ memory, history }: FuzzServer): Promise<void> {
  const { heap, resident } = await memory();
  const { cases } = history;
  history.heap.push({ cases, bytes: heap });
  history.resident.push({ cases, bytes: resident });
}

/** What is wrong with the memory of the server over the samples so far. */
export const grownFaults = ({ history }: FuzzServer, bounds: RunBounds): string[] => [
  ...growthFaults("the heap", history.heap, bounds.heap),
  ...growthFaults("the process", history.resident, bounds.resident),
];

/** Everything that must hold when all cases are over. */
export async function endFaults(server: FuzzServer, bounds: RunBounds): Promise<string[]> {
  const settled = await server.settled();
  await sample(server);
  return [
    ...settled,
    ...grownFaults(server, bounds),
    ...(await server.verified()),
    ...server.exposed(),
    ...(await server.faults()),
  ];
}
