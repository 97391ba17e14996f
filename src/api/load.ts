// Loading: events appended in the order in which they come, many to a transaction. What comes while
// one transaction is written is the next one; the first refusal ends it.

import type { Actor } from "../model/actor.ts";
import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Position } from "../model/stream.ts";
import { call } from "./call.ts";
import type { Dbx } from "./dbx.ts";
import type { Output } from "./operations.ts";

/** One event as it came, with its payload as canonical text. */
export interface LoadedEvent {
  readonly input: Readonly<Record<string, unknown>>;
  readonly chars: number;
}

export interface Progress {
  /** Events that are durable now, counted from the first. */
  readonly acknowledged: number;
  /** The highest position among them. */
  readonly position: Position;
}

export interface LoadOptions {
  readonly dbx: Dbx;
  /** Asked before each transaction, so that revoking a token ends the load. */
  readonly actorOf: () => Actor;
  /** Told after each transaction. */
  readonly acknowledge: (progress: Progress) => void;
  /** More may be added again. */
  readonly onRoom: () => void;
}

export interface Load {
  /** Whether more may be added now; otherwise `onRoom` says when. */
  readonly add: (events: readonly LoadedEvent[]) => boolean;
  /** No more will come; `fault` is why, where what came next was no event. */
  readonly finish: (fault?: unknown) => void;
  /** Nobody waits any more: what has not been begun is dropped. */
  readonly abandon: () => void;
  /**
   * Resolves once everything is durable, or the load is abandoned. Rejects with the first refusal,
   * `details.index` being the event's place: all before it are durable, none after it is appended.
   */
  readonly done: Promise<void>;
}

export function createLoad(options: LoadOptions): Load {
  const { promise: done, resolve, reject } = Promise.withResolvers<void>();
  const waiting: LoadedEvent[] = [];
  let waitingChars = 0;
  let isOpen = true;
  let isDropped = false;
  let isRunning = false;
  let isFull = false;
  let fault: unknown;
  let progress: Progress = { acknowledged: 0, position: 0 };

  const hasRoom = (): boolean =>
    waiting.length < limits.load_events_max && waitingChars < limits.load_chars_max;

  async function run(): Promise<void> {
    isRunning = true;
    try {
      while (waiting.length > 0 && !isDropped) {
        const inputs = take();
        if (isFull && hasRoom()) {
          isFull = false;
          options.onRoom();
        }
        await append(inputs);
      }
      isRunning = false;
      if (!isOpen) settle();
    } catch (error) {
      // From here on nothing is begun: what still comes is refused with what came before.
      abandon();
      reject(placed(error, progress.acknowledged));
    }
  }

  function settle(): void {
    if (fault === undefined || isDropped) resolve();
    else reject(placed(fault, progress.acknowledged));
  }

  /** What one transaction may hold; the first event always fits. */
  function take(): LoadedEvent["input"][] {
    let chars = 0;
    let count = 0;
    for (const event of waiting) {
      if (count === limits.load_events_max) break;
      if (count > 0 && chars + event.chars > limits.load_chars_max) break;
      chars += event.chars;
      count++;
    }
    waitingChars -= chars;
    return waiting.splice(0, count).map(({ input }) => input);
  }

  async function append(events: readonly LoadedEvent["input"][]): Promise<void> {
    const actor = options.actorOf();
    const { dbx } = options;
    let records: Output<"appendEvents">;
    try {
      records = await call(dbx, { operation: "appendEvents", input: { events }, actor });
    } catch {
      // One of them was refused, and only by itself can it say so. Events that are known from an
      // earlier load go through this way, too: together with new ones they are no repetition.
      return appendEach(events);
    }
    count(records);
    options.acknowledge(progress);
  }

  async function appendEach(events: readonly LoadedEvent["input"][]): Promise<void> {
    const { dbx, actorOf } = options;
    const before = progress;
    try {
      for (const input of events) {
        if (isDropped) return;
        count([await call(dbx, { operation: "appendEvent", input, actor: actorOf() })]);
      }
    } finally {
      if (progress !== before) options.acknowledge(progress);
    }
  }

  function count(records: Output<"appendEvents">): void {
    const position = records.reduce((most, record) => Math.max(most, record.position), 0);
    progress = {
      acknowledged: progress.acknowledged + records.length,
      position: Math.max(progress.position, position),
    };
  }

  function abandon(): void {
    isDropped = true;
    isOpen = false;
    waiting.length = 0;
    waitingChars = 0;
    if (!isRunning) resolve();
  }

  return {
    done,
    abandon,
    add(events) {
      if (!isOpen) return false;
      for (const event of events) {
        waiting.push(event);
        waitingChars += event.chars;
      }
      if (!isRunning && waiting.length > 0) void run();
      isFull = !hasRoom();
      return !isFull;
    },
    finish(why) {
      if (!isOpen) return;
      isOpen = false;
      fault = why;
      if (!isRunning) settle();
    },
  };
}

/** A refusal with the place of its event in the load. */
function placed(error: unknown, index: number): unknown {
  if (!(error instanceof DbxError)) return error;
  return new DbxError(error.code, error.message, { ...error.details, index }, { cause: error });
}
