// Whether what two nodes have in common of an aggregate is one history, before anything is written:
// the shorter one's root must be the root that the longer one had at that version.

import type { Ask } from "../api/dbx.ts";
import { limits } from "../model/limits.ts";
import type { StreamKey } from "../model/stream.ts";
import type { Pair } from "./positions.ts";

export interface Nodes {
  readonly source: Ask;
  readonly target: Ask;
}

/** Two histories of one aggregate. */
export interface Fork extends StreamKey {
  /** The first version that differs; null where it was not looked for, because there are many. */
  readonly version: number | null;
}

/** Compares pairs as they come, many with one request; `close` compares those that wait. */
export function createComparison(nodes: Nodes) {
  let waiting: Pair[] = [];
  const forks: Fork[] = [];
  let count = 0;

  async function compare(): Promise<void> {
    const pairs = waiting;
    waiting = [];
    // The longer one is asked what it was at the length of the shorter one.
    const roots = {
      source: await rootsOf(nodes.source, pairs.filter(isSourceLonger)),
      target: await rootsOf(
        nodes.target,
        pairs.filter((pair) => !isSourceLonger(pair)),
      ),
    };
    for (const pair of pairs) {
      const shorter = isSourceLonger(pair) ? pair.target : pair.source;
      const root = (isSourceLonger(pair) ? roots.source : roots.target).shift();
      if (root === shorter?.merkle_root) continue;
      count++;
      if (forks.length >= limits.forks_listed_max) continue;
      const isFew = forks.length < limits.forks_searched_max;
      forks.push({ ...pair.key, version: isFew ? await firstDifference(nodes, pair) : null });
    }
  }

  return {
    add: async (pair: Pair): Promise<void> => {
      if (common(pair) === 0) return;
      waiting.push(pair);
      if (waiting.length === limits.position_rows_max) await compare();
    },
    close: async (): Promise<{ count: number; forks: readonly Fork[] }> => {
      if (waiting.length > 0) await compare();
      return { count, forks };
    },
  };
}

const isSourceLonger = ({ source, target }: Pair): boolean =>
  (source?.version ?? 0) >= (target?.version ?? 0);

/** How many versions both have. */
const common = ({ source, target }: Pair): number =>
  Math.min(source?.version ?? 0, target?.version ?? 0);

async function rootsOf(ask: Ask, pairs: readonly Pair[]): Promise<(string | null)[]> {
  if (pairs.length === 0) return [];
  return ask("rootsAt", { of: pairs.map((pair) => ({ ...pair.key, version: common(pair) })) });
}

/** A binary search: from the version on at which two histories part, no root is the same. */
async function firstDifference({ source, target }: Nodes, pair: Pair): Promise<number> {
  let same = 0;
  let other = common(pair);
  while (other - same > 1) {
    const version = Math.floor((same + other) / 2);
    const of = [{ ...pair.key, version }];
    const [[left], [right]] = await Promise.all([
      source("rootsAt", { of }),
      target("rootsAt", { of }),
    ]);
    if (left === right) same = version;
    else other = version;
  }
  return other;
}
