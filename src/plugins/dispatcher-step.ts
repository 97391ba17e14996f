// One step of a plugin: what is due and a page of the log are delivered, and what came of it is
// settled as one. A crash before that repeats the step. How steps follow each other is in
// dispatcher.ts.

import { erasedType } from "../model/aggregate.ts";
import { toRecord, type CommittedEvent } from "../model/event.ts";
import { laterBy } from "../model/instant.ts";
import { limits } from "../model/limits.ts";
import { retryDelay_ms, type Delivery } from "../model/plugin.ts";
import { keyText, type Position, type StreamKey, type Version } from "../model/stream.ts";
import type { Deliveries, Failure, Settlement } from "../storage/deliveries.ts";
import { deliverInLanes, type Delivered } from "./dispatcher-lanes.ts";
import type { States } from "./dispatcher-states.ts";
import type { Emission, Emitter, Fault, GivenUp } from "./emitter.ts";

export interface StepDeps {
  readonly name: string;
  readonly emitter: Emitter;
  readonly deliveries: Deliveries;
  /**
   * Events after a position, ascending, of what is durable; where there are none, `end` is how far
   * that is known.
   */
  readonly readLog: (options: { after: Position; limit: number }) => Promise<LogPage>;
  /** The one at a position, of what is durable. */
  readonly readEvent: (position: Position) => Promise<CommittedEvent | undefined>;
  /** Events of an aggregate behind a version, ascending. */
  readonly readStream: (
    key: StreamKey,
    options: { after: Version; limit: number },
  ) => Promise<CommittedEvent[]>;
  readonly stateOf: States;
  readonly schemaOf: (aggregate_type: string) => string | null;
  /** The record as one line of JSON. */
  readonly jsonOf: (record: Emission["record"]) => string;
  readonly now: () => string;
  /** From 0 to 1. */
  readonly jitter: () => number;
  readonly attempts_max: () => number;
  /** An erasure took so many deliveries out of the outbox. */
  readonly dropped: (event: CommittedEvent, deliveries: number) => Promise<void>;
}

interface LogPage {
  readonly events: readonly CommittedEvent[];
  readonly end: Position;
}

interface FittedPage extends LogPage {
  readonly fitted: number | null;
}

/** Where a plugin is, as the loop knows it. */
export interface Place {
  readonly checkpoint: Position;
  readonly sequence: number;
}

/** While nothing else of the plugin is under way. */
export interface Turn {
  /** Moves on with each settlement. */
  place: Place;
  readonly signal: AbortSignal;
  /** Set by whoever has delivered something: there is no reason to wait any more. */
  arrived: boolean;
}

interface StepCounts {
  readonly delivered: number;
  /** Attempts that failed. */
  readonly failed: number;
  readonly dropped: number;
}

export interface Stepped extends StepCounts {
  readonly place: Place;
  /** Whether there was anything to do. */
  readonly moved: boolean;
  /** Whether somebody could not be reached. */
  readonly away: boolean;
  readonly fault: Fault | null;
  /** How many events fitted, where the log had more of them than that; null where all did. */
  readonly fitted: number | null;
}

interface Loaded {
  readonly event: CommittedEvent;
  readonly delivery: Delivery;
}

/** How much a step takes. */
interface StepSize {
  readonly events: number;
  /** Nothing of the log as long as something in the outbox waits for the receiver. */
  readonly retries_first: boolean;
}

export async function takeStep(
  deps: StepDeps,
  place: Place,
  { size, signal }: { size: StepSize; signal: AbortSignal },
): Promise<Stepped> {
  const { deliveries, name } = deps;
  const holdsLog = size.retries_first && (await deliveries.nextDue(name)) !== null;
  const page = holdsLog ? nothingOf(place) : await readPage(deps, place, size.events);
  // Before anything of it is delivered: nobody may read any more what an erasure leaves behind.
  for (const event of page.events.filter(({ event_type }) => event_type === erasedType)) {
    const dropped = await deliveries.dropStream(event, { before: event.position });
    if (dropped > 0) await deps.dropped(event, dropped);
  }
  const bounds = { now: deps.now(), limit: size.events, lane_limit: size.events };
  const retries = await loadEvents(deps, await deliveries.readDue(name, bounds));
  const keys = [...new Map(page.events.map((event) => [keyText(event), event])).values()];
  const waiting = new Set((await deliveries.waiting(name, keys)).map(keyText));
  const open = page.events.filter((event) => !event.erased && !waiting.has(keyText(event)));
  const events = [...retries.loaded.map(({ event }) => event), ...open];
  const lanes = { emitter: deps.emitter, emissionOf: emissionOf(deps) };
  const delivered = await deliverInLanes(lanes, events, { sequence: place.sequence, signal });
  const givenUp = deps.emitter.given_up?.all() ?? [];
  const settlement = settlementOf(deps, { place, page, waiting, retries, delivered, givenUp });
  if (isNothing(settlement, place)) return idle(place, delivered);
  await deliveries.settle(name, settlement);
  deps.emitter.given_up?.forget(givenUp);
  return { ...steppedOf(settlement, { place, delivered }), fitted: page.fitted };
}

