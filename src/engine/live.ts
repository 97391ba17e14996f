// The end of the log, live: one loop for each follower, which reads after a position and waits
// where nothing is left. The writer tells what is durable and never waits for anybody.

import type { Live, LiveBatch } from "../api/live.ts";
import { covers, type Actor } from "../model/actor.ts";
import { assert, failedPrecondition, overloaded, unavailable } from "../model/error.ts";
import type { CommittedEvent, EventRecord } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import type { Position } from "../model/stream.ts";
import { everything, type Visibility } from "../model/visibility.ts";
import type { Storage } from "../storage/storage.ts";
import { narrowed } from "./covered.ts";
import type { Sight } from "./list.ts";
import { createLiveTail, type LiveTail } from "./live-tail.ts";
import { createWaiting } from "./live-waiting.ts";
import { createLogReader, logSelectionOf, selects, type Selection } from "./log-reader.ts";
import type { Schemas } from "./schemas.ts";
import { createSight, recordOf } from "./sight.ts";
import { nextTurn } from "./turns.ts";

export interface LiveLog extends Live {
  /** To be told what a commit has made durable, in the order of positions. Never throws. */
  readonly advance: (events: readonly CommittedEvent[]) => void;
  /** The last position that is known to be durable. */
  readonly head: () => Position;
  /** Resolves when the log goes beyond a position, after the signal, or when dbx stops. */
  readonly reached: (position: Position, signal: AbortSignal) => Promise<void>;
  /** What is durable behind a position; where there is nothing, `end` is how far that is known. */
  readonly readLog: ReadPage;
  readonly figures: () => Record<string, number>;
  /** Ends everybody with `unavailable`. */
  readonly close: () => void;
}

export interface LiveBounds {
  /** Events of the tail, and characters of their payloads. */
  readonly events_max: number;
  readonly chars_max: number;
  readonly heartbeat_ms: number;
  readonly followers_max: number;
}

/** Those in force; tests have smaller ones. */
export const liveBounds: LiveBounds = {
  events_max: limits.live_tail_events_max,
  chars_max: limits.live_tail_chars_max,
  heartbeat_ms: limits.heartbeat_ms,
  followers_max: limits.subscribers_max,
};

/** `head` is where the log ends now. */
export function createLive(deps: {
  readonly storage: Storage;
  readonly schemas: Pick<Schemas, "view">;
  readonly head: Position;
  readonly bounds: LiveBounds;
}): LiveLog {
  const { storage, bounds } = deps;
  const tail = createLiveTail({ ...bounds, head: deps.head });
  const waiting = createWaiting({ ...bounds, head: tail.head });
  const sightOf = createSight(deps.schemas);
  const show = createShow();
  const pagesOf = createPages({ storage, tail });
  /** How to wake each follower. */
  const followers = new Set<() => void>();
  /** And those within dbx who wait for the log to grow. */
  const sleepers = new Set<() => void>();
  let closed = false;

  /** False once the follower has gone. */
  function goesOn(signal: AbortSignal): boolean {
    if (signal.aborted) return false;
    if (closed) throw unavailable("dbx is stopping");
    return true;
  }

  function requireRoom(): void {
    if (followers.size < bounds.followers_max) return;
    const limit = bounds.followers_max;
    throw overloaded("too many live streams at once; try again", { followers: limit, limit });
  }

  async function* batches(
    { after, include_hidden, ...asked }: Asked & { readonly after: Position },
    { actorOf, signal }: { actorOf: () => Actor; signal: AbortSignal },
  ): AsyncGenerator<LiveBatch, void> {
    const selection = narrowed(logSelectionOf(asked), actorOf().scope);
    if (after > tail.head()) throw notReached(after, tail.head());
    if (!goesOn(signal)) return;
    requireRoom();
    let release = (): void => {};
    const leave = (): void => {
      followers.delete(wakeUp);
      release();
    };
    const wakeUp = (): void => release();
    followers.add(wakeUp);
    signal.addEventListener("abort", leave);
    try {
      const sees = (): boolean => {
        const actor = actorOf();
        return seesAny(selection, { actor, sight: sightOf(actor, include_hidden) });
      };
      const readPage = pagesOf(selection, sees);
      let position = after;
      let rows = first_rows;
      let given_ms = -Infinity;
      for (;;) {
        const { events, end } = await readPage({ after: position, limit: rows });
        if (!goesOn(signal)) return;
        const actor = actorOf();
        const sight = sightOf(actor, include_hidden);
        const { batch, looked } = show(events, { selection, actor, sight, end });
        ({ position } = batch);
        // What did not fit is read again, so no more is asked for than is likely to fit.
        if (looked < events.length) rows = looked;
        else if (2 * batch.records.length <= limits.live_batch_rows)
          rows = Math.min(2 * rows, limits.scan_rows_max);
        if (batch.records.length > 0 || performance.now() - given_ms >= bounds.heartbeat_ms) {
          yield batch;
          given_ms = performance.now();
        }
        if (!goesOn(signal)) return;
        if (position === tail.head()) {
          const wait = waiting.wait(selection, actor);
          ({ release } = wait);
          position = (await wait.woken) ?? position;
          if (!goesOn(signal)) return;
        }
      }
    } catch (error) {
      // Who has gone need not know, and a storage that is being closed fails in its own words.
      if (goesOn(signal)) throw error;
    } finally {
      signal.removeEventListener("abort", leave);
      leave();
    }
  }

  async function reached(position: Position, signal: AbortSignal): Promise<void> {
    while (tail.head() <= position && !closed && !signal.aborted) {
      const { woken, release } = waiting.wait(everyEvent, { scope: null });
      sleepers.add(release);
      signal.addEventListener("abort", release);
      await woken;
      signal.removeEventListener("abort", release);
      sleepers.delete(release);
    }
  }

  return {
    head: tail.head,
    reached,
    readLog: pagesOf(everyEvent, () => true),
    followLog: (actorOf, asked, signal) =>
      batches({ ...asked, after: asked.after ?? tail.head() }, { actorOf, signal }),
    advance: (events) => waiting.wake(tail.add(events)),
    figures: () => ({ followers: followers.size, ...tail.figures() }),
    close: () => {
      closed = true;
      for (const wakeUp of [...followers, ...sleepers]) wakeUp();
    },
  };
}

