// The state of an aggregate at the version of an event. Events come in order, so mostly it is the
// state of the one before and one fold more; what was kept of others is bounded.

import { emptyState, fold, type State } from "../model/aggregate.ts";
import type { CommittedEvent } from "../model/event.ts";
import { keyText, type StreamKey, type Version } from "../model/stream.ts";

export interface StateAt {
  readonly state: State;
  /** As it is now, not as it was then. */
  readonly archived: boolean;
}

export interface StatesDeps {
  /** From the storage. Rejects where the aggregate never had the version, or it is erased. */
  readonly stateAt: (key: StreamKey, version: Version) => Promise<StateAt>;
  readonly isArchived: (key: StreamKey) => Promise<boolean>;
  readonly states_max: number;
  readonly chars_max: number;
}

interface Kept {
  readonly version: Version;
  readonly state: State;
}

export type States = (event: CommittedEvent) => Promise<StateAt>;

export function createStates({ stateAt, isArchived, states_max, chars_max }: StatesDeps): States {
  /** The one that was used last is the last. */
  const kept = new Map<string, Kept>();
  let chars = 0;

  function forget(key: string): void {
    chars -= kept.get(key)?.state.length ?? 0;
    kept.delete(key);
  }

  function keep(key: string, state: Kept): void {
    forget(key);
    if (state.state.length > chars_max) return;
    kept.set(key, state);
    chars += state.state.length;
    for (const oldest of kept.keys()) {
      if (kept.size <= states_max && chars <= chars_max) return;
      forget(oldest);
    }
  }

  return async (event) => {
    const key = keyText(event);
    const { version } = event;
    // The first event needs nothing before it.
    const known = kept.get(key) ?? { version: 0, state: emptyState };
    if (known.version === version || known.version === version - 1) {
      const state = known.version === version ? known.state : fold(known.state, event);
      keep(key, { version, state });
      return { state, archived: await isArchived(event) };
    }
    const found = await stateAt(event, version);
    keep(key, { version, state: found.state });
    return found;
  };
}
