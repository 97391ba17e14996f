// From outputs of operations to messages. Payloads and states travel as the JSON text they are.

import { fromJson } from "../api/json.ts";
import { splitMembers } from "../model/canonical.ts";
import type { Aggregate } from "../model/aggregate.ts";
import type { EventRecord } from "../model/event.ts";

/** An event as `Event` of the contract. */
export const eventMessage = ({ payload, ...record }: EventRecord): object => ({
  ...record,
  payload_json: payload,
});

/** An aggregate as `Aggregate` of the contract. */
export const aggregateMessage = ({ state, ...aggregate }: Aggregate): object => ({
  ...aggregate,
  state: Object.fromEntries(
    // Strings as such, objects and arrays as their text.
    splitMembers(state).map(([key, value]) => [
      key,
      value.startsWith('"') ? fromJson(undefined, value) : value,
    ]),
  ),
  state_json: state,
});
