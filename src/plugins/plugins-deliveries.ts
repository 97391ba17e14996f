// What can be asked about deliveries: tests, replays, and the queue of what failed.

import type { Dbx } from "../api/dbx.ts";
import type { Actor } from "../model/actor.ts";
import type { Note } from "../model/audit.ts";
import { failedPrecondition, notFound } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Position } from "../model/stream.ts";
import type { Deliveries, OutboxSelection, PluginEntry } from "../storage/deliveries.ts";
import {
  added,
  noRetries,
  replayEvents,
  retryDeliveries,
  type ReplayDeps,
} from "./dispatcher-retry.ts";
import type { Mirror } from "./plugins-mirror.ts";
import type { Runners, RunnersDeps } from "./plugins-runners.ts";
import { cursorOf, placeOf, sampleEmission } from "./plugins-shown.ts";

export interface PluginsDeps
  extends Omit<RunnersDeps, "changed" | "dropped">, Pick<ReplayDeps, "readIds"> {
  /** Whether loops run: in a server. */
  readonly runs: boolean;
  readonly head: () => Position;
  readonly noteOf: (actor: Pick<Actor, "group" | "user">) => Note;
  /** Whether it is this machine's command line. */
  readonly isMachine: (actor: Actor) => boolean;
  readonly mirror: Mirror;
}

export type PluginOperations = Pick<
  Dbx,
  | "listPlugins"
  | "putPlugin"
  | "enablePlugin"
  | "disablePlugin"
  | "removePlugin"
  | "testPlugins"
  | "replayPlugin"
  | "listQueue"
  | "clearQueue"
  | "retryQueue"
>;

type DeliveryOperations = Pick<
  PluginOperations,
  "testPlugins" | "replayPlugin" | "listQueue" | "clearQueue" | "retryQueue"
>;

export async function entryOf(deliveries: Deliveries, name: string): Promise<PluginEntry> {
  const entry = (await deliveries.readPlugins()).find(({ plugin }) => plugin.name === name);
  if (entry !== undefined) return entry;
  throw notFound(`no plugin named '${name}' is configured`, { plugin: name });
}

export function createDeliveryOperations(deps: PluginsDeps, runners: Runners): DeliveryOperations {
  const { deliveries, mirror, noteOf } = deps;
  /** Those that are meant; all without a name. */
  const entriesOf = async (name: string | undefined): Promise<readonly PluginEntry[]> =>
    name === undefined ? deliveries.readPlugins() : [await entryOf(deliveries, name)];
  return {
    testPlugins: async () => {
      const enabled = (await deliveries.readPlugins()).filter(({ plugin }) => plugin.enabled);
      return Promise.all(enabled.map((entry) => test(deps, runners, entry)));
    },
    replayPlugin: async (actor, { name, aggregate_type, aggregate_id, after, take }) => {
      const entry = await entryOf(deliveries, name);
      if (!entry.plugin.enabled) {
        throw failedPrecondition(`no enabled plugin named '${name}' is configured`, {
          plugin: name,
        });
      }
      const place = after === undefined ? null : placeOf(after);
      // Once, and not with each page.
      if (place === null)
        await noteOf(actor)("plugin.replay", name, { aggregate_type, aggregate_id });
      const { next, fault, ...replayed } = await runners.inTurn(entry, (step, turn) =>
        replayEvents({ ...step, readIds: deps.readIds }, turn, {
          ...{ aggregate_type, aggregate_id: aggregate_id ?? null },
          after: place && { aggregate_id: place.name, version: place.number },
          limit: Math.min(take ?? limits.plugin_page_events, limits.plugin_page_events),
        }),
      );
      const cursor = next && cursorOf({ number: next.version, name: next.aggregate_id });
      return { ...replayed, next: cursor, error: fault };
    },
    listQueue: async (_actor, { plugin, event_id, dead, after, take }) => {
      const entries = await entriesOf(plugin);
      const limit = take ?? limits.plugin_rows_max;
      const place = after === undefined ? null : placeOf(after);
      const selection: OutboxSelection = {
        ...(plugin === undefined ? {} : { plugin }),
        ...(event_id === undefined ? {} : { event_id: event_id.toLowerCase() }),
        ...(dead === undefined ? {} : { dead }),
      };
      const rows = await deliveries.readOutbox(selection, {
        after: place && { plugin: place.name, position: place.number },
        limit,
      });
      const last = rows.length < limit ? undefined : rows.at(-1);
      return {
        pending: entries.reduce((sum, entry) => sum + entry.pending, 0),
        dead: entries.reduce((sum, entry) => sum + entry.dead, 0),
        deliveries: rows,
        next: last === undefined ? null : cursorOf({ number: last.position, name: last.plugin }),
      };
    },
    clearQueue: async (actor, { plugin }) => {
      const entries = await entriesOf(plugin);
      const dead = entries.reduce((sum, entry) => sum + entry.dead, 0);
      if (dead > 0) await noteOf(actor)("queue.clear", plugin ?? null, { dead });
      const cleared = await deliveries.clearDead(plugin === undefined ? {} : { plugin });
      mirror.showQueue();
      return { cleared };
    },
    retryQueue: async (actor, { plugin, event_id }) => {
      const entries = await concerned(deps, await entriesOf(plugin), event_id?.toLowerCase());
      if (entries.length > 0) await noteOf(actor)("queue.retry", plugin ?? null, { event_id });
      const result = await retryAll(runners, { entries, event_id: event_id?.toLowerCase() });
      mirror.showQueue();
      return result;
    },
  };
}

