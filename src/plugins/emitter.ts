// What a kind of plugin has to do: take events in order and say how many of them arrived. When,
// what is tried again and what is remembered is the dispatcher's business.

import type { EventRecord } from "../model/event.ts";
import type { State } from "../model/aggregate.ts";

/** An event, and what proves it. */
export interface Proven {
  readonly record: EventRecord;
  /** 16 bytes, none where the body is erased, and the digest that proves payload and note with it. */
  readonly body: { readonly salt: Uint8Array; readonly content_digest: Uint8Array } | null;
}

/** One event on its way to a plugin; `body` is null for the sample of a test. */
export interface Emission extends Proven {
  /** The record as canonical JSON on one line: what TCP and HTTP send. */
  readonly json: string;
  /**
   * Which delivery of the plugin this is, since it was made. Grows by one with each event that was
   * delivered, where there is one call at a time; what is tried again may have its number again.
   */
  readonly sequence: number;
  /** The aggregate's state at this very version, archived flag as it is now. */
  readonly state: () => Promise<{ readonly state: State; readonly archived: boolean }>;
  /**
   * Of an erasure: everything that the aggregate has before it, without bodies, for receivers that
   * take such events together with it alone. Empty for all others, and where these are more than
   * fit into a transaction.
   */
  readonly before: () => Promise<readonly Proven[]>;
  /** The schema that is declared now, as JSON; null without one. */
  readonly schema: () => string | null;
}

/** Why an event did not arrive. */
export interface Fault {
  /** What happened, to what: one line without payload or secret, at most 500 characters. */
  readonly message: string;
  /**
   * Whether somebody was there who may take the next event all the same. False: nobody was there,
   * or somebody who takes nothing from anybody for now, so the next event would fail, too.
   */
  readonly reached: boolean;
}

/** An event that counted as delivered, and why it cannot be any more. */
export interface GivenUp {
  readonly record: Omit<EventRecord, "payload" | "hash" | "merkle_root">;
  readonly message: string;
}

export interface Emitter {
  /** Events of one call, at most. May change between calls: less while a receiver is slow. */
  readonly events_max: number;
  /** Calls at a time, each with events of other aggregates. */
  readonly lanes: number;
  /**
   * Delivers in the given order. Resolves with how many arrived, from the first one on, and why the
   * next one did not; never rejects. MUST resolve within its own time limit, and soon after the
   * signal.
   */
  readonly deliver: (
    emissions: readonly Emission[],
    signal: AbortSignal,
  ) => Promise<{ readonly delivered: number; readonly fault: Fault | null }>;
  /** Begins what has to run between deliveries, too: a process. Called once, before the first one. */
  readonly start?: () => void;
  /**
   * What was given up, for kinds that count events as delivered before somebody has read them; they
   * are dead. Kept until it is said that they are forgotten, because they are settled elsewhere.
   */
  readonly given_up?: {
    readonly all: () => readonly GivenUp[];
    /** Resolves when there is one, or after the signal. */
    readonly some: (signal: AbortSignal) => Promise<void>;
    readonly forget: (those: readonly GivenUp[]) => void;
  };
  /** Whether deliveries can be expected to arrive. Rejects with a DbxError that says why not. */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** Lets go of connections and processes, within a time limit. Never rejects. */
  readonly close: () => Promise<void>;
}
