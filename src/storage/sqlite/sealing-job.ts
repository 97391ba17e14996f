// Sealing what was written before there was a key, block by block while others commit; wrapping
// keys anew; clearing away what is erased. What is cut short, by a crash or closing, goes on from
// where it was after the next opening: what is left to do is what is still there to be found.

import { failedPrecondition, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { StreamKey } from "../../model/stream.ts";
import type { BatchSink } from "./core.ts";
import type { Keyring } from "./keyring.ts";
import type { SealingReader } from "./sealing-reader.ts";
import type { SealingStep, SnapshotId } from "./sealing-steps.ts";

export interface SealingJob {
  /**
   * Resolves when nothing is in clear any more, at once where nothing was. `progress` is told the
   * positions that are done and that there are.
   */
  readonly sealOlder: (progress: (done: number, of: number) => void) => Promise<void>;
  /** As `rotateKey` of the port. */
  readonly rotateKey: (
    dek: Uint8Array,
    begun: (dek: Uint8Array) => Promise<void>,
  ) => Promise<{ readonly keys: number }>;
  /** As `forgetErased` of the port. */
  readonly forgetErased: (key: StreamKey) => Promise<void>;
  readonly figures: () => Record<string, number | string>;
  /** Waits for the block that is written now. */
  readonly close: () => Promise<void>;
}

export interface SealingParts {
  readonly plain: SealingReader;
  /** Of the connection that reads. */
  readonly keyring: Keyring;
  readonly streamIdOf: (key: StreamKey) => number | undefined;
  readonly logSize: () => number;
  readonly sink: Pick<BatchSink, "compact">;
  /** One transaction of the main file, in order with commits, durable when it resolves. */
  readonly alter: (step: SealingStep) => Promise<void>;
  /** The last step, with what the audit trail says to it. */
  readonly end: (step: SealingStep) => Promise<void>;
  readonly archive: {
    /** Seals what the archive has of each stream, where that is in clear. */
    readonly seal: () => Promise<void>;
    /** Whoever opens and seals there uses this key from here on. */
    readonly useDek: (dek: Uint8Array) => void;
  };
  /** Whether others should have the disk half of the time. */
  readonly background: boolean;
}

export function createSealingJob(parts: SealingParts): SealingJob {
  const { plain, keyring, alter } = parts;
  let closed = false;
  let last: Promise<unknown> = Promise.resolve();
  let done = 0;
  let fault: string | null = null;

  /** One job after the other; those behind wait for the end, not for the success. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(async () => {
      try {
        const result = await work();
        fault = null;
        return result;
      } catch (error) {
        fault = error instanceof Error ? error.message : String(error);
        throw error;
      }
    });
    last = mine.catch(() => undefined);
    return mine;
  };
  const requireOpen = (): void => {
    if (closed) throw unavailable("the storage is being closed; this goes on when it opens again");
  };
  /** A step, and then as long a rest, so that commits have the disk half of the time. */
  const take = async (step: SealingStep): Promise<void> => {
    requireOpen();
    const start = performance.now();
    await alter(step);
    const ms = parts.background ? performance.now() - start : 0;
    await new Promise<void>((resolve) => setTimeout(resolve, ms));
  };
  const compact = async (vacuum: boolean): Promise<void> => {
    for (let attempt = 1; !(await parts.sink.compact(vacuum)); attempt++) {
      requireOpen();
      if (attempt === compactAttemptsMax) {
        throw unavailable(
          "another process reads the database, so its write-ahead log, which may hold what must " +
            "go, cannot be emptied; end that process and try again",
        );
      }
    }
  };
  /** Begins, or goes on with what has begun. */
  const exchange = async (
    dek: Uint8Array,
    begun: (dek: Uint8Array) => Promise<void>,
  ): Promise<void> => {
    if (keyring.dekAfter() === null) await take({ kind: "rotate", dek });
    keyring.useDek(dek);
    parts.archive.useDek(dek);
    await begun(dek);
    for (;;) {
      const stream_ids = plain.keysBefore(limits.seal_rows_max);
      if (stream_ids.length === 0) break;
      await take({ kind: "rewrap", stream_ids });
    }
    await take({ kind: "rotated" });
  };

  return {
    sealOlder: (progress) =>
      inTurn(async () => {
        if (keyring.sealing() !== "partly") return;
        await sealRows({ plain, take }, (position) => {
          done = position;
          progress(position, parts.logSize());
        });
        await parts.archive.seal();
        // Before the end is noted: what is freed but not overwritten would be forgotten otherwise.
        await compact(true);
        requireOpen();
        await parts.end({ kind: "sealed" });
      }),
    rotateKey: (dek, begun) =>
      inTurn(async () => {
        if (keyring.sealing() === "none") {
          throw failedPrecondition("nothing is encrypted, so there is no key to rotate");
        }
        if (keyring.sealing() === "partly") {
          throw failedPrecondition("older data is still being encrypted; rotate when it is done");
        }
        const underWay = keyring.dekAfter();
        if (underWay !== null && Buffer.compare(underWay, dek) !== 0) {
          await exchange(underWay, begun);
        }
        await exchange(dek, begun);
        await compact(false);
        return { keys: plain.countKeys() };
      }),
    forgetErased: (key) =>
      inTurn(async () => {
        // Bodies stay, as bytes without a key: finding and deleting them would take as long as the
        // aggregate is, and make nothing safer.
        const stream_id = parts.streamIdOf(key);
        if (stream_id === undefined) return;
        await take({ kind: "clear", stream_id });
        await compact(false);
      }),
    figures: () => ({
      ...(keyring.sealing() === "partly" ? { sealed_position: done } : {}),
      ...(fault === null ? {} : { sealing_fault: fault }),
    }),
    close: async () => {
      closed = true;
      await last;
    },
  };
}

/** Each waits as long as a busy connection does; a reader that holds on for longer is no command. */
const compactAttemptsMax = 6;

async function sealRows(
  { plain, take }: { plain: SealingReader; take: (step: SealingStep) => Promise<void> },
  progress: (position: number) => void,
): Promise<void> {
  const limit = limits.seal_rows_max;
  const nothing = { positions: [], streams: [], snapshots: [] };
  for (let after = 0; ;) {
    const positions = plain.bodies(after, limit);
    const end = positions.at(-1);
    if (end === undefined) break;
    await take({ kind: "seal", ...nothing, positions });
    after = end;
    progress(after);
  }
  for (let after = 0; ;) {
    const streams = plain.streams(after, limit);
    const end = streams.at(-1);
    if (end === undefined) break;
    await take({ kind: "seal", ...nothing, streams });
    after = end;
  }
  for (let after: SnapshotId = { stream_id: 0, version: 0 }; ;) {
    const snapshots = plain.snapshots(after, limit);
    const end = snapshots.at(-1);
    if (end === undefined) break;
    await take({ kind: "seal", ...nothing, snapshots });
    after = end;
  }
}
