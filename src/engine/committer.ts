// Group commit: whatever waits while one commit runs is the next commit, so an idle store adds no
// delay and a busy one shares each fsync. One transaction's refusal never touches another.

import { assert, overloaded, unavailable } from "../model/error.ts";
import type { CommittedEvent } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import {
  planAppends,
  type Known,
  type Plan,
  type PlanContext,
  type PlannedEvent,
  type Transaction,
} from "../model/plan.ts";
import { keyText, type StreamKey } from "../model/stream.ts";
import type { Ask, Committed, Storage } from "../storage/storage.ts";

export interface Committer {
  /**
   * The committed events, or the first ones again for a repetition. Rejects with the transaction's
   * refusal.
   */
  readonly submit: (transaction: Transaction) => Promise<readonly CommittedEvent[]>;
  /**
   * A commit with a plan of its own, in turn with the others. Resolves with what its one outcome
   * has appended; rejects with its refusal.
   */
  readonly commitAlone: (
    ask: Ask,
    plan: (known: Known) => Plan,
  ) => Promise<readonly CommittedEvent[]>;
  readonly figures: () => Record<string, number>;
  /** Commits what waits, then refuses everything. */
  readonly close: () => Promise<void>;
}

interface Waiting {
  readonly transaction: Transaction;
  readonly bytes: number;
  readonly resolve: (events: readonly CommittedEvent[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * `context` is asked once per commit, so that all its events share one time. `advance` is told what
 * a commit has made durable, in the order of positions, before anybody is answered.
 */
export function createCommitter(options: {
  storage: Storage;
  context: () => PlanContext;
  advance: (events: readonly CommittedEvent[]) => void;
}): Committer {
  const queue: Waiting[] = [];
  const counts = { commits: 0, events: 0, refused: 0, queue_max: 0, batch_max: 0 };
  let queuedBytes = 0;
  let queuedEvents = 0;
  /** Commits that have been planned and are not durable yet. */
  const running = new Set<Promise<void>>();
  const alone = new Set<Promise<unknown>>();
  let starting: Promise<void> | null = null;
  let closed = false;

  function submit(transaction: Transaction): Promise<readonly CommittedEvent[]> {
    assert(transaction.events.length > 0, "a transaction has at least one event");
    if (closed) return Promise.reject(unavailable("dbx is stopping"));
    const bytes = transaction.events.reduce((sum, event) => sum + sizeOf(event), 0);
    if (
      queue.length >= limits.queue_transactions_max ||
      queuedBytes + bytes > limits.queue_bytes_max
    ) {
      return Promise.reject(
        overloaded("too many appends are waiting; try again", { waiting: queue.length }),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<readonly CommittedEvent[]>();
    queue.push({ transaction, bytes, resolve, reject });
    queuedBytes += bytes;
    queuedEvents += transaction.events.length;
    counts.queue_max = Math.max(counts.queue_max, queue.length);
    starting ??= start();
    return promise;
  }

  /** Starts commits one turn later, so that requests of one turn share one. */
  async function start(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    starting = null;
    while (isWorthStarting()) {
      const one = commit(takeBatch());
      running.add(one);
      void one.then(() => {
        running.delete(one);
        if (queue.length > 0) starting ??= start();
      });
    }
  }

  /**
   * While one commit is written the next one is planned, but not with so little that the fsync of
   * its own costs more than waiting for company.
   */
  function isWorthStarting(): boolean {
    if (running.size === 0) return queue.length > 0;
    return running.size < limits.commits_running_max && queuedEvents >= limits.commit_ahead_min;
  }

  /** As many transactions as one commit may hold; the first one always fits. */
  function takeBatch(): Waiting[] {
    let events = 0;
    let bytes = 0;
    let count = 0;
    // The first of many takes half, so that there is something to plan while it is written.
    const isFirst = running.size === 0 && queuedEvents >= 2 * limits.commit_ahead_min;
    const most = isFirst ? Math.ceil(queue.length / 2) : queue.length;
    for (const waiting of queue) {
      if (count === most) break;
      events += waiting.transaction.events.length;
      bytes += waiting.bytes;
      if (count > 0 && (events > limits.commit_events_max || bytes > limits.commit_bytes_max))
        break;
      count++;
    }
    const batch = queue.splice(0, count);
    for (const { bytes, transaction } of batch) {
      queuedBytes -= bytes;
      queuedEvents -= transaction.events.length;
    }
    return batch;
  }

  async function commit(batch: readonly Waiting[]): Promise<void> {
    const transactions = batch.map(({ transaction }) => transaction);
    let committed: Committed;
    try {
      committed = await options.storage.commit(askOf(transactions), (known) =>
        planAppends(known, transactions, options.context()),
      );
    } catch (error) {
      // What one transaction stumbles over (a damaged head, say) must not refuse the others. A
      // storage whose write has failed refuses each of them in turn.
      if (batch.length > 1) for (const one of batch) await commit([one]);
      else batch[0]?.reject(error);
      return;
    }
    counts.commits++;
    counts.batch_max = Math.max(counts.batch_max, batch.length);
    assert(committed.outcomes.length === batch.length, "every transaction has an outcome");
    options.advance(
      committed.outcomes.flatMap((outcome) => (outcome.kind === "appended" ? outcome.events : [])),
    );
    committed.outcomes.forEach((outcome, index) => {
      const waiting = batch[index];
      assert(waiting !== undefined, "every outcome has a transaction");
      if (outcome.kind === "refused") {
        counts.refused++;
        waiting.reject(outcome.error);
      } else {
        if (outcome.kind === "appended") counts.events += outcome.events.length;
        waiting.resolve(outcome.events);
      }
    });
  }

  async function takeAlone(
    ask: Ask,
    plan: (known: Known) => Plan,
  ): Promise<readonly CommittedEvent[]> {
    const { outcomes } = await options.storage.commit(ask, plan);
    const [outcome] = outcomes;
    assert(outcome !== undefined && outcomes.length === 1, "the plan has one outcome");
    counts.commits++;
    if (outcome.kind === "refused") {
      counts.refused++;
      throw outcome.error;
    }
    counts.events += outcome.events.length;
    options.advance(outcome.events);
    return outcome.events;
  }

  return {
    submit,
    commitAlone: (ask, plan) => {
      if (closed) return Promise.reject(unavailable("dbx is stopping"));
      const work = takeAlone(ask, plan);
      const ended = work.catch(() => undefined).then(() => void alone.delete(ended));
      alone.add(ended);
      return work;
    },
    figures: () => ({ ...counts, queued: queue.length, queued_bytes: queuedBytes }),
    close: async () => {
      closed = true;
      while (starting !== null || running.size > 0) await Promise.all([starting, ...running]);
      await Promise.all(alone);
    },
  };
}

/** About what an event takes while it waits: its texts, and the objects around them. */
const sizeOf = (event: PlannedEvent): number =>
  event.payload.length +
  event.aggregate_type.length +
  event.aggregate_id.length +
  event.event_type.length +
  (event.note?.length ?? 0) +
  eventOverheadBytes;

const eventOverheadBytes = 512;

/** What the planner must know to decide on these. */
export function askOf(transactions: readonly Transaction[]): Ask {
  const keys = new Map<string, StreamKey>();
  const event_ids = new Set<string>();
  const token_ids = new Set<string>();
  for (const { events, token_id } of transactions) {
    if (token_id !== null) token_ids.add(token_id);
    for (const event of events) {
      keys.set(keyText(event), event);
      if (event.client_id) event_ids.add(event.event_id);
    }
  }
  return { keys: [...keys.values()], event_ids: [...event_ids], token_ids: [...token_ids] };
}
