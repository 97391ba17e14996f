// What a restored store tells of itself: that it was brought back, from what, when and by whom. A
// log that ends earlier than somebody remembers has its explanation in its own audit trail.

import { cliActor } from "../model/actor.ts";
import type { Manifest } from "../model/backup.ts";
import { openSqliteStorage } from "../storage/sqlite/open.ts";

/** Of what nobody uses yet. Throws `failed_precondition` where `dek` is not its key. */
export async function noteRestore(
  directory: string,
  options: {
    readonly manifest: Manifest;
    readonly dek: Uint8Array | null;
    /** The operating system's user. */
    readonly user: string;
    readonly at: string;
  },
): Promise<void> {
  const { manifest, dek, at } = options;
  const { id, position, log_root, created_at } = manifest;
  const { group, user } = cliActor(options.user);
  const storage = await openSqliteStorage({
    ...{ directory, dek, durability: "full", access: "write", threads: false, opener: null },
    ...{ heads_max: 1, lock_wait_ms: 0 },
  });
  try {
    await storage.record({
      ...{ action: "backup.restore", subject: id, aggregate: null, comment: null },
      ...{ at, issued_by: { group, user }, details: { created_at, position, log_root } },
    });
  } finally {
    await storage.close();
  }
}
