// The latest events of the log in memory, for followers that keep up. Bounded: whatever is older is
// read from the storage. It holds what is durable, and nothing else.

import { erasedType } from "../model/aggregate.ts";
import { withoutBody, type CommittedEvent } from "../model/event.ts";
import { keyText, type Position } from "../model/stream.ts";

export interface LiveTail {
  /** The last position that is known to be durable. */
  readonly head: () => Position;
  /**
   * Takes what a commit made durable. Gives what is new of it; null where events are missing
   * between: the tail is empty then, and they are in the storage.
   */
  readonly add: (events: readonly CommittedEvent[]) => readonly CommittedEvent[] | null;
  /** The events after a position, at most `limit`; null where some of them are not kept. */
  readonly read: (options: { after: Position; limit: number }) => readonly CommittedEvent[] | null;
  readonly figures: () => { live_tail_events: number; live_tail_chars: number };
}

export function createLiveTail(options: {
  head: Position;
  events_max: number;
  chars_max: number;
}): LiveTail {
  let { head } = options;
  /** The last ones up to the head, without gaps. */
  let events: CommittedEvent[] = [];
  let chars = 0;

  function clear(): void {
    events = [];
    chars = 0;
  }

  /** What came before it cannot be read any more, here as little as on the disk. */
  function erase(by: CommittedEvent): void {
    events = events.map((event) => {
      if (keyText(event) !== keyText(by)) return event;
      const rest = withoutBody(event);
      chars += rest.payload.length - event.payload.length;
      return rest;
    });
  }

  function shrink(): void {
    let gone = 0;
    while (events.length - gone > options.events_max || chars > options.chars_max) {
      chars -= events[gone++]?.payload.length ?? 0;
    }
    // A part at a time, because each removal moves all that stay.
    if (gone > 0) events.splice(0, gone);
  }

  return {
    head: () => head,
    add(added) {
      const fresh = added.filter(({ position }) => position > head);
      const [first] = fresh;
      if (first === undefined) return [];
      const isNext = first.position === head + 1;
      head = fresh.at(-1)?.position ?? head;
      if (!isNext) {
        clear();
        return null;
      }
      for (const event of fresh) {
        if (event.event_type === erasedType) erase(event);
        events.push(event);
        chars += event.payload.length;
      }
      shrink();
      return fresh;
    },
    read({ after, limit }) {
      const start = events.length - (head - after);
      return start < 0 ? null : events.slice(start, start + limit);
    },
    figures: () => ({ live_tail_events: events.length, live_tail_chars: chars }),
  };
}
