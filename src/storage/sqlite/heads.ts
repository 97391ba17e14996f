// Heads kept in memory: those a running commit has changed but not yet made durable, and, below
// them, the least recently used of the durable ones, bounded in number and in size.

import type { StreamHead } from "../../model/aggregate.ts";

export interface StoredHead {
  /** `keyText` of the head, made once: joining and hashing it anew is most of a look-up. */
  readonly key: string;
  readonly stream_id: number;
  readonly head: StreamHead;
  /** Positions of its events since the last full run; see positions.ts. */
  readonly positions: Uint8Array;
}

/** States can be as large as payloads, so the number of heads alone bounds nothing. */
const headCharsMax = 128 * 1024 * 1024;
/** What a head takes beside its texts and nodes: objects, map entries. */
const headCharsBase = 512;

/** That a stream is being removed. Each removal is one of its own: a key can be removed again. */
export interface Removal {
  readonly key: string;
  readonly stored: null;
}

export interface Heads {
  /** As the latest commit left it, durable or not. Null: removed, but perhaps not yet durably. */
  latest(key: string): StoredHead | null | undefined;
  /** Puts a durable head that was read. */
  remember(stored: StoredHead): void;
  /** Puts a head that a running commit changed; it stays until `settle`. */
  change(stored: StoredHead): void;
  /** The commit that changed it is durable; what changed it again, or removed it, settles it. */
  settle(stored: StoredHead): void;
  /** The stream is being removed; it is known to be gone until the same object settles. */
  remove(removal: Removal): void;
  settleRemoval(removal: Removal): void;
  readonly count: () => number;
}

/** A durable head between the one used before it and the one used after it. */
interface Link {
  stored: StoredHead;
  older: Link | null;
  newer: Link | null;
}

export function createHeads({ heads_max }: { heads_max: number }): Heads {
  const running = new Map<string, StoredHead | Removal>();
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
  const remember = (stored: StoredHead): void => {
    const known = durable.get(stored.key);
    if (known === undefined) {
      const link = { stored, older: null, newer: null };
      durable.set(stored.key, link);
      append(link);
    } else {
      chars -= sizeOf(known.stored);
      known.stored = stored;
      use(known);
    }
    chars += sizeOf(stored);
    while (oldest !== null && (durable.size > heads_max || chars > headCharsMax)) {
      durable.delete(oldest.stored.key);
      chars -= sizeOf(oldest.stored);
      unlink(oldest);
    }
  };
  return {
    latest: (key) => {
      const changed = running.get(key);
      if (changed !== undefined) return "head" in changed ? changed : null;
      const link = durable.get(key);
      if (link === undefined) return undefined;
      use(link);
      return link.stored;
    },
    remember,
    change: (stored) => running.set(stored.key, stored),
    settle: (stored) => {
      // Otherwise it is the past: to remember it would be to bring back what is gone.
      if (running.get(stored.key) !== stored) return;
      running.delete(stored.key);
      remember(owned(stored, durable.get(stored.key)?.stored.head));
    },
    remove: (removal) => {
      running.set(removal.key, removal);
      const link = durable.get(removal.key);
      if (link === undefined) return;
      durable.delete(removal.key);
      chars -= sizeOf(link.stored);
      unlink(link);
    },
    settleRemoval: (removal) => {
      // The stream may have been made anew, and even be removed again.
      if (running.get(removal.key) === removal) running.delete(removal.key);
    },
    count: () => running.size + durable.size,
  };
}

/**
 * A part of a text keeps the whole of it in memory, and names of a request's events are parts of
 * the request: a head that stays must not.
 */
function owned(stored: StoredHead, before: StreamHead | undefined): StoredHead {
  const { aggregate_type, aggregate_id } = before ?? {
    aggregate_type: copied(stored.head.aggregate_type),
    aggregate_id: copied(stored.head.aggregate_id),
  };
  const updated_at = copied(stored.head.updated_at);
  return { ...stored, head: { ...stored.head, aggregate_type, aggregate_id, updated_at } };
}

const copied = (text: string): string => Buffer.from(text).toString();

const sizeOf = ({ head, positions }: StoredHead): number =>
  headCharsBase + head.state.length + head.frontier.nodes.length + positions.length;
