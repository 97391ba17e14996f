// Whether events that come with known ids are the first ones again (contract section 4). Where a
// schema hides something, comparing would tell whoever guesses whether he guessed right.

import type { Issuer } from "./actor.ts";
import { alreadyExists } from "./error.ts";
import type { CommittedEvent, EventId } from "./event.ts";
import type { PlanContext, PlannedEvent, Transaction } from "./plan.ts";
import { keyText, type StreamKey } from "./stream.ts";

/** What makes an event the same when its id comes again; expectation and time may differ. */
interface Issued extends StreamKey, Pick<PlannedEvent, "event_type" | "note" | "payload"> {
  readonly issued_by: Issuer | null;
}

/**
 * Whether two events with one id are one event. Of a type that hides something only whoever issued
 * the first is told; to anybody else it is another event, whatever it says.
 */
export const isSameEvent = (
  events: { readonly first: Issued; readonly again: Issued },
  hidesSomething: PlanContext["hidesSomething"],
): boolean => {
  const { first, again } = events;
  return (
    (isSameIssuer(first, again) || !hidesSomething(first.aggregate_type)) &&
    first.aggregate_type === again.aggregate_type &&
    first.aggregate_id === again.aggregate_id &&
    first.event_type === again.event_type &&
    first.note === again.note &&
    first.payload === again.payload
  );
};

const isSameIssuer = (first: Issued, again: Issued): boolean =>
  first.issued_by?.group === again.issued_by?.group &&
  first.issued_by?.user === again.issued_by?.user;

/**
 * The first events again, if the transaction repeats some; null, if it is new. Throws
 * `already_exists` where an id belongs to another event, or where not all of them are known.
 */
export function repetition(
  { events, batch, issued_by: issuer }: Transaction,
  known: {
    readonly firstOf: (id: EventId) => CommittedEvent | undefined;
    readonly hidesSomething: PlanContext["hidesSomething"];
  },
): readonly CommittedEvent[] | null {
  const found = events.map((event) =>
    event.client_id ? known.firstOf(event.event_id) : undefined,
  );
  if (!found.some((first) => first !== undefined)) return null;
  const at = (index: number) => (batch ? { index } : {});
  events.forEach(({ issued_by = issuer, ...event }, index) => {
    const first = found[index];
    const again = { ...event, issued_by };
    if (first?.erased === true && keyText(first) === keyText(event)) {
      const { event_id } = event;
      const details = { ...at(index), event_id, erased: true };
      throw alreadyExists(`event ${event_id} is committed already, and erased since`, details);
    }
    if (first === undefined || isSameEvent({ first, again }, known.hidesSomething)) return;
    const { event_id } = event;
    const details = { ...at(index), event_id };
    throw alreadyExists(`event id ${event_id} is already used by another event`, details);
  });
  return found.map((first, index) => {
    if (first !== undefined) return first;
    const event = events[index];
    const which = event?.client_id === true ? { event_id: event.event_id } : {};
    throw alreadyExists(
      "the batch repeats events that are committed already together with new ones",
      { ...at(index), ...which },
    );
  });
}
