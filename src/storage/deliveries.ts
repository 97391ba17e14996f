// The port beside the log: who gets committed events, how far each of them is, and what failed. The
// log holds the events; here are positions alone. Every implementation MUST pass
// test/conformance/deliveries.ts.

import type { Delivery, Plugin } from "../model/plugin.ts";
import type { EventId } from "../model/event.ts";
import type { Position, StreamKey } from "../model/stream.ts";

/** A plugin, and how far it is. */
export interface PluginEntry {
  readonly plugin: Plugin;
  /** Everything up to it is delivered, failed and in the outbox, or dropped. */
  readonly checkpoint: Position;
  /** The last number given to a delivery since the plugin was made. Never goes back. */
  readonly sequence: number;
  /** Events that were dropped instead, because nobody may read them any more. */
  readonly dropped: number;
  readonly pending: number;
  readonly dead: number;
}

/** What came of a delivery that failed. */
export type Failure = Omit<Delivery, "plugin">;

/** One step of a plugin, as one transaction, so that no delivery is lost or forgotten. */
export interface Settlement {
  /** Null: where it is. Never below where it is. */
  readonly checkpoint: Position | null;
  /** Put into the outbox, or in the place of what is there of the same position. */
  readonly failed: readonly Failure[];
  /** Taken out of the outbox, where they are in it. */
  readonly delivered: readonly Position[];
  /** The same, and each of them counted as dropped, also where it was not in the outbox. */
  readonly dropped: readonly Position[];
  /**
   * How many numbers the step has used: those of what was delivered, and maybe of what failed
   * between others that were under way.
   */
  readonly count: number;
}

export interface OutboxSelection {
  readonly plugin?: string;
  readonly event_id?: EventId;
  readonly dead?: boolean;
}

/**
 * After a crash of the process everything that was resolved is there; after a power cut the last
 * settlements may be missing (their events are delivered once more), plugins never.
 */
export interface Deliveries {
  /** By name. */
  readPlugins(): Promise<PluginEntry[]>;

  /**
   * Keeps the plugin in the place of the one of its name, beginning at `checkpoint`: what is in the
   * outbox beyond it goes. Null leaves one that is there where it is, and is an error for a new
   * one. Durable when resolved.
   */
  putPlugin(plugin: Plugin, checkpoint: Position | null): Promise<void>;

  /** With all that is in the outbox for it: resolves with how many that were. Durable. */
  removePlugin(name: string): Promise<number>;

  /** Rejects with `not_found` for a plugin that is not there; then nothing is changed. */
  settle(name: string, settlement: Settlement): Promise<void>;

  /**
   * Pending deliveries whose time has come by `now`: of an aggregate the earliest, and behind it
   * those that only wait for it, at most `lane_limit` of one aggregate. Aggregates by the time of
   * their earliest, then its position; at most `limit` in all.
   */
  readDue(
    name: string,
    options: { now: string; limit: number; lane_limit: number },
  ): Promise<Delivery[]>;

  /** When the next of these comes, empty where one may go at once; null where none waits. */
  nextDue(name: string): Promise<string | null>;

  /** Those of the keys that have a pending delivery: what comes after it has to wait. */
  waiting(name: string, keys: readonly StreamKey[]): Promise<StreamKey[]>;

  /** By plugin, then position: those after `after`, at most `limit`. */
  readOutbox(
    selection: OutboxSelection,
    options: { after: { plugin: string; position: Position } | null; limit: number },
  ): Promise<Delivery[]>;

  /** Takes dead deliveries out: resolves with how many. Durable. */
  clearDead(selection: Pick<OutboxSelection, "plugin">): Promise<number>;

  /**
   * Takes out what an aggregate has before a position, for every plugin, because nobody may read it
   * any more: counted as dropped, and resolves with how many that were.
   */
  dropStream(key: StreamKey, options: { before: Position }): Promise<number>;

  /** Seals definitions and errors that are there in clear, where the store has a key. */
  sealPlain(): Promise<void>;

  /** Faults of what is kept, as sentences; at most `limit`. */
  check(options: { limit: number }): Promise<string[]>;

  close(): Promise<void>;
}