const nothingOf = ({ checkpoint }: Place): FittedPage => ({
  ...{ events: [], end: checkpoint, fitted: null },
});

/** As many events as fit into a step; the first one always does. */
async function readPage(
  { readLog }: StepDeps,
  { checkpoint }: Place,
  limit: number,
): Promise<FittedPage> {
  const events: CommittedEvent[] = [];
  let end = checkpoint;
  let chars = 0;
  // Each part takes a turn of its own: a large step must not hold up those who append.
  while (events.length < limit && chars <= limits.plugin_page_chars_max) {
    const most = Math.min(limit - events.length, limits.plugin_page_events);
    const part = await readLog({ after: events.at(-1)?.position ?? checkpoint, limit: most });
    ({ end } = part);
    events.push(...part.events);
    chars += part.events.reduce((sum, { payload }) => sum + payload.length, 0);
    if (part.events.length < most) break;
  }
  const fitting = fit(events, (event) => event.payload.length);
  return {
    events: fitting,
    end: fitting.at(-1)?.position ?? Math.max(end, checkpoint),
    fitted: fitting.length < events.length ? fitting.length : null,
  };
}

function fit<Row>(rows: readonly Row[], sizeOf: (row: Row) => number): Row[] {
  let chars = 0;
  const end = rows.findIndex((row, index) => {
    chars += sizeOf(row);
    return index > 0 && chars > limits.plugin_page_chars_max;
  });
  return rows.slice(0, end === -1 ? rows.length : end);
}

interface Retries {
  readonly loaded: readonly Loaded[];
  /** What is erased, or of another log. */
  readonly gone: readonly Position[];
}

/** The events of these deliveries, one by one, as many as fit into a step. */
export async function loadEvents(
  { readEvent }: Pick<StepDeps, "readEvent">,
  due: readonly Delivery[],
): Promise<Retries> {
  const loaded: Loaded[] = [];
  const gone: Position[] = [];
  let chars = 0;
  for (const delivery of due) {
    if (chars > limits.plugin_page_chars_max) break;
    const { position, event_id } = delivery;
    const event = await readEvent(position);
    if (event === undefined || event.event_id !== event_id || event.erased) {
      gone.push(position);
      continue;
    }
    loaded.push({ event, delivery });
    chars += event.payload.length;
  }
  return { loaded, gone };
}

export const emissionOf =
  ({
    stateOf,
    schemaOf,
    jsonOf,
    readStream,
  }: Pick<StepDeps, "stateOf" | "schemaOf" | "jsonOf" | "readStream">) =>
  (event: CommittedEvent, sequence: number): Emission => {
    const record = toRecord(event);
    return {
      record,
      // Only where it is asked for, and once for each time that it is.
      get json() {
        return jsonOf(record);
      },
      body: bodyOf(event),
      sequence,
      state: () => stateOf(event),
      before: async () => {
        if (event.event_type !== erasedType) return [];
        const limit = event.version - 1;
        if (limit >= limits.transaction_events_max) return [];
        const erased = await readStream(event, { after: 0, limit });
        return erased.map((each) => ({ record: toRecord(each), body: bodyOf(each) }));
      },
      schema: () => schemaOf(event.aggregate_type),
    };
  };

const bodyOf = ({ salt, content_digest, erased }: CommittedEvent) => ({
  ...{ salt: erased === true ? noSalt : salt, content_digest },
});
const noSalt = new Uint8Array(0);

interface Step {
  readonly place: Place;
  readonly page: LogPage;
  /** Aggregates with a pending delivery, by `keyText`. */
  readonly waiting: ReadonlySet<string>;
  readonly retries: Retries;
  readonly delivered: Delivered;
  readonly givenUp: readonly GivenUp[];
}

