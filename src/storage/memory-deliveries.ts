// The reference implementation of the port beside the log: maps, obviously right, nothing durable.
// The oracle of the property tests, and what a store that never had a plugin reads as.

import { assert, notFound } from "../model/error.ts";
import type { Delivery, Plugin } from "../model/plugin.ts";
import { compareUtf8, keyText, type Position } from "../model/stream.ts";
import type { Deliveries, OutboxSelection, PluginEntry, Settlement } from "./deliveries.ts";

interface Kept {
  plugin: Plugin;
  checkpoint: Position;
  sequence: number;
  dropped: number;
  readonly outbox: Map<Position, Delivery>;
}

export function createMemoryDeliveries(): Deliveries {
  const plugins = new Map<string, Kept>();
  const of = (name: string): Kept => {
    const kept = plugins.get(name);
    if (kept === undefined) throw noPlugin(name);
    return kept;
  };
  return {
    readPlugins: async () =>
      [...plugins.values()].map(toEntry).sort((left, right) => byName(left.plugin, right.plugin)),
    putPlugin: async (plugin, checkpoint) => {
      const kept = plugins.get(plugin.name);
      assert(kept !== undefined || checkpoint !== null, "a new plugin begins somewhere");
      if (kept === undefined) {
        const fresh = { sequence: 0, dropped: 0, outbox: new Map<Position, Delivery>() };
        plugins.set(plugin.name, { plugin, checkpoint: checkpoint ?? 0, ...fresh });
        return;
      }
      kept.plugin = plugin;
      if (checkpoint === null) return;
      kept.checkpoint = checkpoint;
      for (const position of kept.outbox.keys())
        if (position > checkpoint) kept.outbox.delete(position);
    },
    removePlugin: async (name) => {
      const { size } = of(name).outbox;
      plugins.delete(name);
      return size;
    },
    settle: async (name, settlement) => settle(of(name), settlement),
    readDue: async (name, { now, limit, lane_limit }) => {
      const due = lanesOf(of(name))
        .filter(([first]) => first !== undefined && timeOf(first) <= now)
        .sort(([left], [right]) => byTime(left, right));
      return due.flatMap((lane) => dueOf(lane, now).slice(0, lane_limit)).slice(0, limit);
    },
    nextDue: async (name) => {
      const times = lanesOf(of(name)).flatMap(([first]) => (first ? [timeOf(first)] : []));
      return times.sort()[0] ?? null;
    },
    waiting: async (name, keys) => {
      const there = new Set(lanesOf(of(name)).flatMap(([first]) => (first ? keyText(first) : [])));
      return keys.filter((key) => there.has(keyText(key)));
    },
    readOutbox: async (selection, { after, limit }) =>
      sorted(plugins)
        .filter((each) => selects(selection, each))
        .filter((each) => after === null || compare(each, after) > 0)
        .slice(0, limit),
    clearDead: async ({ plugin }) =>
      remove(plugins, (each) => each.dead && (plugin === undefined || each.plugin === plugin)),
    dropStream: async (key, { before }) =>
      remove(plugins, (each, kept) => {
        const isGone = keyText(each) === keyText(key) && each.position < before;
        if (isGone) kept.dropped++;
        return isGone;
      }),
    sealPlain: async () => undefined,
    check: async () => [],
    close: async () => undefined,
  };
}

export const noPlugin = (name: string) =>
  notFound(`no plugin named '${name}' is configured`, { plugin: name });

function settle(kept: Kept, { checkpoint, failed, delivered, dropped, count }: Settlement): void {
  const end = checkpoint ?? kept.checkpoint;
  assert(end >= kept.checkpoint, "a checkpoint never goes back");
  const isBehind = failed.every(({ position }) => position <= end);
  assert(isBehind, "the outbox is not ahead of the checkpoint");
  kept.checkpoint = end;
  for (const position of [...delivered, ...dropped]) kept.outbox.delete(position);
  for (const failure of failed) {
    kept.outbox.set(failure.position, { plugin: kept.plugin.name, ...failure });
  }
  kept.sequence += count;
  kept.dropped += dropped.length;
}

function toEntry({ plugin, checkpoint, sequence, dropped, outbox }: Kept): PluginEntry {
  const dead = [...outbox.values()].filter((each) => each.dead).length;
  return { plugin, checkpoint, sequence, dropped, pending: outbox.size - dead, dead };
}

const byName = (left: { name: string }, right: { name: string }): number =>
  compareUtf8(left.name, right.name);

/** When a delivery may be tried; one that only waits may as soon as it is the first. */
const timeOf = ({ next_attempt_at }: Delivery): string => next_attempt_at ?? "";

function byTime(left: Delivery | undefined, right: Delivery | undefined): number {
  if (left === undefined || right === undefined) return 0;
  return compareUtf8(timeOf(left), timeOf(right)) || left.position - right.position;
}

/** Pending deliveries, by aggregate, each in the order of positions. */
function lanesOf({ outbox }: Kept): Delivery[][] {
  const pending = [...outbox.values()].filter(({ dead }) => !dead);
  pending.sort((left, right) => left.position - right.position);
  return [...Map.groupBy(pending, keyText).values()];
}

/** The part of a lane that may go now. */
function dueOf(lane: readonly Delivery[], now: string): Delivery[] {
  const end = lane.findIndex((each) => timeOf(each) > now);
  return lane.slice(0, end === -1 ? lane.length : end);
}

const sorted = (plugins: ReadonlyMap<string, Kept>): Delivery[] =>
  [...plugins.values()].flatMap(({ outbox }) => [...outbox.values()]).sort(compare);

const compare = (
  left: Pick<Delivery, "plugin" | "position">,
  right: Pick<Delivery, "plugin" | "position">,
): number => compareUtf8(left.plugin, right.plugin) || left.position - right.position;

const selects = ({ plugin, event_id, dead }: OutboxSelection, delivery: Delivery): boolean =>
  (plugin === undefined || delivery.plugin === plugin) &&
  (event_id === undefined || delivery.event_id === event_id) &&
  (dead === undefined || delivery.dead === dead);

function remove(
  plugins: ReadonlyMap<string, Kept>,
  isGone: (delivery: Delivery, kept: Kept) => boolean,
): number {
  let count = 0;
  for (const kept of plugins.values()) {
    for (const [position, delivery] of kept.outbox) {
      if (!isGone(delivery, kept)) continue;
      kept.outbox.delete(position);
      count++;
    }
  }
  return count;
}
