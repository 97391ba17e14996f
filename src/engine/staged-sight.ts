// What of staged events is told to whom. Whoever changes the queue is told how many events he
// changed, or he would believe that there were fewer; what schemas hide he is not told.

import type { Actor } from "../model/actor.ts";
import { canonicalOf } from "../model/canonical.ts";
import { DbxError } from "../model/error.ts";
import type { EventRecord } from "../model/event.ts";
import type { StagedEvent } from "../model/staged.ts";
import { showKey } from "../model/stream.ts";
import { everything, visiblePayload, type Visibility } from "../model/visibility.ts";
import type { SchemaView } from "./schemas.ts";

/** What somebody may see of each aggregate type. */
export type Sight = (aggregate_type: string) => Visibility;

/** Schemas hide nothing from `admin`. */
export const sightOf = (actor: Actor, view: SchemaView): Sight =>
  actor.grants.includes("admin") ? () => everything : view.visibilityOf;

/** One of a hidden type has a place in the list, and nothing of its own. */
export const tellStaged = (sight: Sight, events: readonly StagedEvent[]): StagedEvent[] =>
  events.map((event) => {
    const visibility = sight(event.aggregate_type);
    if (visibility.hidden) return { ...unnamed, ...unstaged, event_id: nil };
    return { ...event, payload: visiblePayload(event.payload, visibility) };
  });

/**
 * One of a hidden type shows its position and its time alone, which follow from those of its
 * neighbours. Version and hashes are not its own, either: they would lead to the aggregate.
 */
export const tellRecords = (sight: Sight, records: readonly EventRecord[]): EventRecord[] =>
  records.map((record) => {
    const visibility = sight(record.aggregate_type);
    if (!visibility.hidden) {
      return { ...record, payload: visiblePayload(record.payload, visibility) };
    }
    const { created_at } = record.metadata;
    const metadata = { event_id: nil, created_at, issued_by: null };
    return { ...unnamed, metadata, ...unhashed, position: record.position };
  });

/** Names that no event appended through dbx has: those of its types never begin with `$`. */
const unnamed = {
  aggregate_type: "$hidden",
  aggregate_id: "$hidden",
  event_type: "$hidden",
  payload: canonicalOf(null),
};
/** The UUID for "none" (RFC 9562, section 5.9). */
const nil = "00000000-0000-0000-0000-000000000000";
const unstaged = { note: null, expected_version: "any", issued_by: null, staged_at: null } as const;
const unhashed = { version: 1, hash: "0".repeat(64), merkle_root: "0".repeat(64) };

/**
 * The refusal of a commit, saying which staged event it is about, if it is about one. Of a hidden
 * type only index and code are told.
 */
export function tellRefusal(
  error: DbxError,
  { queue, sight }: { queue: readonly StagedEvent[]; sight: Sight },
): DbxError {
  const { index } = error.details;
  const event = typeof index === "number" ? queue[index] : undefined;
  if (event === undefined) return error;
  const { aggregate_type, aggregate_id, event_type, event_id } = event;
  if (sight(aggregate_type).hidden) {
    return new DbxError(error.code, `staged event ${index} is refused (${error.code})`, { index });
  }
  const which = `staged event ${index} (${showKey(event)} ${event_type}, id ${event_id})`;
  return new DbxError(
    error.code,
    `${which}: ${error.message}`,
    { index, aggregate_type, aggregate_id, event_type, event_id, ...error.details },
    { cause: error },
  );
}
