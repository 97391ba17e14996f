// Figures out of rounds: medians, and the median of what each round says of one beside another.

import type { Figure } from "./report.ts";
import { median } from "./subject.ts";

/** One value per round of each; the aim is judged by the ratio, or by the median itself. */
export function beside(parts: {
  topic: string;
  name: string;
  unit: string;
  /** What `others` are. */
  baseline: string;
  ones: readonly number[];
  others: readonly number[];
  aim?: { readonly text: string; readonly meets: (ratio: number) => boolean };
}): Figure {
  const { topic, name, unit, ones, others, aim } = parts;
  const ratio = median(ones.map((one, round) => one / (others[round] ?? NaN)));
  return {
    ...{ topic, name, unit, value: median(ones), raw: ones, ratio },
    baseline: { name: parts.baseline, value: median(others), raw: others },
    aim: aim === undefined ? null : { text: aim.text, met: aim.meets(ratio) },
  };
}

/** Nothing compares. */
export function alone(parts: {
  topic: string;
  name: string;
  unit: string;
  raw: readonly number[];
}): Figure {
  return { ...parts, value: median(parts.raw), baseline: null, ratio: null, aim: null };
}

/** Turns the order round in every other round, so that none is always the first. */
export async function inTurn<One, Other>(
  round: number,
  one: () => Promise<One>,
  other: () => Promise<Other>,
): Promise<[One, Other]> {
  if (round % 2 === 0) return [await one(), await other()];
  const second = await other();
  return [await one(), second];
}
