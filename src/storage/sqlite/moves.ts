// The moves between the main file and the archive, one after the other and block by block. A move
// that is cut short, by an error, a crash or closing, stays pending and goes on from where it was.

import { closeSync, existsSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { assert, unavailable } from "../../model/error.ts";
import { syncDirectory } from "../documents.ts";
import { archivePathOf } from "./archive.ts";
import { translate } from "./failure.ts";
import { createMover, type Fetched, type MoverOptions, type Place, type Stowed } from "./mover.ts";
import type { MoveRow } from "./rows.ts";
import type { Step } from "./steps.ts";
import { closeThread, compacted, openThread, startThread } from "./threads.ts";

/** A mover, here or in a thread. */
export interface MoverPort {
  stow(place: Place): Promise<Stowed>;
  fetch(place: Place): Promise<Fetched>;
  release(place: Place): Promise<void>;
  seal(place: Place): Promise<void>;
  /** Out: whether readers let the log be emptied. */
  compact(): Promise<boolean>;
  close(): Promise<void>;
}

export interface MovesParts {
  /** Of the main file. */
  readonly path: string;
  readonly dek: Uint8Array | null;
  /** Whether archive.db is worked on in a thread; then others commit meanwhile. */
  readonly threads: boolean;
  readonly read: (stream_id: number) => MoveRow | undefined;
}

export interface MoveEffects {
  /** One transaction of the main file, durable when it resolves. */
  readonly alter: (steps: readonly Step[]) => Promise<void>;
  /** The last one, which frees a restored stream. */
  readonly end: (move: MoveRow) => Promise<void>;
}

export interface Moves {
  /** Resolves when nothing of the stream is on its way any more. */
  run(stream_id: number, effects: MoveEffects): Promise<void>;
  /** Seals what the archive has of these streams in clear, and leaves no other copy of it. */
  seal(stream_ids: readonly number[]): Promise<void>;
  /** From here on this is the data encryption key. */
  useDek(dek: Uint8Array): void;
  /** Throws `unavailable` while the storage is being closed. */
  requireOpen(): void;
  figures(): Record<string, number | string>;
  /** Waits for the block that moves now. What is left goes on after the next opening. */
  close(): Promise<void>;
}

/** A mover that waits for so long is ended: starting its thread takes longer than a small move. */
const idleMs = 5_000;

export function createMoves(parts: MovesParts): Moves {
  const closing = Promise.withResolvers<void>();
  let closed = false;
  let last: Promise<void> = Promise.resolve();
  let fault: unknown = null;

  /** After each block as long as it took, so that whoever commits has the disk half of the time. */
  const rest = async (ms: number): Promise<void> => {
    if (!parts.threads) return await new Promise((resolve) => setImmediate(resolve));
    const timer = Promise.withResolvers<void>();
    const timeout = setTimeout(timer.resolve, ms);
    await Promise.race([timer.promise, closing.promise]);
    clearTimeout(timeout);
  };
  let { dek } = parts;
  let mover: MoverPort | null = null;
  let idle: ReturnType<typeof setTimeout> | undefined;
  const stop = async (): Promise<void> => {
    const open = mover;
    mover = null;
    await open?.close();
  };
  const requireOpen = (): void => {
    if (closed) throw unavailable("the storage is being closed; the move goes on when it opens");
  };
  const noteFault = (cause: unknown): void => {
    fault = translateMove(cause);
  };
  const run = async (stream_id: number, effects: MoveEffects): Promise<void> => {
    requireOpen();
    const move = parts.read(stream_id);
    if (move === undefined || move.pending === null) return;
    mover ??= await openMover({ ...parts, dek });
    // What an interrupted move has left beyond the versions that count.
    await mover.release(move);
    const block = move.pending === "archive" ? stowBlock : fetchBlock;
    const target = move.pending === "archive" ? move.version : 0;
    for (let place: Place = move; place.versions !== target;) {
      requireOpen();
      const start = performance.now();
      place = await block(mover, place, effects);
      if (place.versions !== target) await rest(performance.now() - start);
    }
    await effects.end(move);
  };
  return {
    run: (stream_id, effects) => {
      clearTimeout(idle);
      const mine = last.then(async () => {
        try {
          await run(stream_id, effects);
          fault = null;
        } catch (cause) {
          noteFault(cause);
          // What failed once is opened anew by the next one.
          await stop().catch(() => undefined);
          throw fault;
        }
        clearTimeout(idle);
        idle = setTimeout(() => (last = last.then(stop).catch(noteFault)), idleMs).unref();
      });
      // Those behind wait for the end of this one, not for its success.
      last = mine.catch(() => undefined);
      return mine;
    },
    seal: (stream_ids) => {
      const mine = last.then(async () => {
        for (const stream_id of stream_ids) {
          requireOpen();
          const place = parts.read(stream_id);
          if (place === undefined) continue;
          mover ??= await openMover({ ...parts, dek });
          const start = performance.now();
          await mover.seal(place);
          await rest(performance.now() - start);
        }
        // Also where nothing is in it any more: what has left it is still there, as free space.
        if (!existsSync(archivePathOf(parts.path))) return;
        mover ??= await openMover({ ...parts, dek });
        if (!(await mover.compact())) {
          throw unavailable("another process reads archive.db, so its log cannot be emptied yet");
        }
      });
      const told = mine.catch(async (cause) => {
        noteFault(cause);
        // As above: a thread that failed answers nobody any more.
        await stop().catch(() => undefined);
        throw fault;
      });
      last = told.catch(() => undefined);
      return told;
    },
    useDek: (next) => {
      dek = next;
      // It opens again with the other one.
      last = last.then(stop).catch(noteFault);
    },
    requireOpen,
    figures: () => (fault === null ? {} : { archive_fault: String(fault) }),
    close: async () => {
      closed = true;
      closing.resolve();
      await last;
      clearTimeout(idle);
      await stop();
    },
  };
}

/** The disk's refusals are no fault of ours, whoever met them. */
function translateMove(cause: unknown): unknown {
  const what = "move an aggregate to or from the archive";
  if (cause instanceof Error && "syscall" in cause) {
    return unavailable(`cannot ${what}: ${cause.message}`, {}, { cause });
  }
  return translate(what, cause);
}

async function stowBlock(mover: MoverPort, place: Place, effects: MoveEffects): Promise<Place> {
  const { stream_id, versions: before } = place;
  const { versions, ...counts } = await mover.stow(place);
  assert(versions > before, "a block has at least one version");
  const counted = { before, after: versions };
  await effects.alter([{ kind: "stow", stream_id, versions: counted, ...counts }]);
  return { ...place, versions };
}

async function fetchBlock(mover: MoverPort, place: Place, effects: MoveEffects): Promise<Place> {
  const { stream_id, versions: before } = place;
  const { versions, bodies, snapshots } = await mover.fetch(place);
  assert(versions < before, "a block has at least one version");
  const counted = { before, after: versions };
  const { aggregate_type, aggregate_id } = place;
  const stream = { stream_id, aggregate_type, aggregate_id };
  await effects.alter([{ kind: "fetch", stream, versions: counted, bodies, snapshots }]);
  await mover.release({ ...place, versions });
  return { ...place, versions };
}

async function openMover({ path, dek, threads }: MovesParts): Promise<MoverPort> {
  const archive_path = archivePathOf(path);
  if (createFile(archive_path)) await syncDirectory(dirname(archive_path));
  if (threads) return await openMoverThread({ path, dek });
  const mover = createMover({ path, dek });
  return {
    stow: async (place) => mover.stow(place),
    fetch: async (place) => mover.fetch(place),
    release: async (place) => mover.release(place),
    seal: async (place) => mover.seal(place),
    compact: async () => mover.compact(),
    close: async () => mover.close(),
  };
}

async function openMoverThread(options: MoverOptions): Promise<MoverPort> {
  const thread = startThread();
  await openThread(thread, { ...options, role: "mover", durability: "full" });
  return {
    stow: async (place) => {
      const reply = await thread.ask({ kind: "stow", place });
      assert(reply.kind === "stowed", "the mover answers what it was asked");
      return reply.stowed;
    },
    fetch: async (place) => {
      const reply = await thread.ask({ kind: "fetch", place });
      assert(reply.kind === "fetched", "the mover answers what it was asked");
      return reply.fetched;
    },
    release: async (place) => {
      const reply = await thread.ask({ kind: "release", place });
      assert(reply.kind === "released", "the mover answers what it was asked");
    },
    seal: async (place) => {
      const reply = await thread.ask({ kind: "seal", place });
      assert(reply.kind === "released", "the mover answers what it was asked");
    },
    compact: async () => {
      const reply = await thread.ask({ kind: "compact", vacuum: true });
      assert(reply.kind === "compacted", "the mover answers what it was asked");
      return compacted(reply);
    },
    close: () => closeThread(thread),
  };
}

/**
 * Makes an empty file of mode 0600; SQLite gives its other files the mode of the first. False if it
 * was there: it is then left alone, because closing a handle of ours would drop SQLite's locks on
 * it.
 */
export function createFile(path: string): boolean {
  try {
    closeSync(openSync(path, "wx", 0o600));
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}
