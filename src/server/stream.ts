// Server-sent events: the log, live, over HTTP (`GET /v1/events/stream`).

import type { Mount, SurfaceOptions } from "./surface.ts";

export function streamMounts(_options: SurfaceOptions): Mount[] {
  return [];
}