function settlementOf(deps: StepDeps, step: Step): Settlement {
  const { place, page, retries } = step;
  const { results, count } = step.delivered;
  const probe = probeOf(results);
  const failed = step.givenUp.map((given) => deadOf(given, deps.attempts_max()));
  const arrived: Position[] = [];
  for (const { delivery, event } of retries.loaded) {
    const result = results.get(event.position);
    if (result === "delivered") arrived.push(event.position);
    else if (result !== undefined && (result.reached || event.position === probe))
      failed.push(failureOf(deps, delivery, result));
  }
  const checkpoint = checkpointOf(step);
  const dropped: Position[] = [...retries.gone];
  for (const event of page.events) {
    const { position } = event;
    if (position > checkpoint) break;
    const result = results.get(position);
    if (event.erased) dropped.push(position);
    else if (result === undefined) failed.push(untriedOf(event));
    else if (result !== "delivered") {
      const isCounted = result.reached || position === probe;
      failed.push(isCounted ? failureOf(deps, untriedOf(event), result) : untriedOf(event));
    }
  }
  return {
    ...{ checkpoint: Math.max(checkpoint, place.checkpoint), failed, delivered: arrived, dropped },
    count,
  };
}

/**
 * Of deliveries that reached nobody one counts as tried, the first: nobody was there for any of
 * them, and a receiver that is away must not use up the attempts of a whole page.
 */
function probeOf(results: Delivered["results"]): Position | null {
  let probe: Position | null = null;
  for (const [position, result] of results) {
    if (result === "delivered" || result.reached) continue;
    probe = probe === null ? position : Math.min(probe, position);
  }
  return probe;
}

/** What might have been tried, and comes after everything that was, stays in the log. */
function checkpointOf({ page, waiting, delivered: { results } }: Step): Position {
  const tried = page.events.findLast(({ position }) => results.has(position))?.position ?? 0;
  const left = page.events.find(
    (event) => event.position > tried && event.erased !== true && !waiting.has(keyText(event)),
  );
  return left === undefined ? page.end : Math.max(tried, left.position - 1);
}

/** In the outbox, behind another or because another was tried instead. */
const untriedOf = (event: CommittedEvent): Failure => ({
  aggregate_type: event.aggregate_type,
  aggregate_id: event.aggregate_id,
  position: event.position,
  version: event.version,
  event_id: event.event_id,
  event_type: event.event_type,
  ...{ attempts: 0, dead: false, next_attempt_at: null, last_error: null },
});

/** It counted as delivered until now, so it is in nobody's way. */
const deadOf = ({ record, message }: GivenUp, attempts: number): Failure => ({
  aggregate_type: record.aggregate_type,
  aggregate_id: record.aggregate_id,
  position: record.position,
  version: record.version,
  event_id: record.metadata.event_id,
  event_type: record.event_type,
  ...{ attempts, dead: true, next_attempt_at: null, last_error: message },
});

/** One more attempt; `dead` ones stay dead. */
export function failureOf(
  { now, jitter, attempts_max }: Pick<StepDeps, "now" | "jitter" | "attempts_max">,
  before: Failure,
  { message }: Fault,
): Failure {
  const attempts = before.attempts + 1;
  const dead = before.dead || attempts >= attempts_max();
  const next_attempt_at = dead ? null : laterBy(now(), retryDelay_ms(attempts, jitter()));
  const last_error = message.slice(0, limits.plugin_fault_chars_max);
  return { ...before, attempts, dead, next_attempt_at, last_error };
}

const isNothing = ({ checkpoint, failed, delivered, dropped }: Settlement, place: Place): boolean =>
  checkpoint === place.checkpoint && failed.length + delivered.length + dropped.length === 0;

const faultOf = ({ results }: Delivered): Fault | null => {
  for (const result of results.values()) if (result !== "delivered") return result;
  return null;
};

const countsOf = ({ results }: Delivered) => {
  const delivered = [...results.values()].filter((result) => result === "delivered").length;
  return { delivered, failed: results.size - delivered };
};

const idle = (place: Place, delivered: Delivered): Stepped => ({
  ...{ place, moved: false, away: delivered.away, fault: faultOf(delivered) },
  ...{ ...countsOf(delivered), dropped: 0, fitted: null },
});

const steppedOf = (
  { checkpoint, dropped, count }: Settlement,
  { place, delivered }: Pick<Step, "place" | "delivered">,
): Omit<Stepped, "fitted"> => ({
  place: {
    checkpoint: checkpoint ?? place.checkpoint,
    sequence: place.sequence + count,
  },
  ...{ moved: true, away: delivered.away, fault: faultOf(delivered) },
  ...{ ...countsOf(delivered), dropped: dropped.length },
});
