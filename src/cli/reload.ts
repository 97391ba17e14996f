// What SIGHUP asks of a running server: to read again what it can follow while it runs. The
// configuration by the same operation as `dbx config` asks for, and the files of the certificate.

import type { Log } from "../log.ts";
import type { Opened } from "../open.ts";
import type { Server } from "../server/server.ts";

export interface Reload {
  /** Reads again, once more after a reading that runs already. Never throws. */
  readonly ask: () => void;
  /** Takes no more and waits for the one that runs. */
  readonly close: () => Promise<void>;
}

export function createReload(parts: {
  readonly server: Pick<Server, "reloadCertificate">;
  readonly opened: Pick<Opened, "dbx" | "openSession" | "authenticate">;
  readonly log: Log;
}): Reload {
  let wanted = false;
  let closed = false;
  let running: Promise<void> | null = null;

  async function readWhileWanted(): Promise<void> {
    while (wanted && !closed) {
      wanted = false;
      await readAgain(parts);
    }
    running = null;
  }

  return {
    ask() {
      wanted = true;
      running ??= readWhileWanted();
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

async function readAgain({ server, opened, log }: Parameters<typeof createReload>[0]) {
  try {
    const actor = opened.authenticate(opened.openSession("signal").token);
    const { applied, restart } = await opened.dbx.reloadConfig(actor, {});
    log.info("configuration read", { applied: applied.join(","), restart: restart.join(",") });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.error("configuration refused; the one before stays", { reason });
  }
  server.reloadCertificate();
}
