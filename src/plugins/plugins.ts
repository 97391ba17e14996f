// Which plugins there are, and everything that can be asked of them. A change is noted, then made,
// one after the other; the loops themselves are in plugins-runners.ts.

import type { Actor } from "../model/actor.ts";
import {
  alreadyExists,
  DbxError,
  failedPrecondition,
  invalidArgument,
  permissionDenied,
} from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Plugin, PluginConfig } from "../model/plugin.ts";
import type { Position } from "../model/stream.ts";
import type { PluginEntry } from "../storage/deliveries.ts";
import {
  createDeliveryOperations,
  entryOf,
  type PluginOperations,
  type PluginsDeps,
} from "./plugins-deliveries.ts";
import { createRunners, isBeyond, type Runners } from "./plugins-runners.ts";
import { statusOf } from "./plugins-shown.ts";

export interface Plugins {
  readonly operations: PluginOperations;
  /** Faults of what is kept of plugins, as sentences. */
  readonly check: (options: { limit: number }) => Promise<string[]>;
  /** For `dbx status`. */
  readonly figures: () => Promise<Record<string, number>>;
  /** Ends all loops, within the time that a server drains. */
  readonly close: () => Promise<void>;
}

/** Who takes out of the queue what an erasure left there. */
const itself = { group: "dbx", user: "plugins" } as const;

export async function openPlugins(deps: PluginsDeps): Promise<Plugins> {
  const { deliveries, mirror, noteOf } = deps;
  const runners = createRunners({
    ...deps,
    changed: mirror.showQueue,
    dropped: async ({ aggregate_type, aggregate_id }, count) => {
      const details = { aggregate_type, aggregate_id, deliveries: count };
      await noteOf(itself)("queue.drop", null, details);
    },
  });
  if (deps.runs) await startAll(deps, runners);
  return {
    operations: {
      ...createChanges(deps, runners),
      ...createDeliveryOperations(deps, runners),
    },
    check: deliveries.check,
    figures: () => figuresOf(deps, runners),
    close: async () => {
      await runners.close();
      await mirror.close();
      await deliveries.close();
    },
  };
}

async function startAll({ deliveries, head, log }: PluginsDeps, runners: Runners): Promise<void> {
  for (const entry of await deliveries.readPlugins()) {
    const { plugin, checkpoint } = entry;
    const end = head();
    if (isBeyond(entry, end)) {
      const fields = { plugin: plugin.name, checkpoint, position: end };
      log.warn("plugin is ahead of the log and begins at its end", fields);
      await deliveries.putPlugin(plugin, end);
    }
    if (plugin.enabled) await runners.start({ ...entry, checkpoint: Math.min(checkpoint, end) });
  }
}

async function figuresOf(
  { deliveries, head }: PluginsDeps,
  runners: Runners,
): Promise<Record<string, number>> {
  const entries = await deliveries.readPlugins();
  const sum = (of: (entry: PluginEntry) => number) =>
    entries.reduce((total, entry) => total + of(entry), 0);
  const enabled = entries.filter(({ plugin }) => plugin.enabled);
  return {
    plugins: entries.length,
    plugins_enabled: enabled.length,
    plugins_away: enabled.filter(({ plugin }) => isAway(runners, plugin)).length,
    plugins_lag_max: Math.max(0, ...enabled.map(({ checkpoint }) => head() - checkpoint)),
    deliveries_pending: sum(({ pending }) => pending),
    deliveries_dead: sum(({ dead }) => dead),
    deliveries_dropped: sum(({ dropped }) => dropped),
  };
}

function isAway(runners: Runners, { name }: Plugin): boolean {
  const state = runners.of(name)?.figures().state;
  return state === "away" || state === "interrupted";
}

type Changes = Pick<
  PluginOperations,
  "listPlugins" | "putPlugin" | "enablePlugin" | "disablePlugin" | "removePlugin"
>;

