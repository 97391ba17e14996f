// SQLite against the port's rules: with and without threads, with the usual cache and with one so
// small that every head is read again, in clear and sealed.

import type { OpenOptions } from "../../src/storage/sqlite/open.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { openWriting, withDirectory } from "../support/storage.ts";
import { storageConformance } from "./storage.ts";

const variants = [
  { heads_max: 1_000, threads: false },
  { heads_max: 1, threads: false },
  { heads_max: 1_000, threads: "copier" },
  { heads_max: 1_000, threads: "both" },
  { heads_max: 1, threads: false, dek: new Uint8Array(32).fill(7) },
  { heads_max: 1_000, threads: "both", dek: new Uint8Array(32).fill(7) },
] as const;

const nameOf = ({ dek, ...options }: Partial<OpenOptions>): string =>
  JSON.stringify({ ...options, sealed: dek !== undefined });

for (const options of variants) {
  storageConformance(`sqlite, ${nameOf(options)}`, (use) =>
    withDirectory(async (directory) => {
      let storage: Storage = await openWriting(directory, options);
      const reopen = async () => {
        await storage.close();
        storage = await openWriting(directory, options);
        return storage;
      };
      try {
        await use({ storage, reopen });
      } finally {
        await storage.close();
      }
    }),
  );
}
