// The gate: every request of every surface passes here. Decode once, authorize once, then ask.

import { requireEverything, requireGrant, requireScope, type Actor } from "../model/actor.ts";
import { assert } from "../model/error.ts";
import type { StreamKey } from "../model/stream.ts";
import type { Dbx } from "./dbx.ts";
import { decode } from "./decode.ts";
import { operations, type OperationName, type Output } from "./operations.ts";
import type { Operation } from "./operations/operation.ts";

export interface Request<Name extends OperationName> {
  readonly operation: Name;
  /** As it came, but for exact members, which are canonical text already. */
  readonly input: unknown;
  readonly actor: Actor;
}

/**
 * Rejects with `invalid_argument` before `permission_denied`: who may not, still learns what was
 * wrong. The promise is the engine's own, because one of ours around it would cost every request
 * three turns.
 */
export function call<Name extends OperationName>(
  dbx: Dbx,
  request: Request<Name>,
): Promise<Output<Name>> {
  try {
    const row = operations[request.operation];
    const input = decode(row.input, request.input);
    const { actor } = request;
    if (row.grant !== null) requireGrant(actor, row.grant);
    if (actor.scope !== null) requireReach(actor, row, input);
    return dbx[request.operation](actor, input);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** For those with a scope. What is `listed` the engine narrows; nothing else passes unlooked at. */
function requireReach(actor: Actor, { reach, kind }: Operation, input: object): void {
  switch (reach) {
    case "aggregate":
      return requireScope(actor, keyOf(input), kind);
    case "events":
      return eventsOf(input).forEach((event) => requireScope(actor, keyOf(event), kind));
    case "store":
      return requireEverything(actor);
    case "listed":
    case "none":
  }
}

function keyOf(input: object): StreamKey {
  assert("aggregate_type" in input && "aggregate_id" in input, "the input names an aggregate");
  const { aggregate_type, aggregate_id } = input;
  return { aggregate_type: String(aggregate_type), aggregate_id: String(aggregate_id) };
}

function eventsOf(input: object): readonly object[] {
  assert("events" in input && Array.isArray(input.events), "the input has events");
  return input.events;
}
