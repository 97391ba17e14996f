// The oracle against the port's rules.

import { createMemoryDeliveries } from "../../src/storage/memory-deliveries.ts";
import { deliveriesConformance } from "./deliveries.ts";

deliveriesConformance("memory", (use) =>
  use({ deliveries: createMemoryDeliveries(), reopen: null }),
);
