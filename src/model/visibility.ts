// What schemas hide from readers: whole aggregate types, and single members of states and payloads.
// Hiding is for answers only: what is appended, hashed and verified is always the whole.

import type { State } from "./aggregate.ts";
import { canonicalOf, withoutMembers, type Canonical } from "./canonical.ts";

export interface Visibility {
  readonly hidden: boolean;
  readonly hidden_fields: readonly string[];
}

/** What somebody sees who may ask for everything, and has. */
export const everything: Visibility = { hidden: false, hidden_fields: [] };

export const hidesSomething = ({ hidden, hidden_fields }: Visibility): boolean =>
  hidden || hidden_fields.length > 0;

/** The state without its hidden members. */
export const visibleState = (state: State, { hidden_fields }: Visibility): State =>
  hidden_fields.length === 0 ? state : withoutMembers(state, hidden_fields);

/**
 * The payload without its hidden members. One that is no object counts as the member `_value`, as
 * it does in the state: hidden, nothing of it is left but null.
 */
export function visiblePayload(payload: Canonical, { hidden_fields }: Visibility): Canonical {
  if (hidden_fields.length === 0) return payload;
  if (payload.startsWith("{")) return withoutMembers(payload, hidden_fields);
  return hidden_fields.includes("_value") ? nothing : payload;
}

const nothing = canonicalOf(null);
