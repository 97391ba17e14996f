// Hands events to an emitter: each aggregate in order, several aggregates at a time. An event that
// fails holds back what comes after it in its aggregate, and nothing else; where nobody is reached,
// nothing more is tried.

import type { CommittedEvent } from "../model/event.ts";
import { keyText, type Position } from "../model/stream.ts";
import type { Emission, Emitter, Fault } from "./emitter.ts";

export interface LanesDeps {
  readonly emitter: Pick<Emitter, "deliver" | "events_max" | "lanes">;
  readonly emissionOf: (event: CommittedEvent, sequence: number) => Emission;
}

export interface Delivered {
  /** By position; what is not in it was not tried. */
  readonly results: ReadonlyMap<Position, "delivered" | Fault>;
  /** Whether somebody could not be reached. */
  readonly away: boolean;
  /** How many numbers were used. */
  readonly count: number;
}

/**
 * `sequence` is the last number that was used. After the signal only what had arrived counts: an
 * interrupted delivery has not failed.
 */
export async function deliverInLanes(
  { emitter, emissionOf }: LanesDeps,
  events: readonly CommittedEvent[],
  { sequence, signal }: { sequence: number; signal: AbortSignal },
): Promise<Delivered> {
  const results = new Map<Position, "delivered" | Fault>();
  let last = sequence;
  /** The last number of what was delivered. */
  let used = sequence;
  let away = false;

  async function deliver(batch: readonly CommittedEvent[]) {
    const first = last + 1;
    last += batch.length;
    const reserved = last;
    const outcome = await delivery(emitter, {
      emissions: batch.map((event, index) => emissionOf(event, first + index)),
      signal,
    });
    // What was not delivered gives its numbers back, unless others have gone on from there.
    if (last === reserved) last = first - 1 + outcome.delivered;
    if (outcome.delivered > 0) used = Math.max(used, first - 1 + outcome.delivered);
    return outcome;
  }

  async function run(lane: readonly CommittedEvent[]): Promise<void> {
    for (let rest = lane; rest.length > 0 && !away && !signal.aborted;) {
      const batch = rest.slice(0, emitter.events_max);
      const { delivered, fault } = await deliver(batch);
      for (const { position } of batch.slice(0, delivered)) results.set(position, "delivered");
      const failed = batch[delivered];
      if (failed === undefined || fault === null) {
        rest = rest.slice(batch.length);
        continue;
      }
      if (signal.aborted) return;
      results.set(failed.position, fault);
      if (!fault.reached) away = true;
      const key = keyText(failed);
      rest = rest.slice(delivered + 1).filter((event) => keyText(event) !== key);
    }
  }

  await Promise.all(lanesOf(events, emitter.lanes).map(run));
  return { results, away, count: used - sequence };
}

/** Each aggregate is in one lane, in order. */
function lanesOf(events: readonly CommittedEvent[], lanes_max: number): CommittedEvent[][] {
  const lanes: CommittedEvent[][] = [];
  const laneOf = new Map<string, CommittedEvent[]>();
  for (const event of events) {
    const key = keyText(event);
    let lane = laneOf.get(key);
    if (lane === undefined) {
      if (lanes.length < lanes_max) lanes.push((lane = []));
      else lane = lanes[laneOf.size % lanes_max] ?? [];
      laneOf.set(key, lane);
    }
    lane.push(event);
  }
  return lanes;
}

/** An emitter that breaks its word must not end the loop, or pass for one that delivered. */
async function delivery(
  { deliver }: Pick<Emitter, "deliver">,
  { emissions, signal }: { emissions: readonly Emission[]; signal: AbortSignal },
): Promise<{ readonly delivered: number; readonly fault: Fault | null }> {
  try {
    const { delivered, fault } = await deliver(emissions, signal);
    const count = Math.min(Math.max(Math.trunc(delivered), 0), emissions.length);
    if (count === emissions.length) return { delivered: count, fault: null };
    return { delivered: count, fault: fault ?? unexplained };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { delivered: 0, fault: { message, reached: true } };
  }
}

const unexplained: Fault = { message: "not delivered, without a reason", reached: true };
