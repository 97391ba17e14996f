// What dbx is to whoever uses it, in process or over the network: one function per operation.

import type { Actor } from "../model/actor.ts";
import type { Input, OperationName, Output } from "./operations.ts";

/** The engine decides by the actor; a client has its own token and ignores it. Errors are DbxError. */
export type Dbx = {
  readonly [Name in OperationName]: (actor: Actor, input: Input<Name>) => Promise<Output<Name>>;
};

/** The same where it is known already who asks. */
export type Ask = <Name extends OperationName>(
  operation: Name,
  input: Input<Name>,
) => Promise<Output<Name>>;
