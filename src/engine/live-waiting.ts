// Followers that have seen everything, by what they wait for: a commit finds those it concerns
// without looking at the others. One timer serves the signs of life of all of them.

import { covers, type Actor } from "../model/actor.ts";
import type { CommittedEvent } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import type { Position } from "../model/stream.ts";
import type { Selection } from "./log-reader.ts";

export interface Waiting {
  /**
   * Resolves when a selected event is appended, after `heartbeat_ms` without one, or once it is
   * released: with the position up to which there is nothing to be read, null where that is not
   * known. The caller MUST have read everything up to the head. What the scope does not cover wakes
   * nobody: when signs of life come must not tell that it happened.
   */
  readonly wait: (selection: Selection, scoped: Pick<Actor, "scope">) => Wait;
  /** Wakes whom these events concern; null: everybody. Returns before they run. */
  readonly wake: (events: readonly CommittedEvent[] | null) => void;
  readonly count: () => number;
}

export interface Wait {
  readonly woken: Promise<Position | null>;
  readonly release: () => void;
}

interface Waiter {
  readonly group: Map<string, Set<Waiter>>;
  readonly names: string;
  readonly scoped: Pick<Actor, "scope">;
  readonly resolve: (seen: Position | null) => void;
  readonly due_ms: number;
}

type Name = keyof Selection;

/** `head` is the position up to which `wake` has been told everything. */
export function createWaiting(options: { head: () => Position; heartbeat_ms: number }): Waiting {
  /** By which names a follower selects, and by what they say. At most eight groups. */
  const groups = new Map<string, { by: readonly Name[]; waiters: Map<string, Set<Waiter>> }>();
  /** In the order in which they came, which is that of their signs of life. */
  const all = new Set<Waiter>();
  const woken: (() => void)[] = [];
  let timer: Timer | null = null;

  function groupOf(selection: Selection): {
    by: readonly Name[];
    waiters: Map<string, Set<Waiter>>;
  } {
    const by = selectable.filter((name) => selection[name] !== undefined);
    const text = by.join();
    const known = groups.get(text);
    if (known !== undefined) return known;
    const group = { by, waiters: new Map<string, Set<Waiter>>() };
    groups.set(text, group);
    return group;
  }

  function wait(selection: Selection, scoped: Pick<Actor, "scope">): Wait {
    const { by, waiters } = groupOf(selection);
    const { promise, resolve } = Promise.withResolvers<Position | null>();
    const names = namesOf(by, selection);
    const due_ms = performance.now() + options.heartbeat_ms;
    const waiter: Waiter = { group: waiters, names, scoped, resolve, due_ms };
    const alike = waiters.get(names);
    if (alike === undefined) waiters.set(names, new Set([waiter]));
    else alike.add(waiter);
    all.add(waiter);
    arm();
    const release = (): void => {
      remove(waiter);
      resolve(null);
    };
    return { woken: promise, release };
  }

  function remove(waiter: Waiter): void {
    const alike = waiter.group.get(waiter.names);
    alike?.delete(waiter);
    if (alike?.size === 0) waiter.group.delete(waiter.names);
    all.delete(waiter);
  }

  function wakeAt(waiter: Waiter, seen: Position | null): void {
    remove(waiter);
    if (woken.length === 0) setImmediate(resume);
    woken.push(() => waiter.resolve(seen));
  }

  /** Some in each turn, so that those who append are answered between them. */
  function resume(): void {
    for (const run of woken.splice(0, limits.live_wakes_max)) run();
    if (woken.length > 0) setImmediate(resume);
  }

  function wake(events: readonly CommittedEvent[] | null): void {
    if (all.size === 0) return;
    if (events === null) for (const waiter of all) wakeAt(waiter, null);
    for (const event of events ?? []) {
      for (const { by, waiters } of groups.values()) {
        if (waiters.size === 0) continue;
        const concerned = waiters.get(namesOf(by, event));
        for (const waiter of concerned ?? []) {
          if (covers(waiter.scoped, event)) wakeAt(waiter, event.position - 1);
        }
      }
    }
  }

  function arm(): void {
    const [first] = all;
    if (timer !== null || first === undefined) return;
    timer = setTimeout(giveSigns, Math.max(0, first.due_ms - performance.now()));
    timer.unref();
  }

  function giveSigns(): void {
    timer = null;
    const now_ms = performance.now();
    for (const waiter of all) {
      if (waiter.due_ms > now_ms) break;
      wakeAt(waiter, options.head());
    }
    arm();
  }

  return { wait, wake, count: () => all.size };
}

const selectable: readonly Name[] = ["aggregate_type", "aggregate_id", "event_type"];

/** The separator is a control character, which no name may contain. */
function namesOf(by: readonly Name[], names: Selection): string {
  let text = "";
  for (const name of by) text += `${names[name] ?? ""}\u0000`;
  return text;
}