function createChanges(deps: PluginsDeps, runners: Runners): Changes {
  const { deliveries, mirror, noteOf, head } = deps;
  let last: Promise<unknown> = Promise.resolve();

  /** One change at a time, so that two of one plugin cannot start two loops. */
  function change<T>(step: () => Promise<T>): Promise<T> {
    const result = last.then(step);
    last = result.catch(() => undefined);
    return result;
  }

  const shown = (entry: PluginEntry) =>
    statusOf(entry, {
      figures: runners.of(entry.plugin.name)?.figures() ?? null,
      head: head(),
    });

  /** Keeps it, and delivers to it or not, as it says. */
  async function keep(plugin: Plugin, checkpoint: Position | null): Promise<PluginEntry> {
    await runners.end(plugin.name);
    await deliveries.putPlugin(plugin, checkpoint);
    const entry = await entryOf(deliveries, plugin.name);
    if (plugin.enabled && deps.runs) await runners.start(entry);
    await mirror.showPlugins();
    return entry;
  }

  return {
    listPlugins: async () => (await deliveries.readPlugins()).map(shown),
    putPlugin: (actor, { name, config, enabled, from_beginning }) =>
      change(async () => {
        requireMachine(deps, actor, config);
        const entries = await deliveries.readPlugins();
        const before = entries.find(({ plugin }) => plugin.name === name);
        requireFitting(entries, { name, config, before });
        if (before !== undefined && from_beginning === true)
          throw invalidArgument(`plugin '${name}' has begun; replay sends it stored events`, {
            plugin: name,
          });
        await tryOut(deps, { name, config, checks: enabled === true });
        const plugin = { name, config, enabled: enabled ?? true };
        const details = { type: config.type, enabled: plugin.enabled };
        await noteOf(actor)("plugin.config", name, details);
        const begin = from_beginning === true ? 0 : head();
        const entry = await keep(plugin, before === undefined ? begin : null);
        return { created: before === undefined, ...shown(entry) };
      }),
    enablePlugin: (actor, { name }) =>
      change(async () => {
        const entry = await entryOf(deliveries, name);
        const { plugin } = entry;
        await tryOut(deps, { ...plugin, checks: true });
        if (plugin.enabled) return shown(entry);
        await noteOf(actor)("plugin.enable", name, null);
        return shown(await keep({ ...plugin, enabled: true }, null));
      }),
    disablePlugin: (actor, { name }) =>
      change(async () => {
        const entry = await entryOf(deliveries, name);
        if (!entry.plugin.enabled) return shown(entry);
        await noteOf(actor)("plugin.disable", name, null);
        return shown(await keep({ ...entry.plugin, enabled: false }, null));
      }),
    removePlugin: (actor, { name }) =>
      change(async () => {
        const { plugin, pending, dead } = await entryOf(deliveries, name);
        if (plugin.enabled) {
          throw failedPrecondition(
            `disable plugin '${name}' before removing it (use plugin disable ${name})`,
            { plugin: name },
          );
        }
        await noteOf(actor)("plugin.remove", name, { pending, dead });
        await deliveries.removePlugin(name);
        await mirror.showPlugins();
        mirror.showQueue();
        return null;
      }),
  };
}

function requireMachine(
  { isMachine }: Pick<PluginsDeps, "isMachine">,
  actor: Actor,
  { type }: PluginConfig,
): void {
  if (type !== "process" || isMachine(actor)) return;
  // Whoever may put one runs programs on this machine.
  throw permissionDenied("process plugins must be managed via the CLI");
}

function requireFitting(
  entries: readonly PluginEntry[],
  { name, config, before }: Pick<Plugin, "name" | "config"> & { before: PluginEntry | undefined },
): void {
  const kind = before?.plugin.config.type;
  if (kind !== undefined && kind !== config.type) {
    throw alreadyExists(`plugin name '${name}' is already used by ${kind}`, { plugin: name, kind });
  }
  if (before !== undefined || entries.length < limits.plugins_max) return;
  throw failedPrecondition(`there are ${limits.plugins_max} plugins, and may be no more`, {
    limit: limits.plugins_max,
  });
}

/** Throws where the definition is none; with `checks` also where nobody is there. */
async function tryOut(
  { emitterFor }: Pick<PluginsDeps, "emitterFor">,
  { name, config, checks }: Pick<Plugin, "name" | "config"> & { readonly checks: boolean },
): Promise<void> {
  const emitter = await emitterFor({ name, config }).catch((cause: unknown): never => {
    // Whatever of it is wrong, it is no member of the definition alone: hosts stand in URLs.
    if (!(cause instanceof DbxError) || cause.code !== "invalid_argument") throw cause;
    throw invalidArgument(cause.message, { plugin: name }, { cause });
  });
  try {
    if (checks) await emitter.check(AbortSignal.timeout(limits.plugin_check_ms));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `failed to establish connection for '${name}': ${reason}`;
    throw failedPrecondition(message, { plugin: name }, { cause });
  } finally {
    await emitter.close();
  }
}
