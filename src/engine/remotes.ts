// Changing which other nodes are known, for whoever administers a server from elsewhere. The file
// is the server's own; what it says is read again before and after, so that an edit by hand is
// neither overlooked nor lost, and the audit trail tells the change like any other of the
// configuration.

import type { Dbx } from "../api/dbx.ts";
import { failedPrecondition, invalidArgument, notFound } from "../model/error.ts";
import { plannedRemote, remoteEndpointOf, remoteNameOf, type Remote } from "../model/remote.ts";
import type { LiveSettings } from "./settings.ts";

/** Keeps the table of another node in the configuration file, or takes it out where it is null. */
export type KeepRemote = (change: {
  readonly name: string;
  readonly remote: Remote | null;
}) => Promise<void>;

export interface RemotesDeps {
  readonly settings: LiveSettings;
  /** Null where there is no configuration file to keep it in. */
  readonly keepRemote: KeepRemote | null;
}

export function createRemotes(
  deps: RemotesDeps,
): Pick<Dbx, "listRemotes" | "putRemote" | "removeRemote"> {
  const { settings, keepRemote } = deps;
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: each is decided on what the one before has left. */
  const inTurn = <T>(work: (keep: KeepRemote) => Promise<T>): Promise<T> => {
    if (keepRemote === null) {
      throw failedPrecondition(
        "only a running server keeps remotes; dbx remote does it without one",
      );
    }
    const mine = last.then(() => work(keepRemote));
    last = mine.catch(() => undefined);
    return mine;
  };
  return {
    listRemotes: async () => ({ ...settings.current().remotes }),
    putRemote: async (actor, { name: text, endpoint, public_key, allow }) => {
      const name = remoteNameOf(text);
      const where = remoteEndpointOf(endpoint);
      if (public_key.trim() === "") throw invalidArgument("remote public key cannot be empty");
      return inTurn(async (keep) => {
        await settings.reload(actor);
        const { remotes } = settings.current();
        const asked = { name, endpoint: where, public_key, allow: allow ?? null, replace: true };
        const remote = plannedRemote(remotes, asked);
        const created = !Object.hasOwn(remotes, name);
        await keep({ name, remote });
        await settings.reload(actor);
        return { created, ...remote };
      });
    },
    removeRemote: async (actor, { name: text }) =>
      inTurn(async (keep) => {
        await settings.reload(actor);
        const name = text.trim();
        if (!Object.hasOwn(settings.current().remotes, name)) {
          throw notFound(`no remote named '${name}' is configured`, { name });
        }
        await keep({ name, remote: null });
        await settings.reload(actor);
        return null;
      }),
  };
}
