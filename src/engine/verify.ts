// Recomputes the whole store from its events and compares it with what is stored: operation,
// command and the oracle of the tests. It reads in pages and lets others run in between, so it may
// take long but never holds anything.

import type { StreamHead } from "../model/aggregate.ts";
import { dataCorrupted, DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import {
  emptyFrontier,
  emptyKeys,
  growFrontier,
  keysWith,
  rootOf,
  digestBytes,
  type Digest,
  type Frontier,
} from "../model/merkle.ts";
import { showKey, type Position, type StreamKey } from "../model/stream.ts";
import type { LogHead, Storage } from "../storage/storage.ts";
import { nextTurn } from "./turns.ts";
import { keyOf, same, verifyStream, type Fault } from "./verify-stream.ts";

export interface StoreReport {
  readonly aggregates: number;
  readonly position: Position;
  readonly log_root: string;
  readonly faults: readonly Fault[];
}

/**
 * Every stream, the tree over the whole log, and the database underneath. Appends may go on
 * meanwhile. `beside` looks at files beside the storage. What cannot be read is a fault, too; only
 * a log without end is thrown.
 */
export async function verifyStore(
  storage: Storage,
  { beside }: { readonly beside: Storage["check"] },
): Promise<StoreReport> {
  const faults: Fault[] = [];
  const full = () => faults.length >= limits.verify_faults_max;
  // The log first: what is appended after this line is not part of the question.
  const log = await storage.readLogHead();
  await readable(faults, {}, () => verifyLogTree(storage, log.frontier, faults));
  const counted = await walkHeads(storage, faults, async (head) => {
    const own = await readable(faults, keyOf(head), () => verifyStream(storage, head));
    faults.push(...(own ?? []));
    await nextTurn();
  });
  if (!full()) await verifyKeys(storage, { log, counted }, faults);
  for (const check of [storage.check, beside]) {
    if (full()) break;
    const limit = limits.verify_faults_max;
    const told = await readable(faults, {}, () => check({ limit }));
    for (const fault of told ?? []) faults.push({ fault });
  }
  return {
    aggregates: counted.aggregates,
    position: log.frontier.size,
    log_root: rootOf(log.frontier).toHex(),
    faults: faults.slice(0, limits.verify_faults_max),
  };
}

/** What `work` gives. If it is damaged, that is a fault, and the pass goes on elsewhere. */
async function readable<T>(
  faults: Fault[],
  place: Partial<StreamKey>,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DbxError) || error.code !== "data_corrupted") throw error;
    faults.push({ ...error.details, ...place, fault: error.message });
    return undefined;
  }
}

/** How many aggregates there are, and which. */
interface Counted {
  readonly aggregates: number;
  readonly keys: Digest;
}

/** All heads in key order; those that cannot be read are faults, and are passed over. */
async function walkHeads(
  storage: Storage,
  faults: Fault[],
  visit: (head: StreamHead) => Promise<void>,
): Promise<Counted> {
  let [aggregates, keys] = [0, emptyKeys];
  let after: StreamKey | null = null;
  let [limit, skip]: [number, number] = [limits.scan_rows_max, 0];
  while (faults.length < limits.verify_faults_max) {
    const own: Fault[] = [];
    const options = { aggregate_type: null, after, skip, limit };
    const heads = await readable(own, {}, () => storage.readHeads(options));
    if (heads === undefined) {
      // It is one of these; fewer and fewer are read until it is alone.
      limit = Math.floor(limit / 2);
      if (limit > 0) continue;
      // A damaged page says the same of every row.
      if (own[0]?.fault === faults.at(-1)?.fault) break;
      faults.push(...own);
      [limit, skip, aggregates] = [1, skip + 1, aggregates + 1];
      continue;
    }
    for (const head of heads) {
      aggregates++;
      keys = keysWith(keys, head);
      if (faults.length < limits.verify_faults_max) await visit(head);
    }
    const last = heads.at(-1);
    if (last === undefined) break;
    after = keyOf(last);
    skip = 0;
    limit = Math.min(limit * 2, limits.scan_rows_max);
    await nextTurn();
  }
  return { aggregates, keys };
}

/** How often the keys are counted while others create and remove. */
const countsMax = 8;

