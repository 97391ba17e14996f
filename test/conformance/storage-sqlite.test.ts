// SQLite against the port's rules: with the usual cache, and with one so small that every head is
// read again.

import type { Storage } from "../../src/storage/storage.ts";
import { openWriting, withDirectory } from "../support/storage.ts";
import { storageConformance } from "./storage.ts";

for (const heads_max of [1_000, 1]) {
  storageConformance(`sqlite, ${heads_max} heads in memory`, (use) =>
    withDirectory(async (directory) => {
      let storage: Storage = await openWriting(directory, { heads_max });
      const reopen = async () => {
        await storage.close();
        storage = await openWriting(directory, { heads_max });
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