async function test({ jsonOf }: PluginsDeps, runners: Runners, entry: PluginEntry) {
  const { name, config } = entry.plugin;
  const about = { name, type: config.type };
  try {
    return await runners.inTurn(entry, async ({ emitter }, { signal }) => {
      await emitter.check(signal);
      const { fault } = await emitter.deliver([sampleEmission(jsonOf)], signal);
      return { ...about, ok: fault === null, error: fault?.message ?? null };
    });
  } catch (error) {
    return { ...about, ok: false, error: reasonOf(error) };
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** Those that have something to try. */
async function concerned(
  { deliveries }: PluginsDeps,
  entries: readonly PluginEntry[],
  event_id: string | undefined,
): Promise<readonly PluginEntry[]> {
  if (event_id === undefined) return entries.filter(({ dead }) => dead > 0);
  const found: PluginEntry[] = [];
  for (const entry of entries) {
    const selection = { plugin: entry.plugin.name, event_id };
    const rows = await deliveries.readOutbox(selection, { after: null, limit: 1 });
    if (rows.length > 0) found.push(entry);
  }
  return found;
}

async function retryAll(
  runners: Runners,
  { entries, event_id }: { entries: readonly PluginEntry[]; event_id: string | undefined },
) {
  let summary = noRetries;
  const faults: { plugin: string; event_id: string; message: string }[] = [];
  const skipped: { plugin: string; error: string }[] = [];
  for (const entry of entries) {
    const { name: plugin, enabled } = entry.plugin;
    const skip = (error: string): void => {
      skipped.push({ plugin, error });
      summary = added(summary, {
        ...noRetries,
        remaining: event_id === undefined ? entry.dead : 1,
      });
    };
    if (!enabled) {
      skip("disabled");
      continue;
    }
    const tried = await runners.inTurn(entry, async (step, turn) => {
      try {
        await step.emitter.check(turn.signal);
      } catch (error) {
        return reasonOf(error);
      }
      return retryDeliveries(step, turn, event_id === undefined ? {} : { event_id });
    });
    if (typeof tried === "string") {
      skip(tried);
      continue;
    }
    summary = added(summary, tried);
    faults.push(...tried.faults.map((fault) => ({ plugin, ...fault })));
  }
  const { succeeded, failed, dropped, remaining } = summary;
  return {
    ...{ succeeded, failed, dropped, remaining, skipped },
    faults: faults.slice(0, limits.verify_faults_max),
  };
}
