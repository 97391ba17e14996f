// Lists of aggregates: which are asked for, and one page of them, however many lie between.

import type { Output } from "../api/operations.ts";
import type { Actor } from "../model/actor.ts";
import { toAggregate, type Aggregate, type State, type StreamHead } from "../model/aggregate.ts";
import type { Filter } from "../model/filter/filter.ts";
import { matches, matchesInSteps } from "../model/filter/match.ts";
import { parseFilter } from "../model/filter/parse.ts";
import { parseInstant } from "../model/instant.ts";
import { limits } from "../model/limits.ts";
import type { StreamKey } from "../model/stream.ts";
import { visibleState, type Visibility } from "../model/visibility.ts";
import type { Storage } from "../storage/storage.ts";
import { readHeadsOf } from "./covered.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { aggregateAtInstant } from "./past.ts";
import { readPage } from "./reader.ts";
import { createTurns, nextTurn } from "./turns.ts";

/** What somebody sees of the aggregates of a type. */
export type Sight = (aggregate_type: string) => Visibility;

/** Which aggregates a list is of, decoded. */
interface Selection {
  readonly aggregate_type: string | null;
  readonly archived: boolean | undefined;
  readonly filter: Filter | undefined;
  /** The database at this instant, in the form of `created_at`; undefined for now. */
  readonly instant: string | undefined;
  readonly after: StreamKey | null;
}

/** Throws `invalid_argument` for a filter, an instant or a cursor that is none. */
export const selectionOf = (asked: {
  type?: string;
  archived?: boolean;
  filter?: string;
  at?: string;
  cursor?: string;
}): Selection => ({
  aggregate_type: asked.type ?? null,
  archived: asked.archived,
  filter: asked.filter === undefined ? undefined : parseFilter(asked.filter),
  instant: asked.at === undefined ? undefined : parseInstant(asked.at, { path: "/at" }),
  after: asked.cursor === undefined ? null : readCursor(asked.cursor),
});

/** One page in key order. It has a cursor exactly if another aggregate would follow. */
export async function listAggregates(
  storage: Storage,
  asked: { selection: Selection; sight: Sight; actor: Actor; limit: number; skip: number },
): Promise<Output<"listAggregates">> {
  const { selection, sight, limit, skip } = asked;
  const read = readHeadsOf(storage, asked.actor);
  const { aggregate_type, after } = selection;
  const { shown, more } = await readPage<StreamHead, Aggregate>({
    limit,
    skip,
    peek: true,
    read: (last, rows) => {
      const hidden = last !== undefined && sight(last.aggregate_type).hidden;
      const behind = hidden ? endOfType(last.aggregate_type) : (last ?? after);
      return read({ aggregate_type, after: behind, limit: rows });
    },
    show: showing(storage, selection, sight),
    bytes: (aggregate) => aggregate.state.length,
  });
  const last = more ? shown.at(-1) : undefined;
  return { aggregates: shown, next_cursor: last === undefined ? null : writeCursor(last) };
}

/** What a list shows of one aggregate. A filter is asked about that, and nothing else. */
function showing(
  storage: Storage,
  { archived, filter, instant }: Selection,
  sight: Sight,
): (head: StreamHead) => Promise<Aggregate | undefined> {
  const giveWay = createTurns();
  return async (head) => {
    const visibility = sight(head.aggregate_type);
    if (visibility.hidden) return undefined;
    if (archived !== undefined && head.archived !== archived) return undefined;
    const aggregate = await momentary(storage, head, instant);
    if (aggregate === undefined) return undefined;
    const state = visibleState(aggregate.state, visibility);
    if (filter !== undefined) {
      const characters = state.length * filter.comparisons + filter.values * value_chars;
      await giveWay(characters);
      const isLong = characters > limits.scan_chars_max;
      const isMeant = isLong ? await matchesInTurns(filter, state) : matches(filter, state);
      if (!isMeant) return undefined;
    }
    return { ...aggregate, state };
  };
}

/** A hundred comparisons of the largest state take seconds: others have a turn between two. */
async function matchesInTurns(filter: Filter, state: State): Promise<boolean> {
  const steps = matchesInSteps(filter, state);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await nextTurn();
  }
}

/** Comparing with one value takes as long as walking over some characters of a state (measured). */
const value_chars = 16;

async function momentary(
  storage: Storage,
  head: StreamHead,
  instant: string | undefined,
): Promise<Aggregate | undefined> {
  if (instant === undefined) return toAggregate(head);
  if (head.updated_at > instant) await nextTurn();
  return aggregateAtInstant(storage, head, instant);
}

/**
 * Behind every aggregate of a type: no id is above this one. Hidden types may be large, and are
 * not walked through.
 */
const endOfType = (aggregate_type: string): StreamKey => ({
  aggregate_type,
  aggregate_id: "\u{10ffff}".repeat(limits.name_chars_max),
});
