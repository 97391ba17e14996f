// Another node that the configuration names, asked over a session of its own.

import type { Ask } from "../api/dbx.ts";
import { notFound } from "../model/error.ts";
import { allowedTo, remoteEndpointOf } from "../model/remote.ts";
import type { KnownPeer } from "../replication/handshake.ts";
import { ensureKeys, keyPathOf } from "../replication/keys.ts";
import { createPeer } from "../replication/peer.ts";
import { openSession } from "../replication/session-caller.ts";
import { realSystem } from "../system.ts";
import type { Configuration } from "./configuration.ts";

export interface KnownRemote extends KnownPeer {
  readonly endpoint: string;
}

/** Throws `not_found` for a name that nobody gave. */
export function remoteNamed({ config }: Configuration, name: string): KnownRemote {
  const remote = Object.hasOwn(config.remotes, name) ? config.remotes[name] : undefined;
  if (remote === undefined) {
    throw notFound(`no remote named '${name}' is configured; see dbx remote ls`, { remote: name });
  }
  return { ...remote, name, allow: allowedTo(remote) };
}

/**
 * Both nodes have proved their keys once it returns. Throws `failed_precondition` where one does
 * not know the other, `unavailable` where there is nobody.
 */
export async function connectRemote(
  remote: KnownRemote,
  { config }: Configuration,
): Promise<{ readonly ask: Ask } & AsyncDisposable> {
  const session = await openSession(remoteEndpointOf(remote.endpoint), {
    keys: await ensureKeys(keyPathOf(config), realSystem.random),
    pinned: remote,
    // A process that ends takes its session with it.
    signal: new AbortController().signal,
  });
  return { ask: createPeer(session), [Symbol.asyncDispose]: session.close };
}
