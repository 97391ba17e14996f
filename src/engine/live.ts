// The end of the log, live: remembers the latest events, wakes whoever follows them.

import type { Live } from "../api/live.ts";
import type { CommittedEvent } from "../model/event.ts";

export interface LiveLog extends Live {
  /** To be told what a commit has made durable, in the order of positions, before anybody is answered. */
  readonly advance: (events: readonly CommittedEvent[]) => void;
  readonly close: () => void;
}

export function createLive(): LiveLog {
  return {
    advance: () => {},
    async *followLog() {},
    close: () => {},
  };
}
