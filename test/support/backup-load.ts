// Work for a server that is backed up meanwhile: appends, aggregates that move to the archive and
// back, erasures. Remembers what was acknowledged, and goes on when the server is back.

import { http } from "./cli.ts";

export interface Load {
  /** Event ids by position, of every append that was answered. */
  readonly acknowledged: ReadonlyMap<number, string>;
  /** Answers to moves and erasures. */
  readonly counts: { moved: number; erased: number };
  /** Where the server listens now. */
  readonly at: (port: number) => void;
  /** Resolves once so many more appends have been answered. */
  readonly more: (appends: number) => Promise<void>;
  /** Nothing is asked while this runs, so that what is judged meanwhile has the machine. */
  readonly pause: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly stop: () => Promise<void>;
}

export function startLoad(options: {
  port: number;
  token: string;
  payload: () => object;
  erases: boolean;
}): Load {
  const { token, payload, erases } = options;
  let { port } = options;
  let going = true;
  let paused: Promise<void> | null = null;
  const acknowledged = new Map<number, string>();
  const counts = { moved: 0, erased: 0 };
  const post = async (path: string, body: object) => {
    const answer = await http(port, path, { token, body: JSON.stringify(body) });
    return { ok: answer.status < 300, text: answer.text };
  };
  const again = async (work: () => Promise<void>): Promise<void> => {
    while (going) {
      await paused;
      try {
        await work();
      } catch {
        // The server was killed; the next try may find it up again.
        await new Promise((done) => setImmediate(done));
      }
    }
  };
  let number = 0;
  const append = async (): Promise<void> => {
    const aggregate_id = `live-${number++ % 50}`;
    const event = { aggregate_type: "load", aggregate_id, event_type: "made" };
    const { ok, text } = await post("/v1/events", { ...event, payload: payload() });
    if (!ok) return;
    const { position, metadata } = JSON.parse(text);
    acknowledged.set(position, metadata.event_id);
  };
  let turn = 0;
  const move = async (): Promise<void> => {
    const aggregate_id = `live-${(turn * 7) % 50}`;
    turn++;
    for (const archived of ["archive", "restore"]) {
      const { ok } = await post(`/v1/aggregates/load/${aggregate_id}/${archived}`, {});
      if (ok) counts.moved++;
    }
    if (!erases || turn % 3 !== 0) return;
    const { ok } = await post(`/v1/aggregates/load/${aggregate_id}/erase`, { reason: "asked" });
    if (ok) counts.erased++;
  };
  const running = [again(append), again(append), again(append), again(append), again(move)];
  return {
    acknowledged,
    counts,
    at: (now) => {
      port = now;
    },
    more: async (appends) => {
      const wanted = acknowledged.size + appends;
      while (acknowledged.size < wanted) await new Promise((done) => setImmediate(done));
    },
    pause: async (work) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      paused = promise;
      try {
        return await work();
      } finally {
        paused = null;
        resolve();
      }
    },
    stop: async () => {
      going = false;
      await Promise.all(running);
    },
  };
}
