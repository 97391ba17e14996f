// The built-in projection: an aggregate's current state, folded from its events.

import { Type, type Static } from "@sinclair/typebox";
import { compareKeyTokens, endOfString, endOfValue, type Canonical } from "./canonical.ts";
import { ExactJson } from "./kinds.ts";
import type { Digest, Frontier } from "./merkle.ts";
import { AggregateId, AggregateType, type StreamKey, type Version } from "./stream.ts";

/** Canonical JSON text of an object: strings, objects and arrays by top-level key. */
export type State = Canonical;

export const emptyState = "{}" as State;

/** What a stream needs in order to grow, and what is told about it. */
export interface StreamHead extends StreamKey {
  readonly version: Version;
  /** Its size is the version. */
  readonly frontier: Frontier;
  /** Follows from the frontier; kept because the next leaf names it. */
  readonly root: Digest;
  readonly state: State;
  readonly archived: boolean;
  /** Bodies of versions up to this one are gone for good; 0 for none. */
  readonly erased: Version;
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
  merkle_root: head.root.toHex(),
  archived: head.archived,
});

/** The type of the event that says what was erased, up to which version and why. */
export const erasedType = "$erased";

/**
 * The state after one more event. After an erasure it begins anew: what dbx has to say about an
 * aggregate is no state of it.
 */
export const fold = (
  state: State,
  event: { readonly event_type: string; readonly payload: Canonical },
): State => (event.event_type === erasedType ? emptyState : evolve(state, event.payload));

/**
 * The state with the payload of one more event. Top-level scalars become strings (null the empty
 * one), objects and arrays stay as they are, a payload that is no object counts as its own member
 * `_value`, and later members replace earlier ones.
 */
export function evolve(state: State, payload: Canonical): State {
  const added = payload.startsWith("{") ? payload : `{"_value":${payload}}`;
  const oldEnd = state.length - 1;
  let evolved = "{";
  let separator = "";
  let old = 1;
  // Both are sorted by key, so this is one merge. What stays of the state is copied in runs.
  for (let next = 1; next < added.length - 1;) {
    const run = old;
    let order = 1;
    while (old < oldEnd) {
      order = compareKeyTokens(state, old, added, next);
      if (order >= 0) break;
      old = endOfMember(state, old) + 1;
    }
    if (old > run) {
      evolved += separator + state.slice(run, old - 1);
      separator = ",";
    }
    if (old < oldEnd && order === 0) old = endOfMember(state, old) + 1;
    const end = endOfMember(added, next);
    evolved += separator + asStateMember(added, next, end);
    separator = ",";
    next = end + 1;
  }
  if (old < oldEnd) evolved += separator + state.slice(old, oldEnd);
  return `${evolved}}` as State;
}

/** The member from `start` to `end` of an object, with a scalar made a string. */
function asStateMember(object: string, start: number, end: number): string {
  const value = endOfString(object, start) + 2;
  const first = object.charCodeAt(value);
  if (first === quote || first === brace || first === bracket) return object.slice(start, end);
  const key = object.slice(start, value);
  return first === lowerN ? `${key}""` : `${key}"${object.slice(value, end)}"`;
}

const quote = 0x22;
const bracket = 0x5b;
const lowerN = 0x6e;
const brace = 0x7b;

const endOfMember = (object: string, start: number): number =>
  endOfValue(object, endOfString(object, start) + 2);