const everyEvent: Selection = {};

type Asked = Parameters<Live["followLog"]>[1];

/** Payloads may be large: a follower begins with few rows and asks for more while they fit. */
const first_rows = 16;

const notReached = (after: Position, position: Position) =>
  failedPrecondition(
    `this log ends at position ${position} and has not reached ${after}: it is another one, or ` +
      "was restored from a backup; begin again from a position of this log",
    { after, position },
  );

/** What lies after a position; where nothing does, `end` is how far that is known. */
type ReadPage = (options: { after: Position; limit: number }) => Promise<{
  readonly events: readonly CommittedEvent[];
  readonly end: Position;
}>;

/** Whether anything of an aggregate that is selected can be shown; true where none is named. */
function seesAny(
  { aggregate_type, aggregate_id }: Selection,
  { actor, sight }: { actor: Actor; sight: Sight },
): boolean {
  if (aggregate_type === undefined || aggregate_id === undefined) return true;
  return covers(actor, { aggregate_type, aggregate_id }) && !sight(aggregate_type).hidden;
}

/** Pages from the tail where it has them, else from the storage. */
function createPages({ storage, tail }: { storage: Storage; tail: LiveTail }) {
  let turn = Promise.resolve();
  /** All who are behind share one page in each turn, so that appends need not wait for them. */
  const takeTurn = (): Promise<void> => (turn = turn.then(nextTurn));

  return (selection: Selection, sees: () => boolean): ReadPage => {
    const read = createLogReader(storage, selection);
    const isOfAll = selection.aggregate_id === undefined;
    return async ({ after, limit }) => {
      const kept = tail.read({ after, limit });
      if (kept !== null) return { events: kept, end: after };
      await takeTurn();
      const head = tail.head();
      // Pages of one aggregate end where its events lie, and the position of a batch would tell.
      if (!isOfAll && !sees()) return { events: [], end: head };
      const found = await read({ after, limit });
      assert(!isOfAll || found[0]?.position === after + 1, "the log has no gaps up to its head");
      // Beyond the head is what nobody has been told yet: it may not be durable.
      const events = found.filter(({ position }) => position <= head);
      return { events, end: events.length === 0 ? head : after };
    };
  };
}

/** Picks a batch out of a page. Those who see the same of an event get the same record of it. */
function createShow() {
  const records = new WeakMap<Visibility, WeakMap<CommittedEvent, EventRecord>>();

  function shared(event: CommittedEvent, visibility: Visibility): EventRecord {
    const seen = visibility.hidden_fields.length === 0 ? everything : visibility;
    let known = records.get(seen);
    if (known === undefined) records.set(seen, (known = new WeakMap()));
    let record = known.get(event);
    if (record === undefined) known.set(event, (record = recordOf(event, seen)));
    return record;
  }

  return (
    events: readonly CommittedEvent[],
    asked: { selection: Selection; actor: Actor; sight: Sight; end: Position },
  ): { batch: LiveBatch; looked: number } => {
    const { selection, actor, sight, end } = asked;
    const picked: EventRecord[] = [];
    let chars = 0;
    let looked = 0;
    for (const event of events) {
      if (picked.length === limits.live_batch_rows) break;
      const visibility = sight(event.aggregate_type);
      if (selects(selection, event) && covers(actor, event) && !visibility.hidden) {
        const record = shared(event, visibility);
        chars += record.payload.length;
        if (picked.length > 0 && chars > limits.live_batch_chars_max) break;
        picked.push(record);
      }
      looked++;
    }
    return { batch: { records: picked, position: events[looked - 1]?.position ?? end }, looked };
  };
}
