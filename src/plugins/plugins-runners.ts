// Who delivers for each plugin: a loop where a server runs, or an emitter for the length of one
// request where none does.

import type { Log } from "../log.ts";
import type { CommittedEvent } from "../model/event.ts";
import { limits } from "../model/limits.ts";
import type { Plugin } from "../model/plugin.ts";
import type { Position } from "../model/stream.ts";
import type { Deliveries, PluginEntry } from "../storage/deliveries.ts";
import type { Storage } from "../storage/storage.ts";
import { startDispatcher, type Dispatcher, type DispatcherDeps } from "./dispatcher.ts";
import { createStates, type StatesDeps } from "./dispatcher-states.ts";
import type { Place, StepDeps, Turn } from "./dispatcher-step.ts";
import type { Emitter } from "./emitter.ts";

export interface RunnersDeps
  extends
    Pick<StatesDeps, "stateAt" | "isArchived">,
    Pick<DispatcherDeps, "readLog" | "readEvent" | "reached" | "wait" | "giveWay">,
    Pick<StepDeps, "readStream" | "schemaOf" | "jsonOf" | "now" | "jitter" | "attempts_max"> {
  readonly deliveries: Deliveries;
  readonly readImports: Storage["readImports"];
  /** Rejects for what is no definition. Kinds are loaded when the first plugin needs one. */
  readonly emitterFor: (plugin: Pick<Plugin, "name" | "config">) => Promise<Emitter>;
  readonly log: Log;
  /** Told after each step that changed something. */
  readonly changed: () => void;
  /** An erasure took so many deliveries out of the queue. */
  readonly dropped: (event: CommittedEvent, deliveries: number) => Promise<void>;
}

export interface Runners {
  /** Begins the loop of an enabled plugin. */
  readonly start: (entry: PluginEntry) => Promise<void>;
  /** Ends it; nothing where there is none. */
  readonly end: (name: string) => Promise<void>;
  readonly of: (name: string) => Dispatcher | undefined;
  /**
   * Runs while nothing else of the plugin is under way: in a turn of its loop, or with an emitter
   * of its own that is closed afterwards.
   */
  readonly inTurn: <T>(entry: PluginEntry, work: Work<T>) => Promise<T>;
  readonly close: () => Promise<void>;
}

/** The log without what came from other nodes, where it was delivered already. */
const ownLog =
  ({ readLog, readImports }: Pick<RunnersDeps, "readLog" | "readImports">): StepDeps["readLog"] =>
  async (asked) => {
    const page = await readLog(asked);
    const [first, last] = [page.events.at(0), page.events.at(-1)];
    if (first === undefined || last === undefined) return page;
    const imports = await readImports({ first: first.position, last: last.position });
    if (imports.length === 0) return page;
    const isImported = ({ position }: CommittedEvent) =>
      imports.some((range) => range.first <= position && position <= range.last);
    const events = page.events.filter((event) => !isImported(event));
    return { events, end: last.position };
  };

type Work<T> = (deps: StepDeps, turn: Turn) => Promise<T>;

interface Runner {
  readonly dispatcher: Dispatcher;
  readonly step: StepDeps;
}

export function createRunners(deps: RunnersDeps): Runners {
  const runners = new Map<string, Runner>();
  const closing = new AbortController();

  async function stepOf(plugin: Plugin): Promise<StepDeps> {
    return {
      name: plugin.name,
      emitter: await emitterOf(plugin, deps),
      deliveries: deps.deliveries,
      readLog: plugin.config.replicated === true ? deps.readLog : ownLog(deps),
      ...{ readEvent: deps.readEvent, readStream: deps.readStream },
      stateOf: createStates({
        ...{ stateAt: deps.stateAt, isArchived: deps.isArchived },
        ...{ states_max: limits.plugin_states_max, chars_max: limits.plugin_states_chars_max },
      }),
      ...{ schemaOf: deps.schemaOf, jsonOf: deps.jsonOf, now: deps.now, jitter: deps.jitter },
      ...{ attempts_max: deps.attempts_max, dropped: deps.dropped },
    };
  }

  const end = async (name: string): Promise<void> => {
    const runner = runners.get(name);
    runners.delete(name);
    await runner?.dispatcher.close();
  };

  return {
    start: async ({ plugin, checkpoint, sequence }) => {
      const step = await stepOf(plugin);
      const { reached, wait, giveWay, log, changed } = deps;
      const place: Place = { checkpoint, sequence };
      const loop = { place, reached, wait, giveWay, log, changed };
      const dispatcher = startDispatcher({ ...step, ...loop });
      runners.set(plugin.name, { dispatcher, step });
    },
    end,
    of: (name) => runners.get(name)?.dispatcher,
    inTurn: async ({ plugin, checkpoint, sequence }, work) => {
      const runner = runners.get(plugin.name);
      if (runner !== undefined) return runner.dispatcher.inTurn((turn) => work(runner.step, turn));
      const step = await stepOf(plugin);
      try {
        return await work(step, {
          place: { checkpoint, sequence },
          signal: closing.signal,
          arrived: false,
        });
      } finally {
        await step.emitter.close();
      }
    },
    close: async () => {
      closing.abort();
      await Promise.all([...runners.keys()].map(end));
    },
  };
}

/**
 * What cannot be made (a bundle that is gone, say) is a receiver that is not there: the others run,
 * and it may come back.
 */
async function emitterOf(
  plugin: Plugin,
  { emitterFor }: Pick<RunnersDeps, "emitterFor">,
): Promise<Emitter> {
  try {
    return await emitterFor(plugin);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      ...{ events_max: 1, lanes: 1 },
      deliver: async () => ({ delivered: 0, fault: { message, reached: false } }),
      check: async () => {
        throw error;
      },
      close: async () => undefined,
    };
  }
}

/** A checkpoint beyond the log is of another log: the plugin begins at its end. */
export const isBeyond = ({ checkpoint }: PluginEntry, head: Position): boolean => checkpoint > head;