/**
 * Whether the aggregates are those that were created. They may change while they are counted, and
 * back again, so that what seems wrong is counted again; while they never rest, nothing is said.
 */
async function verifyKeys(
  storage: Storage,
  { log, counted }: { log: LogHead; counted: Counted },
  faults: Fault[],
): Promise<void> {
  let before = log;
  let found = counted;
  for (let count = 1; ; count++) {
    const now = await storage.readLogHead();
    const { aggregates, keys } = found;
    if ([before, now].some((log) => log.streams === aggregates && same(log.keys, keys))) return;
    if (count === countsMax) {
      if (now.streams !== before.streams || !same(now.keys, before.keys)) return;
      if (aggregates !== now.streams)
        faults.push({
          fault: `there are ${aggregates} aggregates, but ${now.streams} were created`,
        });
      if (!same(keys, now.keys))
        faults.push({ fault: "the aggregates are not those that were created" });
      return;
    }
    before = now;
    found = await walkHeads(storage, [], async () => undefined);
  }
}

async function verifyLogTree(storage: Storage, expected: Frontier, faults: Fault[]): Promise<void> {
  let frontier = emptyFrontier;
  let after: Position = 0;
  while (after < expected.size) {
    const limit = Math.min(limits.scan_rows_max, expected.size - after);
    const leaves = await storage.readLeaves({ after, limit });
    for (const { position, hash } of leaves) {
      if (position !== ++after) {
        faults.push({ position: after, fault: `position ${after} is missing` });
        return;
      }
      frontier = growFrontier(frontier, hash);
    }
    if (leaves.length === 0) break;
    await nextTurn();
  }
  if (frontier.size !== expected.size) {
    faults.push({
      fault: `the log should end at position ${expected.size}, but ends at ${frontier.size}`,
    });
  } else if (!same(frontier.nodes, expected.nodes)) {
    const { first, last } = differingSubtree(frontier, expected);
    faults.push({
      position: first,
      fault: `the tree over the whole log does not follow from the events: positions ${first} to ${last} are not in the order, or not the events, that were appended`,
    });
  }
  await verifyEnd(storage, expected, faults);
}

/** The positions below the first complete subtree in which two frontiers of one size differ. */
function differingSubtree(left: Frontier, right: Frontier): { first: Position; last: Position } {
  let first = 1;
  let offset = 0;
  // One node for each set bit of the size, the largest subtree first.
  for (let leaves = 2 ** 52; leaves >= 1; leaves /= 2) {
    if (Math.floor(left.size / leaves) % 2 === 0) continue;
    const end = offset + digestBytes;
    if (!same(left.nodes.subarray(offset, end), right.nodes.subarray(offset, end))) {
      return { first, last: first + leaves - 1 };
    }
    first += leaves;
    offset = end;
  }
  // The nodes of one of them are not as many as its size says.
  return { first: 1, last: left.size };
}

/**
 * Rows behind the end of the log are new appends, or, if the end does not move, rows that somebody
 * added.
 */
async function verifyEnd(storage: Storage, expected: Frontier, faults: Fault[]): Promise<void> {
  const [beyond] = await storage.readLeaves({ after: expected.size, limit: 1 });
  if (beyond === undefined) return;
  const now = await storage.readLogHead();
  if (now.frontier.size < beyond.position) {
    const { position } = beyond;
    faults.push({ position, fault: "the event is not counted by the log" });
  }
}

/** The faults as the error that `verify` answers. */
export function faultsError(faults: readonly Fault[]): DbxError {
  const [first] = faults;
  const where = first === undefined ? "" : `${placeText(first)}${first.fault}`;
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : "";
  return dataCorrupted(`verification failed: ${where}${more}`, { faults });
}

function placeText(fault: Fault): string {
  const { aggregate_type, aggregate_id, version, position } = fault;
  const words: string[] = [];
  if (aggregate_type !== undefined && aggregate_id !== undefined)
    words.push(showKey({ aggregate_type, aggregate_id }));
  if (version !== undefined) words.push(`version ${version}`);
  if (position !== undefined) words.push(`position ${position}`);
  return words.length === 0 ? "" : `${words.join(" ")}: `;
}
