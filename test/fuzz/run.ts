// One run: cases of a target, some at a time, until its time is over or something is wrong. Case n
// of a seed is case 0 of the seed n further on, so the seed that a failure names begins with it.

import { createDice } from "./dice.ts";
import type { FuzzServer } from "./server.ts";
import { case_ms_max, type Target } from "./target.ts";

export interface Outcome {
  readonly cases: number;
  readonly faults: readonly string[];
}

/** At the same time, so that cases meet; each finds its own place in one batch. */
const batch_cases = 16;

export async function fuzz(
  server: FuzzServer,
  target: Target,
  { seed, ms }: { seed: number; ms: number },
): Promise<Outcome> {
  const end = performance.now() + ms;
  for (let cases = 0; ; cases += batch_cases) {
    const seeds = Array.from({ length: batch_cases }, (_, index) => seed + cases + index);
    const found = await Promise.all(seeds.map((one) => attempted(server, target, one)));
    const known = await server.faults();
    const [first = seed, last = seed] = [seeds[0], seeds.at(-1)];
    const unwell = known.map((fault) => `${fault}\n  SEED between ${first} and ${last}`);
    const faults = [...found.flat(), ...unwell].map((fault) => `${target.name}: ${fault}`);
    if (faults.length > 0 || performance.now() > end) return { cases: cases + batch_cases, faults };
  }
}

/** A case that throws, or does not end, is a fault like any other. */
async function attempted(server: FuzzServer, target: Target, seed: number): Promise<string[]> {
  const late = Promise.withResolvers<string[]>();
  const deadline = setTimeout(() => late.resolve(["hangs"]), 2 * case_ms_max);
  const tried = target
    .attempt(server, createDice(seed))
    .catch((thrown) => [
      `the case threw ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : thrown}`,
    ]);
  const faults = await Promise.race([tried, late.promise]);
  clearTimeout(deadline);
  return faults.map((fault) => `${fault}\n  SEED=${seed}`);
}

/**
 * Resident memory may grow by this after a warm-up in which every target has run. Most of it is
 * what
 * dbx may keep by its own bounds, of which the log's tail is the largest (16 Mi characters, 32
 * MiB),
 * then the heads that it remembers and SQLite's pages; the rest is what JavaScriptCore lets lie
 * between two collections. A leak of what a case sends passes it within a run of minutes.
 */
export const growth_bytes_max = 192 * 2 ** 20;

/** Everything that must hold when all cases are over. */
export async function endFaults(server: FuzzServer, warm: number): Promise<string[]> {
  const settled = await server.settled();
  const grown = server.memory() - warm;
  return [
    ...settled,
    ...(grown > growth_bytes_max ? [`memory has grown by ${grown} bytes`] : []),
    ...(await server.verified()),
    ...(await server.faults()),
  ];
}
