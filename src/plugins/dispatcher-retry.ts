// Deliveries by hand: failed ones now instead of later, and stored events once more. Both run in a
// turn of the plugin's loop, or without a loop where no server runs.

import { failedPrecondition, notFound } from "../model/error.ts";
import type { CommittedEvent, EventId } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import type { Delivery } from "../model/plugin.ts";
import type { Position, StreamKey, Version } from "../model/stream.ts";
import type { Settlement } from "../storage/deliveries.ts";
import { deliverInLanes } from "./dispatcher-lanes.ts";
import { emissionOf, failureOf, loadEvents, type StepDeps, type Turn } from "./dispatcher-step.ts";
import type { Fault } from "./emitter.ts";

interface RetryFault {
  readonly event_id: EventId;
  readonly message: string;
}

export interface RetrySummary {
  readonly succeeded: number;
  readonly failed: number;
  /** Nobody may read them any more, so that they are taken out. */
  readonly dropped: number;
  /** Not tried: behind one that failed, or nobody was there. */
  readonly remaining: number;
  /** The first of them. */
  readonly faults: readonly RetryFault[];
}

export const noRetries: RetrySummary = {
  ...{ succeeded: 0, failed: 0, dropped: 0, remaining: 0, faults: [] },
};

/**
 * The delivery of an event, whether pending or dead; without an id all dead ones, in order. A
 * pending one behind another of its aggregate is refused, because it would overtake that.
 */
export async function retryDeliveries(
  deps: StepDeps,
  turn: Turn,
  { event_id }: { readonly event_id?: EventId },
): Promise<RetrySummary> {
  const { deliveries, name } = deps;
  if (event_id !== undefined) {
    const selection = { plugin: name, event_id };
    const found = await deliveries.readOutbox(selection, { after: null, limit: 1 });
    for (const delivery of found) await requireFirst(deps, delivery);
    return await retryPage(deps, turn, found);
  }
  let summary = noRetries;
  for (let after: Position = 0; !turn.signal.aborted;) {
    const options = { after: { plugin: name, position: after }, limit: limits.plugin_page_events };
    const page = await deliveries.readOutbox({ plugin: name, dead: true }, options);
    const last = page.at(-1);
    if (last === undefined) return summary;
    const tried = await retryPage(deps, turn, page);
    summary = added(summary, tried);
    if (tried.remaining > 0 && tried.succeeded === 0) break;
    after = last.position;
  }
  return { ...summary, remaining: (await deadOf(deps)) - summary.failed };
}

const deadOf = async ({ deliveries, name }: StepDeps): Promise<number> =>
  (await deliveries.readPlugins()).find(({ plugin }) => plugin.name === name)?.dead ?? 0;

async function requireFirst({ deliveries, name }: StepDeps, delivery: Delivery): Promise<void> {
  if (delivery.dead) return;
  const { position, event_id, aggregate_type, aggregate_id } = delivery;
  for (let after: Position = 0; ;) {
    const options = { after: { plugin: name, position: after }, limit: limits.scan_rows_max };
    const page = await deliveries.readOutbox({ plugin: name, dead: false }, options);
    const first = page.find(
      (each) => each.aggregate_type === aggregate_type && each.aggregate_id === aggregate_id,
    );
    if (first !== undefined && first.position < position) {
      throw failedPrecondition(
        `event ${event_id} waits behind event ${first.event_id} of its aggregate; retry that one`,
        { event_id, first_event_id: first.event_id },
      );
    }
    const last = page.at(-1);
    if (first !== undefined || last === undefined) return;
    after = last.position;
  }
}

async function retryPage(
  deps: StepDeps,
  turn: Turn,
  page: readonly Delivery[],
): Promise<RetrySummary> {
  let summary = noRetries;
  // A page may have more than fits into memory at once.
  for (let rest = page; rest.length > 0;) {
    const { loaded, gone } = await loadEvents(deps, rest);
    rest = rest.slice(loaded.length + gone.length);
    const { place, signal } = turn;
    const events = loaded.map(({ event }) => event);
    const lanes = { emitter: deps.emitter, emissionOf: emissionOf(deps) };
    const options = { sequence: place.sequence, signal };
    const { results, away, count } = await deliverInLanes(lanes, events, options);
    const delivered: Position[] = [];
    const failures: { delivery: Delivery; fault: Fault }[] = [];
    for (const { delivery } of loaded) {
      const result = results.get(delivery.position);
      if (result === "delivered") delivered.push(delivery.position);
      else if (result !== undefined) failures.push({ delivery, fault: result });
    }
    const failed = failures.map(({ delivery, fault }) => {
      const { plugin: _plugin, ...before } = delivery;
      return failureOf(deps, before, fault);
    });
    const settlement: Settlement = { checkpoint: null, failed, delivered, dropped: gone, count };
    await deps.deliveries.settle(deps.name, settlement);
    turn.place = { ...place, sequence: place.sequence + count };
    if (delivered.length > 0) turn.arrived = true;
    const untried = loaded.length - results.size;
    summary = added(summary, {
      ...{ succeeded: delivered.length, failed: failed.length, dropped: gone.length },
      remaining: untried + (away ? rest.length : 0),
      faults: failures.map(({ delivery, fault }) => ({
        event_id: delivery.event_id,
        message: fault.message,
      })),
    });
    if (away || signal.aborted) break;
  }
  return summary;
}

