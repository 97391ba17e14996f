// Ending the server that is asked. Not in the operation table: it is about a process that listens,
// not about the store, and on systems without signals it is what `dbx stop` does. Its gate is here.

import { cliGroup, requireEverything, requireGrant, type Actor } from "../model/actor.ts";
import { permissionDenied } from "../model/error.ts";

/** On the listener for this machine's command line, and nowhere else. */
export const stopPath = "/admin/stop";

/** Throws for everybody but the command line of the server's machine. */
export function requireStopper(actor: Actor): void {
  requireGrant(actor, "admin");
  requireEverything(actor);
  if (actor.group === cliGroup) return;
  throw permissionDenied("only the command line on the server's machine stops the server");
}
