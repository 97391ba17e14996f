// What every implementation of the port beside the log must do. Ten lines per implementation call
// it; what only one of them can do is tested beside that one.

import { describe, expect, test } from "bun:test";
import { DbxError } from "../../src/model/error.ts";
import type { Plugin } from "../../src/model/plugin.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import type { Deliveries, Failure, Settlement } from "../../src/storage/deliveries.ts";

export interface DeliveriesSubject {
  readonly deliveries: Deliveries;
  /** Closes and opens again; null where nothing is durable. */
  readonly reopen: (() => Promise<Deliveries>) | null;
}

export const pluginOf = (name: string, changes: Partial<Plugin> = {}): Plugin => ({
  enabled: true,
  name,
  config: { type: "tcp", host: "127.0.0.1", port: 9_000 },
  ...changes,
});

export const streamOf = (aggregate_id: string): StreamKey => ({
  aggregate_type: "patient",
  aggregate_id,
});

/** A delivery that failed once and is due at 12. */
export const failureOf = (
  aggregate_id: string,
  position: number,
  changes: Partial<Failure> = {},
): Failure => ({
  ...streamOf(aggregate_id),
  position,
  version: position,
  event_id: `00000000-0000-4000-8000-${String(position).padStart(12, "0")}`,
  event_type: "noted",
  attempts: 1,
  dead: false,
  next_attempt_at: at(12),
  last_error: "refused",
  ...changes,
});

/** One that only waits behind another. */
export const waitingOf = (aggregate_id: string, position: number): Failure =>
  failureOf(aggregate_id, position, { attempts: 0, next_attempt_at: null, last_error: null });

export const deadOf = (aggregate_id: string, position: number): Failure =>
  failureOf(aggregate_id, position, { attempts: 10, dead: true, next_attempt_at: null });

export const at = (hour: number): string => `2025-01-01T${String(hour)}:00:00.000000Z`;

export const settlementOf = (changes: Partial<Settlement>): Settlement => ({
  ...{ checkpoint: null, failed: [], delivered: [], dropped: [], count: 0 },
  ...changes,
});

const positionsOf = (found: readonly { readonly position: number }[]): number[] =>
  found.map(({ position }) => position);

export function deliveriesConformance(
  name: string,
  run: (use: (subject: DeliveriesSubject) => Promise<void>) => Promise<void>,
): void {
  const check = (title: string, use: (subject: DeliveriesSubject) => Promise<void>) =>
    test(title, () => run(use));
  describe(`deliveries: ${name}`, () => {
    plugins(check);
    settling(check);
    due(check);
    outbox(check);
    restart(check);
  });
}

type Check = (title: string, use: (subject: DeliveriesSubject) => Promise<void>) => void;

