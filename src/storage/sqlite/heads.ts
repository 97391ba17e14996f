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

/** A durable head between the one used before it and the one used after it. */
interface Link {
  readonly key: string;
  stored: StoredHead;
  older: Link | null;
  newer: Link | null;
}

export function createHeads({ heads_max }: { heads_max: number }): Heads {
  const running = new Map<string, StoredHead>();
  // Links instead of the map's own order: a map that is reordered at every use is full of deleted
  // entries, and looking for its first one passes over all of them.
  const durable = new Map<string, Link>();
  let oldest: Link | null = null;
  let newest: Link | null = null;
  let chars = 0;

  const unlink = (link: Link): void => {
    if (link.older === null) oldest = link.newer;
    else link.older.newer = link.newer;
    if (link.newer === null) newest = link.older;
    else link.newer.older = link.older;
  };
  const append = (link: Link): void => {
    link.older = newest;
    link.newer = null;
    if (newest === null) oldest = link;
    else newest.newer = link;
    newest = link;
  };
  const use = (link: Link): void => {
    if (link === newest) return;
    unlink(link);
    append(link);
  };
  const remember = (key: string, stored: StoredHead): void => {
    const known = durable.get(key);
    if (known === undefined) {
      const link = { key, stored, older: null, newer: null };
      durable.set(key, link);
      append(link);
    } else {
      chars -= sizeOf(known.stored);
      known.stored = stored;
      use(known);
    }
    chars += sizeOf(stored);
    while (oldest !== null && (durable.size > heads_max || chars > headCharsMax)) {
      durable.delete(oldest.key);
      chars -= sizeOf(oldest.stored);
      unlink(oldest);
    }
  };
  return {
    latest: (key) => {
      const changed = running.get(key);
      if (changed !== undefined) return changed;
      const link = durable.get(key);
      if (link === undefined) return undefined;
      use(link);
      return link.stored;
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
