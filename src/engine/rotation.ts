// Exchanging the data encryption key. Only this machine's command line may: whoever else asked
// would leave behind a configuration whose key opens nothing any more.

import type { Dbx } from "../api/dbx.ts";
import { cliGroup } from "../model/actor.ts";
import { failedPrecondition, permissionDenied } from "../model/error.ts";
import type { Storage } from "../storage/storage.ts";
import type { Telling } from "./told-settings.ts";

export interface RotationDeps {
  readonly storage: Storage;
  readonly now: () => string;
  /** Null where there is no place for a key. */
  readonly keepKey: KeepKey | null;
  readonly tellKey: Telling["tellKey"];
}

/**
 * Throws where another key cannot be kept; called before anything is changed. What it gives keeps
 * a key (base64) for the next opening, when either one opens the store.
 */
export type KeepKey = () => Promise<(data_encryption_key: string) => Promise<void>>;

export function createRotation(deps: RotationDeps): Pick<Dbx, "rotateKey"> {
  const { storage, now, keepKey, tellKey } = deps;
  return {
    rotateKey: async (actor, { data_encryption_key }) => {
      const { group, user } = actor;
      if (group !== cliGroup) {
        throw permissionDenied("only the command line on the server's machine rotates the key");
      }
      if (keepKey === null) throw failedPrecondition("there is no configuration to keep the key");
      if (storage.sealing() === "none") {
        throw failedPrecondition("nothing is encrypted, so there is no key to rotate");
      }
      const keep = await keepKey();
      await storage.record({
        ...{ at: now(), issued_by: { group, user }, comment: null, action: "key.rotate" },
        ...{ aggregate: null, subject: null, details: null },
      });
      const dek = Uint8Array.fromBase64(data_encryption_key);
      return storage.rotateKey(dek, async (begun) => {
        const key = begun.toBase64();
        await tellKey(actor, key);
        await keep(key);
      });
    },
  };
}
