// The reference implementation: maps and arrays, obviously right, nothing durable. The oracle of
// the property tests, and what a data directory that does not exist yet reads as.

import type { StreamHead } from "../model/aggregate.ts";
import type { TokenId } from "../model/actor.ts";
import type { AggregateAction, AuditEntry, Change } from "../model/audit.ts";
import { canonicalOf } from "../model/canonical.ts";
import { assert, failedPrecondition } from "../model/error.ts";
import {
  withoutBody,
  type CommittedEvent,
  type EventId,
  type UnpositionedEvent,
} from "../model/event.ts";
import { limits } from "../model/limits.ts";
import { emptyFrontier, emptyKeys, keysWith, type Digest, type Frontier } from "../model/merkle.ts";
import { newHead, type Known, type Plan, type TokenUse } from "../model/plan.ts";
import type { Snapshot } from "../model/snapshot.ts";
import { compareKeys, keyText, type StreamKey } from "../model/stream.ts";
import type { Ask, CommittedOutcome, PositionRange, Storage } from "./storage.ts";

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
  readonly audit: AuditEntry[];
  readonly imports: PositionRange[];
}

/** `sealing`: whether it passes for a store that is encrypted, where erasing is allowed. */
export function createMemoryStorage({ sealing }: { sealing: "none" | "all" }): Storage {
  const memory: Memory = {
    log: emptyFrontier,
    keys: emptyKeys,
    events: [],
    eventsById: new Map(),
    heads: new Map(),
    streams: new Map(),
    snapshots: new Map(),
    tokenUses: new Map(),
    audit: [],
    imports: [],
  };
  return {
    commit: async (ask, plan) => {
      const planned = plan(recall(memory, ask));
      const before = memory.events.length;
      const outcomes = planned.outcomes.map((outcome): CommittedOutcome => {
        if (outcome.kind !== "appended") return outcome;
        return { kind: "appended", events: outcome.events.map((event) => keep(memory, event)) };
      });
      keepHeads(memory, planned);
      const { length: last } = memory.events;
      if (planned.imported === true && last > before) {
        memory.imports.push({ first: before + 1, last });
      }
      return { outcomes, position: memory.log.size };
    },
    ...changes(memory),
    readStream: async (key, { after, limit }) =>
      page(memory.streams.get(keyText(key)) ?? [], after, limit, sizeOfEvent),
    readImports: async ({ first, last }) =>
      memory.imports
        .filter((range) => range.first <= last && range.last >= first)
        .map((range) => ({
          first: Math.max(first, range.first),
          last: Math.min(last, range.last),
        })),
    readLog: async ({ after, limit }) => page(memory.events, after, limit, sizeOfEvent),
    readLeaves: async ({ after, limit }) =>
      memory.events.slice(after, after + limit).map(({ position, hash }) => ({ position, hash })),
    readHead: async (key) => memory.heads.get(keyText(key)),
    readHeads: async ({ aggregate_type, after, skip, limit }) => {
      const rest = [...memory.heads.values()]
        .filter((head) => aggregate_type === null || head.aggregate_type === aggregate_type)
        .filter((head) => after === null || compareKeys(head, after) > 0)
        .sort(compareKeys);
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
    readSnapshot: async (key, { version_max }) =>
      memory.snapshots.get(keyText(key))?.findLast(({ version }) => version <= version_max),
    readEvents: async (event_ids) => [...pick(memory.eventsById, event_ids).values()],
    readAudit: async ({ after, limit }) => page(memory.audit, after, limit, () => 0),
    readAuditBack: async ({ before, limit }) =>
      page(memory.audit.filter(({ entry }) => entry < before).reverse(), 0, limit, () => 0),
    readTokenUses: async (token_ids) =>
      token_ids.flatMap((token_id) => memory.tokenUses.get(token_id) ?? []),
    record: async ({ action, subject, details, aggregate, ...change }) => {
      memory.audit.push({
        ...{ entry: memory.audit.length + 1, action, subject, details: canonicalOf(details) },
        aggregate_type: aggregate?.aggregate_type ?? null,
        aggregate_id: aggregate?.aggregate_id ?? null,
        ...change,
      });
    },
    forgetErased: async () => undefined,
    sealing: () => sealing,
    sealOlder: async () => undefined,
    vault: null,
    rotateKey: async () => {
      throw failedPrecondition("nothing is encrypted, so there is no key to rotate");
    },
    check: async () => [],
    figures: async () => ({ storage: "memory", events: memory.log.size }),
    close: async () => undefined,
  };
}

/** Here nothing lies elsewhere, so that archiving is the flag alone. */
function changes(
  memory: Memory,
): Pick<
  Storage,
  "createStream" | "removeStream" | "archiveStream" | "restoreStream" | "keepSnapshot"
> {
  const { heads, snapshots, audit } = memory;
  const note = (
    action: AggregateAction,
    { aggregate_type, aggregate_id }: StreamKey,
    change: Change,
  ) => {
    const of = { action, aggregate_type, aggregate_id, subject: null, details: canonicalOf(null) };
    audit.push({ entry: audit.length + 1, ...of, ...change });
  };
  const flag = (key: StreamKey, archived: boolean, change: Change): StreamHead | undefined => {
    const head = heads.get(keyText(key));
    if (head === undefined) return undefined;
    const same = head.archived === archived;
    if (!same || change.comment !== null) note(archived ? "archive" : "restore", key, change);
    if (same) return head;
    heads.set(keyText(key), { ...head, archived });
    return { ...head, archived };
  };
  return {
    createStream: async (key, change) => {
      if (heads.has(keyText(key))) return false;
      keepHead(memory, newHead(key));
      note("create", key, change);
      return true;
    },
    removeStream: async (key, change) => {
      const head = heads.get(keyText(key));
      if (head === undefined) return "not_found";
      if (head.version > 0) return "has_events";
      heads.delete(keyText(key));
      // XOR takes out what it has put in.
      memory.keys = keysWith(memory.keys, key);
      note("remove", key, change);
      return "removed";
    },
    archiveStream: async (key, change) => flag(key, true, change),
    restoreStream: async (key, change) => flag(key, false, change),
    keepSnapshot: async (key, change) => {
      const head = heads.get(keyText(key));
      if (head === undefined) return undefined;
      if (head.version === 0) return "no_events";
      if (head.archived) return "archived";
      const kept = snapshots.get(keyText(key)) ?? [];
      const old = kept.find(({ version }) => version === head.version);
      const { aggregate_type, aggregate_id, version, state, root: merkle_root } = head;
      const { at: created_at, comment } = change;
      const of = { aggregate_type, aggregate_id, version, state, merkle_root };
      const snapshot =
        old === undefined
          ? { ...of, created_at, comment }
          : { ...old, comment: comment ?? old.comment };
      snapshots.set(keyText(key), [...kept.filter((each) => each !== old), snapshot]);
      note("snapshot", key, change);
      return snapshot;
    },
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
  const before = memory.heads.get(key);
  if (before === undefined) memory.keys = keysWith(memory.keys, head);
  if (head.erased > (before?.erased ?? 0)) erase(memory, key, head.erased);
  memory.heads.set(key, head);
}

function erase(memory: Memory, key: string, through: number): void {
  const { streams, snapshots, events, eventsById } = memory;
  const rest = (snapshots.get(key) ?? []).filter(({ version }) => version > through);
  snapshots.set(key, rest);
  const stream = (streams.get(key) ?? []).map((event) =>
    event.version > through ? event : withoutBody(event),
  );
  streams.set(key, stream);
  for (const event of stream) {
    events[event.position - 1] = event;
    eventsById.set(event.event_id, event);
  }
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
