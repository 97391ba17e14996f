// One request of a command, and how a client of HTTP makes it.

import type { Dbx } from "../api/dbx.ts";
import type { Input, OperationName, Output } from "../api/operations.ts";
import type { Actor } from "../model/actor.ts";

/** The client has a token of its own; the actor of the interface means nothing to it. */
const nobody: Actor = { group: "cli", user: "cli", grants: [], scope: null, token_id: null };

export const askThrough = <Name extends OperationName>(
  dbx: Dbx,
  operation: Name,
  input: Input<Name>,
): Promise<Output<Name>> => dbx[operation](nobody, input);