function plugins(check: Check): void {
  check("without plugins everything reads as empty", async ({ deliveries }) => {
    expect(await deliveries.readPlugins()).toEqual([]);
    expect(await deliveries.readOutbox({}, { after: null, limit: 10 })).toEqual([]);
    expect(await deliveries.clearDead({})).toBe(0);
    expect(await deliveries.dropStream(streamOf("a"), { before: 9 })).toBe(0);
    expect(await deliveries.check({ limit: 10 })).toEqual([]);
    for (const refused of [
      () => deliveries.settle("none", settlementOf({})),
      () => deliveries.removePlugin("none"),
      () => deliveries.nextDue("none"),
      () => deliveries.waiting("none", []),
    ]) {
      expect(await refused().catch((error: unknown) => error)).toMatchObject({ code: "not_found" });
    }
  });

  check("plugins are read by name, with where they begin", async ({ deliveries }) => {
    const names = ["b", "a", "é", "\u{1f600}", "\uffee"];
    for (const [index, name] of names.entries()) await deliveries.putPlugin(pluginOf(name), index);

    const entries = await deliveries.readPlugins();

    expect(entries.map(({ plugin }) => plugin.name)).toEqual([
      "a",
      "b",
      "é",
      "\uffee",
      "\u{1f600}",
    ]);
    expect(entries[0]).toEqual({
      ...{ plugin: pluginOf("a"), checkpoint: 1, sequence: 0, dropped: 0, pending: 0, dead: 0 },
    });
  });

  check("a plugin put again goes on where it is, with what it has", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 3);
    const failed = [failureOf("a", 4)];
    await deliveries.settle("p", settlementOf({ checkpoint: 7, failed, count: 3 }));
    const config = { type: "log", level: "info", template: null } as const;

    await deliveries.putPlugin(pluginOf("p", { enabled: false, config }), null);

    expect(await deliveries.readPlugins()).toEqual([
      {
        plugin: { name: "p", enabled: false, config },
        ...{ checkpoint: 7, sequence: 3, dropped: 0, pending: 1, dead: 0 },
      },
    ]);
  });

  check("a checkpoint put anew takes away what lies beyond it", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 0);
    const failed = [failureOf("a", 4), failureOf("b", 6), deadOf("c", 8)];
    await deliveries.settle("p", settlementOf({ checkpoint: 9, failed, count: 6 }));

    await deliveries.putPlugin(pluginOf("p"), 5);

    const [entry] = await deliveries.readPlugins();
    expect(entry).toMatchObject({ checkpoint: 5, sequence: 6, pending: 1, dead: 0 });
    expect(await deliveries.check({ limit: 10 })).toEqual([]);
  });

  check("a new plugin without a place to begin is a mistake", async ({ deliveries }) => {
    await expect(deliveries.putPlugin(pluginOf("p"), null)).rejects.toThrow("begins somewhere");
  });

  check("removing takes the plugin's outbox along, and no other's", async ({ deliveries }) => {
    for (const name of ["p", "q"]) {
      await deliveries.putPlugin(pluginOf(name), 0);
      const failed = [failureOf("a", 1), deadOf("b", 2)];
      await deliveries.settle(name, settlementOf({ checkpoint: 2, failed }));
    }

    expect(await deliveries.removePlugin("p")).toBe(2);

    expect((await deliveries.readPlugins()).map(({ plugin }) => plugin.name)).toEqual(["q"]);
    const left = await deliveries.readOutbox({}, { after: null, limit: 10 });
    expect(left.map(({ plugin, position }) => [plugin, position])).toEqual([
      ["q", 1],
      ["q", 2],
    ]);
    await deliveries.putPlugin(pluginOf("p"), 5);
    expect((await deliveries.readPlugins())[0]).toMatchObject({ sequence: 0, pending: 0 });
  });
}

function settling(check: Check): void {
  check("a step is kept as a whole", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 0);
    const first = [failureOf("a", 1), failureOf("b", 2), deadOf("c", 3)];
    await deliveries.settle("p", settlementOf({ checkpoint: 5, failed: first, count: 2 }));

    const again = failureOf("b", 2, { attempts: 2, next_attempt_at: at(13), last_error: "ünh" });
    await deliveries.settle(
      "p",
      settlementOf({ checkpoint: 8, failed: [again], delivered: [1], dropped: [3, 7], count: 3 }),
    );

    expect((await deliveries.readPlugins())[0]).toMatchObject({
      ...{ checkpoint: 8, sequence: 5, dropped: 2, pending: 1, dead: 0 },
    });
    expect(await deliveries.readOutbox({}, { after: null, limit: 10 })).toEqual([
      { plugin: "p", ...again },
    ]);
    expect(await deliveries.check({ limit: 10 })).toEqual([]);
  });

  check("a step that is refused changes nothing", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 4);
    await deliveries.settle("p", settlementOf({ checkpoint: 5, failed: [failureOf("a", 5)] }));
    const before = await deliveries.readPlugins();

    const back = settlementOf({ checkpoint: 3, delivered: [5], count: 1 });
    const ahead = settlementOf({ delivered: [5], failed: [failureOf("b", 6)], count: 1 });

    await expect(deliveries.settle("p", back)).rejects.toThrow("never goes back");
    await expect(deliveries.settle("p", ahead)).rejects.toThrow("not ahead");
    expect(await deliveries.readPlugins()).toEqual(before);
  });

  check("erasing takes an aggregate out of every plugin, up to a place", async ({ deliveries }) => {
    for (const name of ["p", "q"]) {
      await deliveries.putPlugin(pluginOf(name), 0);
      const failed = [failureOf("a", 1), failureOf("b", 2), deadOf("a", 3), waitingOf("a", 4)];
      await deliveries.settle(name, settlementOf({ checkpoint: 6, failed }));
    }
    await deliveries.settle("q", settlementOf({ failed: [waitingOf("a", 6)] }));

    expect(await deliveries.dropStream(streamOf("a"), { before: 6 })).toBe(6);

    const left = await deliveries.readOutbox({}, { after: null, limit: 10 });
    expect(left.map(({ plugin, position }) => `${plugin}${position}`)).toEqual(["p2", "q2", "q6"]);
    for (const entry of await deliveries.readPlugins()) expect(entry.dropped).toBe(3);
    const due = await deliveries.readDue("q", { now: at(11), limit: 9, lane_limit: 9 });
    expect(positionsOf(due)).toEqual([6]);
    expect(await deliveries.check({ limit: 10 })).toEqual([]);
  });
}

