// Heads kept in memory: those a running commit has changed but not yet made durable, and, below
// them, the least recently used of the durable ones, bounded in number and in size.

import type { StreamHead } from "../../model/aggregate.ts";

export interface StoredHead {
  readonly stream_id: number;
  readonly head: StreamHead;
  /** Positions of its events since the last full run; see positions.ts. */
  readonly positions: Uint8Array;
}

/** States can be as large as payloads, so the number of heads alone bounds nothing. */
const headCharsMax = 128 * 1024 * 1024;
/** What a head takes beside its texts and nodes: objects, map entries. */
const headCharsBase = 512;

export interface Heads {
  /** As the latest commit left it, durable or not. */
  latest(key: string): StoredHead | undefined;
  /** Puts a durable head that was read. */
  remember(key: string, stored: StoredHead): void;
  /** Puts a head that a running commit changed; it stays until `settle`. */
  change(key: string, stored: StoredHead): void;
  /** The commit that changed it is durable. */
  settle(key: string, stored: StoredHead): void;
  readonly count: () => number;
}

export function createHeads({ heads_max }: { heads_max: number }): Heads {
  const running = new Map<string, StoredHead>();
  const durable = new Map<string, StoredHead>();
  let chars = 0;

  const forget = (key: string): void => {
    const old = durable.get(key);
    if (old === undefined) return;
    durable.delete(key);
    chars -= sizeOf(old);
  };
  const remember = (key: string, stored: StoredHead): void => {
    forget(key);
    durable.set(key, stored);
    chars += sizeOf(stored);
    for (const eldest of durable.keys()) {
      if (durable.size <= heads_max && chars <= headCharsMax) break;
      forget(eldest);
    }
  };
  return {
    latest: (key) => {
      const changed = running.get(key);
      if (changed !== undefined) return changed;
      const stored = durable.get(key);
      if (stored === undefined) return undefined;
      // A map iterates in the order of insertion, so this makes it the most recently used.
      durable.delete(key);
      durable.set(key, stored);
      return stored;
    },
    remember,
    change: (key, stored) => running.set(key, stored),
    settle: (key, stored) => {
      // A later commit may have changed it again; that one settles it.
      if (running.get(key) === stored) running.delete(key);
      remember(key, stored);
    },
    count: () => running.size + durable.size,
  };
}

const sizeOf = ({ head, positions }: StoredHead): number =>
  headCharsBase + head.state.length + head.frontier.nodes.length + positions.length;
