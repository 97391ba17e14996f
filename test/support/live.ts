// What every surface that streams the log must withstand: a follower that is killed again and again
// while several writers append, and that goes on each time after the last position it saw.

/** Follows the log after a position and gives each event's position; ends once it is aborted. */
export type Follow = (after: number, signal: AbortSignal) => AsyncIterable<number>;

export interface KillAndResume {
  readonly open: Follow;
  /**
   * Appends one event with this id and gives its position. What it rejects with is tried again
   * with the same id, because a server that is restarted loses answers.
   */
  readonly append: (event_id: string) => Promise<number>;
  /** Runs after each kill, before the follower comes back: the place to restart a server. */
  readonly between?: (kill: number) => Promise<void> | void;
  /** 50 when missing. */
  readonly kills?: number;
  /** 4 when missing. */
  readonly writers?: number;
}

/**
 * Writers append until the follower has been killed so many times, after few events or many, while
 * it waits or between two events; then it follows to the end. Compare both lists: `seen` is in the
 * order in which it came, `appended` sorted. Each kill drops whatever was under way.
 */
export async function killAndResume(
  options: KillAndResume,
): Promise<{ seen: number[]; appended: number[] }> {
  const { open, kills = 50, writers = 4, between = () => {} } = options;
  const seen: number[] = [];
  const appended: number[] = [];
  const finished = new AbortController();

  async function write(): Promise<void> {
    while (!finished.signal.aborted) appended.push(await insist(options.append));
  }

  async function follow(): Promise<void> {
    try {
      for (let kill = 0; kill < kills; kill++) {
        // 1 to 31, in no order: within a batch, at its end, across several.
        await takeSome({ open, seen, count: ((kill * 12) % 31) + 1, waits: kill % 2 === 0 });
        await between(kill);
      }
    } finally {
      finished.abort();
    }
  }

  await Promise.all([follow(), ...Array.from({ length: writers }, write)]);
  appended.sort((left, right) => left - right);
  const missing = (appended.at(-1) ?? 0) - (seen.at(-1) ?? 0);
  if (missing > 0) await takeSome({ open, seen, count: missing, waits: false });
  return { seen, appended };
}

/** Follows from where `seen` ends for so many events, then is killed. */
async function takeSome(options: {
  open: Follow;
  seen: number[];
  count: number;
  /** Whether it has asked for the next event when it is killed. */
  waits: boolean;
}): Promise<void> {
  const { open, seen, count, waits } = options;
  const killer = new AbortController();
  const events = open(seen.at(-1) ?? 0, killer.signal)[Symbol.asyncIterator]();
  for (let taken = 0; taken < count; taken++) {
    const next = await events.next();
    if (next.done === true) throw new Error(`the stream ended after ${seen.at(-1) ?? 0}`);
    seen.push(next.value);
  }
  // An aborted stream may fail as well as end, and what still comes by it counts for nothing.
  const pending = waits ? events.next().catch(() => {}) : undefined;
  killer.abort();
  await pending;
  await events.return?.()?.catch(() => {});
}

async function insist(append: KillAndResume["append"]): Promise<number> {
  const event_id = crypto.randomUUID();
  let last: unknown;
  for (let attempt = 0; attempt < attempts_max; attempt++) {
    try {
      return await append(event_id);
    } catch (error) {
      last = error;
      await new Promise<void>((done) => setImmediate(done));
    }
  }
  throw new Error(`not appended in ${attempts_max} attempts`, { cause: last });
}

/** A refused connection takes a fraction of a millisecond, a restart some hundred. */
const attempts_max = 100_000;