function due(check: Check): void {
  const one = { limit: 10, lane_limit: 1 };

  check("an aggregate's earliest holds back what comes after it", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 0);
    const failed = [failureOf("a", 1), waitingOf("a", 2), failureOf("a", 3), failureOf("b", 4)];
    await deliveries.settle("p", settlementOf({ checkpoint: 4, failed }));

    expect(await deliveries.readDue("p", { now: at(11), ...one })).toEqual([]);
    expect(await deliveries.nextDue("p")).toBe(at(12));
    const due = async (lane_limit: number) =>
      positionsOf(await deliveries.readDue("p", { now: at(12), limit: 10, lane_limit }));
    expect(await due(1)).toEqual([1, 4]);
    expect(await due(2)).toEqual([1, 2, 4]);
    expect(await due(9)).toEqual([1, 2, 3, 4]);
  });

  check("what only waited may go at once when it is the first", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 0);
    const failed = [failureOf("a", 1), waitingOf("a", 2), failureOf("b", 3)];
    await deliveries.settle("p", settlementOf({ checkpoint: 3, failed }));

    await deliveries.settle("p", settlementOf({ delivered: [1], count: 1 }));

    expect(await deliveries.nextDue("p")).toBe("");
    const early = await deliveries.readDue("p", { now: at(10), ...one });
    expect(positionsOf(early)).toEqual([2]);
    const later = await deliveries.readDue("p", { now: at(13), ...one });
    expect(positionsOf(later)).toEqual([2, 3]);
  });

  check("a dead delivery holds nothing back, and is never due", async ({ deliveries }) => {
    await deliveries.putPlugin(pluginOf("p"), 0);
    const failed = [failureOf("a", 1), waitingOf("a", 2)];
    await deliveries.settle("p", settlementOf({ checkpoint: 3, failed }));
    expect(await deliveries.waiting("p", [streamOf("a"), streamOf("b")])).toEqual([streamOf("a")]);

    await deliveries.settle("p", settlementOf({ failed: [deadOf("a", 1)] }));

    const now = await deliveries.readDue("p", { now: at(23), ...one });
    expect(positionsOf(now)).toEqual([2]);
    await deliveries.settle("p", settlementOf({ delivered: [2], count: 1 }));
    expect(await deliveries.nextDue("p")).toBeNull();
    expect(await deliveries.waiting("p", [streamOf("a")])).toEqual([]);
    expect((await deliveries.readPlugins())[0]).toMatchObject({ pending: 0, dead: 1 });
  });

  check(
    "aggregates come by time, then place, and a lane may be cut short",
    async ({ deliveries }) => {
      await deliveries.putPlugin(pluginOf("p"), 0);
      const failed = [
        failureOf("a", 1, { next_attempt_at: at(14) }),
        failureOf("b", 2, { next_attempt_at: at(13) }),
        failureOf("c", 3, { next_attempt_at: at(13) }),
        ...[waitingOf("b", 4), waitingOf("b", 5), waitingOf("a", 6)],
      ];
      await deliveries.settle("p", settlementOf({ checkpoint: 6, failed }));
      const due = async (limit: number, lane_limit: number) =>
        positionsOf(await deliveries.readDue("p", { now: at(15), limit, lane_limit }));

      expect(await due(10, 10)).toEqual([2, 4, 5, 3, 1, 6]);
      expect(await due(10, 2)).toEqual([2, 4, 3, 1, 6]);
      expect(await due(2, 10)).toEqual([2, 4]);
      expect(await due(2, 1)).toEqual([2, 3]);
    },
  );
}

