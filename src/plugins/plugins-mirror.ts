// `plugins.json` and `plugin_queue.json`: copies for those who read files, in the shapes of
// EventDBX 1 with members of our own. Nothing reads them back. What the store encrypts is not in
// them.

import { join } from "node:path";
import type { Log } from "../log.ts";
import { limits } from "../model/limits.ts";
import type { Delivery, PluginConfig } from "../model/plugin.ts";
import type { Deliveries } from "../storage/deliveries.ts";
import { replaceDocument } from "../storage/documents.ts";
import { withoutSecrets } from "./plugins-shown.ts";

export interface MirrorDeps {
  readonly directory: string;
  /** Whether definitions and errors are encrypted where they are kept. */
  readonly sealed: boolean;
  readonly deliveries: Pick<Deliveries, "readPlugins" | "readOutbox">;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly log: Log;
}

export interface Mirror {
  /** Writes who there is. A copy that cannot be written is no failure of what was changed. */
  readonly showPlugins: () => Promise<void>;
  /** Writes what is queued, soon, and not more often than once a second. */
  readonly showQueue: () => void;
  /** Once what was to be written is written. */
  readonly close: () => Promise<void>;
}

const file = { mode: 0o600 } as const;

export function createMirror({ directory, sealed, deliveries, wait, log }: MirrorDeps): Mirror {
  const closing = new AbortController();
  let stale = false;
  let running: Promise<void> | null = null;

  async function write(name: string, textOf: () => Promise<string>): Promise<void> {
    try {
      await replaceDocument(join(directory, name), await textOf(), file);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn("copy not written", { file: name, reason });
    }
  }

  const plugins = async (): Promise<string> => {
    const entries = await deliveries.readPlugins();
    return pretty(
      entries.map(({ plugin: { enabled, name, config } }) => ({
        ...{ enabled, name },
        config: sealed ? { type: config.type } : ordered(withoutSecrets(config)),
      })),
    );
  };

  const queue = async (): Promise<string> => {
    const entries = await deliveries.readPlugins();
    const page = { after: null, limit: limits.plugin_rows_max };
    const entryOf = (delivery: Delivery) => queued(delivery, sealed);
    return pretty({
      pending: entries.reduce((sum, { pending }) => sum + pending, 0),
      dead: entries.reduce((sum, { dead }) => sum + dead, 0),
      pending_events: (await deliveries.readOutbox({ dead: false }, page)).map(entryOf),
      dead_events: (await deliveries.readOutbox({ dead: true }, page)).map(entryOf),
    });
  };

  async function keepUp(): Promise<void> {
    while (stale) {
      stale = false;
      await write("plugin_queue.json", queue);
      await wait(limits.plugin_mirror_ms, closing.signal);
    }
    running = null;
  }

  return {
    showPlugins: () => write("plugins.json", plugins),
    showQueue: () => {
      stale = true;
      running ??= keepUp();
    },
    close: async () => {
      closing.abort();
      await running;
    },
  };
}

const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The kind first, as EventDBX writes it. */
const ordered = ({ type, ...rest }: PluginConfig) => ({ type, ...rest });

/** Errors may repeat what a definition says: where one is sealed, so is the other. */
function queued(delivery: Delivery, sealed: boolean) {
  const { event_id, aggregate_type, aggregate_id, event_type, attempts } = delivery;
  const { plugin, position, next_attempt_at, last_error } = delivery;
  return {
    ...{ event_id, aggregate_type, aggregate_id, event_type, attempts },
    ...{ plugin, position, next_attempt_at, ...(sealed ? {} : { last_error }) },
  };
}
