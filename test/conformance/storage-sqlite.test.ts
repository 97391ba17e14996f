// SQLite against the port's rules: with and without threads, with the usual cache and with one so
// small that every head is read again.

import type { Storage } from "../../src/storage/storage.ts";
import { openWriting, withDirectory } from "../support/storage.ts";
import { storageConformance } from "./storage.ts";

const variants = [
  { heads_max: 1_000, threads: false },
  { heads_max: 1, threads: false },
  { heads_max: 1_000, threads: "copier" },
  { heads_max: 1_000, threads: "both" },
] as const;

for (const options of variants) {
  storageConformance(`sqlite, ${JSON.stringify(options)}`, (use) =>
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
