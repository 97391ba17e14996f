// Exchanging the data encryption key. Only this machine's command line may: whoever else asked
// would leave behind a configuration whose key opens nothing any more.

import type { Dbx } from "../api/dbx.ts";
import { failedPrecondition, permissionDenied } from "../model/error.ts";
import type { Storage } from "../storage/storage.ts";
import { cliGroup } from "./tokens.ts";

export interface RotationDeps {
  readonly storage: Storage;
  readonly now: () => string;
  /**
   * Keeps the key (base64) for the next opening; called when either key opens the store. Null where
   * there is no place for it.
   */
  readonly keepKey: ((data_encryption_key: string) => Promise<void>) | null;
}

export function createRotation({ storage, now, keepKey }: RotationDeps): Pick<Dbx, "rotateKey"> {
  return {
    rotateKey: async ({ group, user }, { data_encryption_key }) => {
      if (group !== cliGroup) {
        throw permissionDenied("only the command line on the server's machine rotates the key");
      }
      if (keepKey === null) throw failedPrecondition("there is no configuration to keep the key");
      if (storage.sealing() === "none") {
        throw failedPrecondition("nothing is encrypted, so there is no key to rotate");
      }
      await storage.record({
        ...{ at: now(), issued_by: { group, user }, comment: null, action: "key.rotate" },
        ...{ aggregate: null, subject: null, details: null },
      });
      const dek = Uint8Array.fromBase64(data_encryption_key);
      return storage.rotateKey(dek, () => keepKey(data_encryption_key));
    },
  };
}