function outbox(check: Check): void {
  check("the outbox is read in pages, by plugin, event and state", async ({ deliveries }) => {
    for (const name of ["é", "b"]) {
      await deliveries.putPlugin(pluginOf(name), 0);
      const failed = [failureOf("a", 1), deadOf("b", 2), waitingOf("a", 3), deadOf("c", 4)];
      await deliveries.settle(name, settlementOf({ checkpoint: 4, failed }));
    }
    const { event_id } = deadOf("b", 2);
    const read = async (selection: Parameters<Deliveries["readOutbox"]>[0], limit: number) => {
      const found: string[] = [];
      for (let after: { plugin: string; position: number } | null = null; ;) {
        const page = await deliveries.readOutbox(selection, { after, limit });
        found.push(...page.map(({ plugin, position }) => `${plugin}${position}`));
        const last = page.at(-1);
        if (last === undefined) return found;
        after = { plugin: last.plugin, position: last.position };
      }
    };

    for (const limit of [1, 3, 100]) {
      expect(await read({}, limit)).toEqual(["b1", "b2", "b3", "b4", "é1", "é2", "é3", "é4"]);
      expect(await read({ plugin: "é" }, limit)).toEqual(["é1", "é2", "é3", "é4"]);
      expect(await read({ dead: true }, limit)).toEqual(["b2", "b4", "é2", "é4"]);
      expect(await read({ dead: false, plugin: "b" }, limit)).toEqual(["b1", "b3"]);
      expect(await read({ event_id }, limit)).toEqual(["b2", "é2"]);
      expect(await read({ event_id, dead: false }, limit)).toEqual([]);
      expect(await read({ plugin: "none" }, limit)).toEqual([]);
    }
  });

  check("clearing takes the dead, and leaves the others", async ({ deliveries }) => {
    for (const name of ["p", "q"]) {
      await deliveries.putPlugin(pluginOf(name), 0);
      const failed = [failureOf("a", 1), deadOf("b", 2), deadOf("c", 3)];
      await deliveries.settle(name, settlementOf({ checkpoint: 3, failed }));
    }

    expect(await deliveries.clearDead({ plugin: "p" })).toBe(2);
    expect(await deliveries.clearDead({})).toBe(2);

    const left = await deliveries.readOutbox({}, { after: null, limit: 10 });
    expect(left.map(({ plugin, position }) => `${plugin}${position}`)).toEqual(["p1", "q1"]);
    expect(await deliveries.check({ limit: 10 })).toEqual([]);
  });
}

function restart(check: Check): void {
  check("everything is there after a restart", async ({ deliveries, reopen }) => {
    if (reopen === null) return;
    const config = { type: "http", endpoint: "x", headers: { a: "é" }, https: false } as const;
    await deliveries.putPlugin(pluginOf("p", { config }), 1);
    const failed = [failureOf("a", 2, { last_error: 'said "no"' }), waitingOf("a", 3)];
    await deliveries.settle("p", settlementOf({ checkpoint: 9, failed, count: 6 }));
    const plugins = await deliveries.readPlugins();
    const outbox = await deliveries.readOutbox({}, { after: null, limit: 10 });

    const again = await reopen();

    expect(await again.readPlugins()).toEqual(plugins);
    expect(await again.readOutbox({}, { after: null, limit: 10 })).toEqual(outbox);
    expect(await again.check({ limit: 10 })).toEqual([]);
  });

  check("an error of the port is one of dbx", async ({ deliveries }) => {
    const error = await deliveries.nextDue("none").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DbxError);
  });
}
