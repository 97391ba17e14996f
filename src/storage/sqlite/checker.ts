// Looks for faults of the file in a thread of its own, which reads only and lives as long as one
// check: neither commits nor copies of the log wait for it, and closing ends it where it is.

import { assert, unavailable } from "../../model/error.ts";
import type { Durability } from "./connect.ts";
import { startThread, type Thread } from "./threads.ts";

export interface Checker {
  /** One check after the other: each reads the whole file. */
  check(limit: number): Promise<string[]>;
  /** Ends a check that runs; whoever waits for it is told `unavailable`. */
  close(): Promise<void>;
}

export function createChecker(options: { path: string; durability: Durability }): Checker {
  let thread: Thread | null = null;
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;

  const run = async (limit: number): Promise<string[]> => {
    if (closed) throw unavailable("cannot check the database: it is being closed");
    const own = startThread();
    thread = own;
    try {
      await own.ask({ kind: "open", role: "checker", ...options, dek: null });
      const reply = await own.ask({ kind: "check", limit });
      assert(reply.kind === "checked", "the checker answers what it was asked");
      return reply.faults;
    } finally {
      thread = null;
      await own.stop();
    }
  };
  return {
    check: (limit) => {
      const mine = last.then(() => run(limit));
      // Those behind wait for the end of this one, not for its success.
      last = mine.catch(() => undefined);
      return mine;
    },
    close: async () => {
      closed = true;
      await thread?.stop();
    },
  };
}
