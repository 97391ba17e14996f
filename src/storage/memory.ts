// The reference implementation: maps and arrays, obviously right, nothing durable. The oracle of
// the property tests, and what a data directory that does not exist yet reads as.

import type { StreamHead } from "../model/aggregate.ts";
import type { TokenId } from "../model/actor.ts";
import { assert } from "../model/error.ts";
import type { CommittedEvent, EventId, UnpositionedEvent } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import { emptyFrontier, emptyKeys, keysWith, type Digest, type Frontier } from "../model/merkle.ts";
import { newHead, type Known, type Plan, type TokenUse } from "../model/plan.ts";
import type { Snapshot } from "../model/snapshot.ts";
import { compareKeys, keyText } from "../model/stream.ts";
import type { Ask, CommittedOutcome, Storage } from "./storage.ts";

interface Memory {
  log: Frontier;
  keys: Digest;
  readonly events: CommittedEvent[];
  readonly eventsById: Map<EventId, CommittedEvent>;
  /** By `keyText`, like the next two. */
  readonly heads: Map<string, StreamHead>;
  readonly streams: Map<string, CommittedEvent[]>;
  readonly snapshots: Map<string, Snapshot[]>;
  readonly tokenUses: Map<TokenId, TokenUse>;
}

export function createMemoryStorage(): Storage {
  const memory: Memory = {
    log: emptyFrontier,
    keys: emptyKeys,
    events: [],
    eventsById: new Map(),
    heads: new Map(),
    streams: new Map(),
    snapshots: new Map(),
    tokenUses: new Map(),
  };
  return {
    commit: async (ask, plan) => {
      const planned = plan(recall(memory, ask));
      const outcomes = planned.outcomes.map((outcome): CommittedOutcome => {
        if (outcome.kind !== "appended") return outcome;
        return { kind: "appended", events: outcome.events.map((event) => keep(memory, event)) };
      });
      keepHeads(memory, planned);
      return { outcomes, position: memory.log.size };
    },
    createStream: async (key) => {
      if (memory.heads.has(keyText(key))) return false;
      keepHead(memory, newHead(key));
      return true;
    },
    readStream: async (key, { after, limit }) =>
      page(memory.streams.get(keyText(key)) ?? [], after, limit, sizeOfEvent),
    readLog: async ({ after, limit }) => page(memory.events, after, limit, sizeOfEvent),
    readHead: async (key) => memory.heads.get(keyText(key)),
    readHeads: async ({ after, skip, limit }) => {
      const sorted = [...memory.heads.values()].sort(compareKeys);
      const rest = sorted.filter((head) => after === null || compareKeys(head, after) > 0);
      return page(rest, skip, limit, (head) => head.state.length);
    },
    readLogHead: async () => ({
      frontier: memory.log,
      streams: memory.heads.size,
      keys: memory.keys,
    }),
    readSnapshots: async (key, { after, limit }) => {
      const snapshots = memory.snapshots.get(keyText(key)) ?? [];
      const rest = snapshots.filter((snapshot) => snapshot.version > after);
      return page(rest, 0, limit, (snapshot) => snapshot.state.length);
    },
    readTokenUses: async (token_ids) =>
      token_ids.flatMap((token_id) => memory.tokenUses.get(token_id) ?? []),
    check: async () => [],
    figures: async () => ({ storage: "memory", events: memory.log.size }),
    close: async () => undefined,
  };
}

function recall(memory: Memory, ask: Ask): Known {
  return {
    heads: pick(memory.heads, ask.keys.map(keyText)),
    events: pick(memory.eventsById, ask.event_ids),
    token_uses: pick(memory.tokenUses, ask.token_ids),
    log: memory.log,
  };
}

function pick<V>(from: ReadonlyMap<string, V>, keys: readonly string[]): Map<string, V> {
  const picked = new Map<string, V>();
  for (const key of keys) {
    const value = from.get(key);
    if (value !== undefined) picked.set(key, value);
  }
  return picked;
}

function keep(memory: Memory, event: UnpositionedEvent): CommittedEvent {
  const key = keyText(event);
  const stream = memory.streams.get(key) ?? [];
  assert(event.version === stream.length + 1, `${key} continues at its next version`);
  assert(!memory.eventsById.has(event.event_id), `event id ${event.event_id} is new`);
  const committed = { ...event, position: memory.events.length + 1 };
  memory.events.push(committed);
  memory.eventsById.set(event.event_id, committed);
  stream.push(committed);
  memory.streams.set(key, stream);
  return committed;
}

function keepHeads(memory: Memory, plan: Plan): void {
  assert(plan.log.size === memory.events.length, "the log's tree has a leaf for every event");
  memory.log = plan.log;
  for (const head of plan.heads) {
    assert(
      head.version === (memory.streams.get(keyText(head))?.length ?? 0),
      "a head is at its stream's last event",
    );
    keepHead(memory, head);
  }
  for (const snapshot of plan.snapshots) {
    const key = keyText(snapshot);
    memory.snapshots.set(key, [...(memory.snapshots.get(key) ?? []), snapshot]);
  }
  for (const use of plan.token_uses) memory.tokenUses.set(use.token_id, use);
}

function keepHead(memory: Memory, head: StreamHead): void {
  const key = keyText(head);
  if (!memory.heads.has(key)) memory.keys = keysWith(memory.keys, head);
  memory.heads.set(key, head);
}

const sizeOfEvent = (event: CommittedEvent): number => event.payload.length;

/** Rows from `start` on: at most `limit`, fewer where they are large (limits.page_bytes_max). */
function page<Row>(
  rows: readonly Row[],
  start: number,
  limit: number,
  sizeOf: (row: Row) => number,
): Row[] {
  const taken: Row[] = [];
  let size = 0;
  for (let index = start; index < rows.length && taken.length < limit; index++) {
    const row = rows[index];
    assert(row !== undefined, "the index is within the rows");
    size += sizeOf(row);
    if (taken.length > 0 && size > limits.page_bytes_max) break;
    taken.push(row);
  }
  return taken;
}
