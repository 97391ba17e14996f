// What of an append can be judged without looking at the store: sizes, reserved names, ids given
// twice. Out comes what the planner takes.

import { DbxError, invalidArgument, tooLarge } from "../model/error.ts";
import type { Event } from "../model/event.ts";
import type { PlannedEvent } from "../model/plan.ts";
import type { System } from "../system.ts";
import type { LiveSettings } from "./settings.ts";

export interface PrepareDeps {
  readonly system: System;
  readonly settings: LiveSettings;
}

/** Throws `invalid_argument` or `too_large`. */
export const prepareEvent = (deps: PrepareDeps, event: Event): PlannedEvent =>
  prepare(deps, event, new Set());

/** A batch, were it of one. Throws as above, with `details.index`. */
export function prepareEvents(deps: PrepareDeps, events: readonly Event[]): PlannedEvent[] {
  const ids = new Set<string>();
  return events.map((event, index): PlannedEvent => {
    try {
      return prepare(deps, event, ids);
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      throw new DbxError(error.code, error.message, { index, ...error.details });
    }
  });
}

function prepare(deps: PrepareDeps, event: Event, ids: Set<string>): PlannedEvent {
  if (event.event_type.startsWith("$")) {
    throw invalidArgument("event types that begin with `$` belong to dbx", {
      event_type: event.event_type,
    });
  }
  const { payload_limit } = deps.settings.current();
  // UTF-8 never takes more than three bytes for a UTF-16 unit, so most payloads need no counting.
  const size = event.payload.length * 3 > payload_limit ? Buffer.byteLength(event.payload) : 0;
  if (size > payload_limit) {
    throw tooLarge(`the payload has ${size} bytes, the limit is ${payload_limit}`, {
      bytes: size,
      limit: payload_limit,
    });
  }
  const client_id = event.event_id !== undefined;
  const event_id = event.event_id?.toLowerCase() ?? deps.system.uuid();
  if (client_id && ids.has(event_id)) {
    throw invalidArgument(`event id ${event_id} appears twice in the batch`, { event_id });
  }
  ids.add(event_id);
  return {
    aggregate_type: event.aggregate_type,
    aggregate_id: event.aggregate_id,
    event_type: event.event_type,
    payload: event.payload,
    note: event.note ?? null,
    event_id,
    client_id,
    expected_version: event.expected_version ?? "any",
    salt: deps.system.random(16),
  };
}
