// Other nodes on the control socket. Whoever has proved a key that is named here is answered, and
// may do what its remote is allowed, as the configuration has it at the time.

import type { Dbx } from "../api/dbx.ts";
import type { Log } from "../log.ts";
import { publicKeyBytes, type Remote, type Right } from "../model/remote.ts";
import type { System } from "../system.ts";
import { knownPeer } from "./handshake.ts";
import type { NodeKeys } from "./keys.ts";
import { servePeer } from "./peer.ts";
import { createAcceptor, type Acceptor } from "./session-acceptor.ts";
import type { Session } from "./session.ts";

export interface ReplicationOptions {
  readonly dbx: Dbx;
  readonly keys: NodeKeys;
  readonly remotes: () => Readonly<Record<string, Remote>>;
  readonly random: System["random"];
  readonly log: Log;
}

export interface Replication extends Pick<Acceptor, "greet" | "figures"> {
  /** Answers what has been asked, and ends every session. Takes nobody from now on. */
  readonly stop: () => Promise<void>;
}

export function createReplication(options: ReplicationOptions): Replication {
  const { dbx, remotes, log } = options;
  const acceptor = createAcceptor(options);
  const stopping = new AbortController();
  const served = new Set<Promise<void>>();

  async function serve(session: Session): Promise<void> {
    const { peer } = session;
    const key = publicKeyBytes(peer.public_key);
    // None once nobody names the key any more.
    const rights = (): readonly Right[] => knownPeer(remotes(), key)?.allow ?? [];
    try {
      await servePeer(session, { dbx, rights, log, name: peer.name, stopping: stopping.signal });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn("replication session cut off", { remote: peer.name, reason });
    }
  }

  return {
    figures: acceptor.figures,
    greet(socket, hello, early) {
      const greeted = acceptor.greet(socket, hello, early);
      if (greeted.kind === "begun") {
        void greeted.session.then((session) => {
          if (session === null) return;
          const ended = serve(session);
          served.add(ended);
          void ended.then(() => served.delete(ended));
        });
      }
      return greeted;
    },
    async stop() {
      stopping.abort();
      await Promise.all(served);
      await acceptor.close();
    },
  };
}
