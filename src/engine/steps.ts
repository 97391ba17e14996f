// Work that is done one step after the other, with a bound on what may wait for its turn. Not for
// work that many requests can share, as a group commit is.

import { overloaded, unavailable } from "../model/error.ts";

export interface Steps {
  /**
   * Runs the step when those before it are done, at once where there are none, and answers as it
   * does. Rejects without running it: with `overloaded` where too much waits, with `unavailable`
   * where closing begins before its turn.
   */
  readonly inTurn: <Result>(step: Step<Result>) => Promise<Result>;
  /** Waits for the step that runs; no other one will. */
  readonly close: () => Promise<void>;
}

interface Step<Result> {
  /** What it holds in memory until it is done. */
  readonly bytes: number;
  readonly run: () => Promise<Result>;
}

/** The bounds count the step that runs, too. `what` names the steps in messages, in the plural. */
export function createSteps(bounds: {
  readonly what: string;
  readonly steps_max: number;
  readonly bytes_max: number;
}): Steps {
  let steps = 0;
  let bytes = 0;
  let closed = false;
  /** Settles when the last step that was let in is done; null where there is nothing to do. */
  let last: Promise<void> | null = null;

  function requireOpen(): void {
    if (closed) throw unavailable("dbx is stopping");
  }

  async function inTurn<Result>(step: Step<Result>): Promise<Result> {
    requireOpen();
    if (steps >= bounds.steps_max || bytes + step.bytes > bounds.bytes_max) {
      throw overloaded(`too many ${bounds.what} are waiting; try again`, { waiting: steps });
    }
    const before = last;
    const { promise: done, resolve } = Promise.withResolvers<void>();
    last = done;
    steps++;
    bytes += step.bytes;
    try {
      if (before !== null) await before;
      requireOpen();
      return await step.run();
    } finally {
      steps--;
      bytes -= step.bytes;
      if (last === done) last = null;
      resolve();
    }
  }

  return {
    inTurn,
    close: async () => {
      closed = true;
      await last;
    },
  };
}
