// `/openapi.json` and the reference page `/docs`. Open to everybody: they show no data.

import type { Mount } from "./surface.ts";

export function docsMounts(): Mount[] {
  return [];
}
