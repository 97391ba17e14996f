// What storage tests share: temporary data directories, transactions in a few words, and an
// independent recomputation of every hash and root of a log.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fold, emptyState } from "../../src/model/aggregate.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import {
  contentDigest,
  eventHash,
  planAppends,
  type PlanContext,
  type PlannedEvent,
  type Transaction,
} from "../../src/model/plan.ts";
import {
  emptyFrontier,
  emptyKeys,
  growFrontier,
  keysWith,
  rootOf,
  type Frontier,
} from "../../src/model/merkle.ts";
import { keyText, type StreamKey } from "../../src/model/stream.ts";
import type { Ask, Committed, Storage } from "../../src/storage/storage.ts";
import {
  openSqliteStorage,
  type OpenOptions,
  type ThreadUse,
} from "../../src/storage/sqlite/open.ts";

/** A directory for the length of `use`. */
export async function withDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "dbx-storage-"));
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export const openOptions = (
  directory: string,
  changes: Partial<OpenOptions> = {},
): OpenOptions => ({
  directory,
  durability: "full",
  access: "write",
  heads_max: 1_000,
  lock_wait_ms: 0,
  threads: false,
  dek: null,
  opener: null,
  ...changes,
});

/** A mode as the tests name it. */
export const threadsOf = (mode: string): false | ThreadUse =>
  mode === "copier" || mode === "both" ? mode : false;

export const openWriting = (directory: string, changes: Partial<OpenOptions> = {}) =>
  openSqliteStorage(openOptions(directory, changes));

export const openReading = (directory: string, changes: Partial<OpenOptions> = {}) =>
  openSqliteStorage(openOptions(directory, { access: "read", ...changes }));

export const jane = { aggregate_type: "patient", aggregate_id: "p-001" };
export const john = { aggregate_type: "patient", aggregate_id: "p-002" };

/** What the audit trail is told, where a test does not care. */
export const change = { at: "2025-01-01T00:00:00.000000Z", issued_by: null, comment: null };

export const context: PlanContext = {
  now: "2024-12-01T17:22:43.512345Z",
  allowanceOf: () => ({ ok: true, writes_max: null, expires_at: null, term: "t" }),
  checkSchema: () => undefined,
  snapshotThresholdOf: () => null,
  hidesSomething: () => false,
};

export const event = (key: StreamKey, changes: Partial<PlannedEvent> = {}): PlannedEvent => ({
  ...key,
  event_type: "noted",
  payload: canonicalOf({ a: 1 }),
  note: null,
  event_id: Bun.randomUUIDv7(),
  client_id: false,
  expected_version: "any",
  salt: crypto.getRandomValues(new Uint8Array(16)),
  ...changes,
});

export const transaction = (
  events: readonly PlannedEvent[],
  changes: Partial<Transaction> = {},
): Transaction => ({ events, batch: true, issued_by: null, token_id: null, ...changes });

/** What a commit of these transactions has to ask for. */
export function askOf(transactions: readonly Transaction[]): Ask {
  const events = transactions.flatMap((each) => each.events);
  const tokens = transactions.flatMap(({ token_id }) => (token_id === null ? [] : [token_id]));
  return {
    keys: [...new Map(events.map((each) => [keyText(each), each])).values()],
    event_ids: [...new Set(events.filter((each) => each.client_id).map((each) => each.event_id))],
    token_ids: [...new Set(tokens)],
  };
}

export const append = (
  storage: Pick<Storage, "commit">,
  transactions: readonly Transaction[],
  planContext: PlanContext = context,
): Promise<Committed> =>
  storage.commit(askOf(transactions), (known) => planAppends(known, transactions, planContext));

/** Every event of the log, read in pages. */
export async function readAll(storage: Storage, page = 500): Promise<CommittedEvent[]> {
  const events: CommittedEvent[] = [];
  for (;;) {
    const rows = await storage.readLog({ after: events.length, limit: page });
    if (rows.length === 0) return events;
    events.push(...rows);
  }
}

/**
 * Recomputes the whole log and compares it with what is stored: digests, hashes, roots, positions,
 * versions, ids, heads, states, the log's tree. The faults as sentences.
 */
export async function recompute(storage: Storage): Promise<string[]> {
  const faults: string[] = await storage.check({ limit: 100 });
  const events = await readAll(storage);
  const streams = new Map<string, Folded>();
  const ids = new Set<string>();
  let log = emptyFrontier;
  for (const [index, stored] of events.entries()) {
    const at = `event ${stored.position}`;
    const key = keyText(stored);
    const stream = streams.get(key) ?? unwritten;
    if (stored.position !== index + 1) faults.push(`${at} stands at ${index + 1}`);
    if (stored.version !== stream.frontier.size + 1) faults.push(`${at} has a wrong version`);
    if (ids.has(stored.event_id)) faults.push(`${at} has the id of another`);
    ids.add(stored.event_id);
    // Of what is erased the digest alone is left; the hash says whether it is the right one.
    const content_digest = stored.erased === true ? stored.content_digest : contentDigest(stored);
    if (!equal(content_digest, stored.content_digest)) faults.push(`${at} has another body`);
    const previous_root = rootOf(stream.frontier);
    const hash = eventHash({ ...stored, content_digest, previous_root });
    if (!equal(hash, stored.hash)) faults.push(`${at} has another hash`);
    const frontier = growFrontier(stream.frontier, hash);
    if (!equal(rootOf(frontier), stored.merkle_root)) faults.push(`${at} has another root`);
    const state = fold(stream.state, stored);
    streams.set(key, { frontier, state, updated_at: stored.created_at });
    log = growFrontier(log, hash);
  }
  const tail = await storage.readLogHead();
  if (tail.frontier.size !== log.size) faults.push(`the log counts ${tail.frontier.size}`);
  if (!equal(rootOf(tail.frontier), rootOf(log))) faults.push("the log has another root");
  const heads = await storage.readHeads({
    aggregate_type: null,
    after: null,
    skip: 0,
    limit: 100_000,
  });
  if (tail.streams !== heads.length) faults.push(`the log counts ${tail.streams} streams`);
  if (!equal(tail.keys, heads.reduce(keysWith, emptyKeys))) faults.push("the log has other keys");
  for (const head of heads) {
    const stream = streams.get(keyText(head)) ?? unwritten;
    streams.delete(keyText(head));
    if (head.version !== stream.frontier.size) faults.push(`${keyText(head)} has another version`);
    if (!equal(rootOf(head.frontier), rootOf(stream.frontier)))
      faults.push(`${keyText(head)} has another root`);
    if (head.state !== stream.state) faults.push(`${keyText(head)} has another state`);
    if (head.updated_at !== stream.updated_at) faults.push(`${keyText(head)} has another time`);
  }
  for (const key of streams.keys()) faults.push(`${key} has no head`);
  return faults;
}

interface Folded {
  readonly frontier: Frontier;
  readonly state: typeof emptyState;
  readonly updated_at: string;
}

const unwritten: Folded = { frontier: emptyFrontier, state: emptyState, updated_at: "" };

const equal = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;
