// The gate: every request of every surface passes here. Decode once, authorize once, then ask.

import { requireGrant, type Actor } from "../model/actor.ts";
import type { Dbx } from "./dbx.ts";
import { decode } from "./decode.ts";
import { operations, type OperationName, type Output } from "./operations.ts";

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
    const { input: schema, grant } = operations[request.operation];
    const input = decode(schema, request.input);
    if (grant !== null) requireGrant(request.actor, grant);
    return dbx[request.operation](request.actor, input);
  } catch (error) {
    return Promise.reject(error);
  }
}