export const added = (left: RetrySummary, right: RetrySummary): RetrySummary => ({
  succeeded: left.succeeded + right.succeeded,
  failed: left.failed + right.failed,
  dropped: left.dropped + right.dropped,
  remaining: left.remaining + right.remaining,
  faults: [...left.faults, ...right.faults].slice(0, limits.verify_faults_max),
});

/** Where a replay goes on: behind this version of this aggregate. */
export interface ReplayPlace {
  readonly aggregate_id: string;
  readonly version: Version;
}

export interface ReplayDeps extends Pick<
  StepDeps,
  "name" | "emitter" | "deliveries" | "readStream" | "stateOf" | "schemaOf" | "jsonOf"
> {
  /** Ids of a type behind one, in order. */
  readonly readIds: (options: {
    aggregate_type: string;
    after: string | null;
    limit: number;
  }) => Promise<readonly string[]>;
}

interface ReplayAsked {
  readonly aggregate_type: string;
  readonly aggregate_id: string | null;
  readonly after: ReplayPlace | null;
  readonly limit: number;
}

interface Replayed {
  readonly delivered: number;
  /** Erased, so that there is nothing to deliver. */
  readonly dropped: number;
  /** Aggregates that came to their end. */
  readonly aggregates: number;
  /** Null at the end. With a fault, it begins with what failed. */
  readonly next: ReplayPlace | null;
  readonly fault: string | null;
}

/**
 * Delivers stored events of an aggregate, or of all of a type, once more: at most `limit`, each
 * aggregate in order, several at a time. The checkpoint stays where it is. Where one event fails,
 * what was delivered behind it comes again when the replay goes on.
 */
export async function replayEvents(
  deps: ReplayDeps,
  turn: Turn,
  asked: ReplayAsked,
): Promise<Replayed> {
  const { events, ends, next } = await gather(deps, asked);
  const open = events.filter((event) => event.erased !== true);
  const lanes = { emitter: deps.emitter, emissionOf: emissionOf(deps) };
  const { place, signal } = turn;
  const sequence = place.sequence;
  const { results, count } = await deliverInLanes(lanes, open, { sequence, signal });
  await spend(deps, turn, count);
  const delivered = [...results.values()].filter((result) => result === "delivered").length;
  const stop = events.findIndex(
    (event) => event.erased !== true && results.get(event.position) !== "delivered",
  );
  const failed = events[stop];
  if (failed === undefined) {
    const dropped = events.length - open.length;
    return { delivered, dropped, aggregates: ends.length, next, fault: null };
  }
  const fault = results.get(failed.position);
  return {
    delivered,
    dropped: events.slice(0, stop).filter((event) => event.erased === true).length,
    aggregates: ends.filter((end) => end <= stop).length,
    next: { aggregate_id: failed.aggregate_id, version: failed.version - 1 },
    fault: typeof fault === "object" ? fault.message : "interrupted",
  };
}

interface Gathered {
  /** One aggregate after the other. */
  readonly events: readonly CommittedEvent[];
  /** How many events there were when an aggregate came to its end. */
  readonly ends: readonly number[];
  readonly next: ReplayPlace | null;
}

/** As many events from a place on as are asked for, and as fit into memory. */
async function gather(deps: ReplayDeps, asked: ReplayAsked): Promise<Gathered> {
  const { aggregate_type, limit } = asked;
  const events: CommittedEvent[] = [];
  const ends: number[] = [];
  let chars = 0;
  let next = asked.after ?? (await firstOf(deps, asked));
  if (next === null) {
    throw notFound(`there is no aggregate of type ${aggregate_type}`, { aggregate_type });
  }
  const isFull = (): boolean =>
    events.length >= limit ||
    chars >= limits.plugin_page_chars_max ||
    ends.length >= limits.scan_rows_max;
  while (next !== null && !isFull()) {
    const { aggregate_id, version }: ReplayPlace = next;
    const key = { aggregate_type, aggregate_id };
    const rows = Math.min(limit - events.length, replayRows);
    const page = await deps.readStream(key, { after: version, limit: rows });
    events.push(...page);
    chars += page.reduce((sum, { payload }) => sum + payload.length, 0);
    const last = page.at(-1);
    if (last !== undefined) next = { aggregate_id, version: last.version };
    else {
      ends.push(events.length);
      next = asked.aggregate_id === null ? await nextOf(deps, key) : null;
    }
  }
  return { events, ends, next };
}

/** Read at a time: a page of large events ends not far behind what fits. */
const replayRows = 16;

async function firstOf(
  deps: ReplayDeps,
  { aggregate_type, aggregate_id }: { aggregate_type: string; aggregate_id: string | null },
): Promise<ReplayPlace | null> {
  if (aggregate_id !== null) return { aggregate_id, version: 0 };
  const [first] = await deps.readIds({ aggregate_type, after: null, limit: 1 });
  return first === undefined ? null : { aggregate_id: first, version: 0 };
}

async function nextOf(
  deps: ReplayDeps,
  { aggregate_type, aggregate_id }: StreamKey,
): Promise<ReplayPlace | null> {
  const [next] = await deps.readIds({ aggregate_type, after: aggregate_id, limit: 1 });
  return next === undefined ? null : { aggregate_id: next, version: 0 };
}

/** Numbers are used up by a replay, too: no two deliveries have the same. */
async function spend(deps: ReplayDeps, turn: Turn, count: number): Promise<void> {
  if (count === 0) return;
  turn.arrived = true;
  const settlement = { checkpoint: null, failed: [], delivered: [], dropped: [], count };
  await deps.deliveries.settle(deps.name, settlement);
  turn.place = { ...turn.place, sequence: turn.place.sequence + count };
}
