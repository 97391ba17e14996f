// The oracle against the port's rules.

import { createMemoryStorage } from "../../src/storage/memory.ts";
import { storageConformance } from "./storage.ts";

storageConformance("memory", (use) =>
  use({ storage: createMemoryStorage({ sealing: "none" }), reopen: null }),
);
