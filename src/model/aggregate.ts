// The built-in projection: an aggregate's current state, folded from its events.

import { Type, type Static } from "@sinclair/typebox";
import { joinMembers, splitMembers, type Canonical } from "./canonical.ts";
import { ExactJson } from "./kinds.ts";
import type { Frontier } from "./merkle.ts";
import { AggregateId, AggregateType, type StreamKey, type Version } from "./stream.ts";
import { rootOf } from "./merkle.ts";

/** Canonical JSON text of an object: strings, objects and arrays by top-level key. */
export type State = Canonical;

export const emptyState = "{}" as State;

/** What a stream needs in order to grow, and what is told about it. The root follows from the frontier. */
export interface StreamHead extends StreamKey {
  readonly version: Version;
  /** Its size is the version. */
  readonly frontier: Frontier;
  readonly state: State;
  readonly archived: boolean;
  /** `created_at` of the last event; empty before the first. */
  readonly updated_at: string;
}

export const Aggregate = Type.Object(
  {
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    version: Type.Integer({ minimum: 0, description: "Number of events." }),
    state: ExactJson("Top-level members: scalars as strings, objects and arrays as sent."),
    merkle_root: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    archived: Type.Boolean(),
  },
  { $id: "Aggregate" },
);
export type Aggregate = Static<typeof Aggregate>;

export const toAggregate = (head: StreamHead): Aggregate => ({
  aggregate_type: head.aggregate_type,
  aggregate_id: head.aggregate_id,
  version: head.version,
  state: head.state,
  merkle_root: rootOf(head.frontier).toHex(),
  archived: head.archived,
});

/**
 * The state after one more event. Top-level scalars become strings (null the empty one), objects and
 * arrays stay as they are, a payload that is no object counts as its own member `_value`, and later
 * members replace earlier ones.
 */
export function evolve(state: State, payload: Canonical): State {
  const members: [string, Canonical][] = payload.startsWith("{")
    ? splitMembers(payload)
    : [["_value", payload]];
  const added = members.map(([key, value]): [string, Canonical] => [key, asStateValue(value)]);
  if (state === emptyState) return joinMembers(added);
  return joinMembers(merge(splitMembers(state), added));
}

function asStateValue(value: Canonical): Canonical {
  const first = value.charCodeAt(0);
  if (first === quote || first === brace || first === bracket) return value;
  return (value === "null" ? '""' : `"${value}"`) as Canonical;
}

const quote = 0x22;
const brace = 0x7b;
const bracket = 0x5b;

/** Both lists are sorted by key; on equal keys the second wins. */
function merge(old: [string, Canonical][], added: [string, Canonical][]): [string, Canonical][] {
  const merged: [string, Canonical][] = [];
  let index = 0;
  for (const member of added) {
    for (let kept = old[index]; kept !== undefined && kept[0] < member[0]; kept = old[index]) {
      merged.push(kept);
      index++;
    }
    if (old[index]?.[0] === member[0]) index++;
    merged.push(member);
  }
  merged.push(...old.slice(index));
  return merged;
}
