// `POST /admin/stop`, for this machine's command line: what a signal does, where systems have none.

import { requireStopper, stopPath } from "../api/stop.ts";
import { answer } from "./answer.ts";
import { holderOf } from "./credentials.ts";
import type { Mount, SurfaceOptions } from "./surface.ts";

export function stopMounts(options: {
  readonly authenticate: SurfaceOptions["authenticate"];
  /** Begins the end; it lets running requests finish, this one included. */
  readonly stop: (by: string) => void;
}): Mount[] {
  const { authenticate, stop } = options;
  return [
    {
      method: "POST",
      path: stopPath,
      name: "stopServer",
      respond: ({ request, request_id }) => {
        const actor = holderOf(request.headers, authenticate);
        requireStopper(actor);
        stop(actor.user);
        const headers = { "Cache-Control": "no-store" };
        return answer(JSON.stringify({ stopping: true }), { status: 202, request_id, headers });
      },
    },
  ];
}
