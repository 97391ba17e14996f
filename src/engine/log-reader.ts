// Which events of the log somebody asks for, and reading on among them: an aggregate's by its own
// stream, all others by walking the log. Whether they may be shown is decided elsewhere.

import { invalidArgument } from "../model/error.ts";
import type { CommittedEvent } from "../model/event.ts";
import type { Position, StreamKey, Version } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";

/** Names that an event must have; those that are missing may be any. */
export interface Selection {
  readonly aggregate_type?: string;
  /** Only beside a type: alone it would name several aggregates. */
  readonly aggregate_id?: string;
  readonly event_type?: string;
}

/** Throws `invalid_argument` for an id without its type. */
export function logSelectionOf(asked: Selection): Selection {
  const { aggregate_type, aggregate_id, event_type } = asked;
  if (aggregate_id !== undefined && aggregate_type === undefined) {
    throw invalidArgument("aggregate_id names an aggregate only together with aggregate_type", {
      path: "/aggregate_id",
    });
  }
  return {
    ...(aggregate_type === undefined ? {} : { aggregate_type }),
    ...(aggregate_id === undefined ? {} : { aggregate_id }),
    ...(event_type === undefined ? {} : { event_type }),
  };
}

export const selects = (
  { aggregate_type, aggregate_id, event_type }: Selection,
  event: CommittedEvent,
): boolean =>
  (aggregate_type === undefined || aggregate_type === event.aggregate_type) &&
  (aggregate_id === undefined || aggregate_id === event.aggregate_id) &&
  (event_type === undefined || event_type === event.event_type);

/**
 * Events with a position above `after`, ascending, at most `limit`: every selected one is among
 * them, and maybe others. None only at the end.
 */
type LogReader = (options: { after: Position; limit: number }) => Promise<CommittedEvent[]>;

/** Remembers where it is in an aggregate's stream, so that reading on need not search again. */
export function createLogReader(storage: Storage, selection: Selection): LogReader {
  const { aggregate_type, aggregate_id } = selection;
  if (aggregate_type === undefined || aggregate_id === undefined) {
    return (page) => storage.readLog(page);
  }
  const key = { aggregate_type, aggregate_id };
  let last: { readonly position: Position; readonly version: Version } | undefined;
  return async ({ after, limit }) => {
    const known = last?.position === after ? last.version : undefined;
    const version = known ?? (await versionAt(storage, key, after));
    const events = await storage.readStream(key, { after: version, limit });
    last = events.at(-1) ?? { position: after, version };
    return events;
  };
}

/**
 * The version an aggregate had when the log ended at a position: 0 before its first event. A binary
 * search over its versions, whose positions ascend.
 */
async function versionAt(storage: Storage, key: StreamKey, position: Position): Promise<Version> {
  let low = 0;
  let high = (await storage.readHead(key))?.version ?? 0;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const [event] = await storage.readStream(key, { after: middle - 1, limit: 1 });
    if (event !== undefined && event.position <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
