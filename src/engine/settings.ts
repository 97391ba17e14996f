// The part of the configuration that a running store may change, and how it does.

import type { Output } from "../api/operations.ts";
import type { Actor } from "../model/actor.ts";
import type { Config } from "../model/config.ts";
import { keys, partsOf, valueOf, type Key } from "../model/config-values.ts";
import { failedPrecondition } from "../model/error.ts";

export type Settings = Pick<
  Config,
  | "admin"
  | "list_page_size"
  | "page_limit"
  | "payload_limit"
  | "plugin_max_attempts"
  | "rate_limit"
  | "remotes"
  | "snapshot_threshold"
  | "restrict"
>;

export interface LiveSettings {
  readonly current: () => Settings;
  /** Reads the configuration again. Says which changed keys hold from now on, and which after a restart. */
  readonly reload: (actor: Actor) => Promise<Output<"reloadConfig">>;
}

/**
 * `read` reads the configuration from where it came; null where nobody may ask for that. `tell`
 * puts what was read into the audit trail, before it holds.
 */
export function createSettings(
  first: Config,
  options: {
    readonly read: (() => Promise<Config>) | null;
    readonly tell: (actor: Actor, next: Config) => Promise<void>;
  },
): LiveSettings {
  const { read, tell } = options;
  let config = first;
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: what was read later must not be followed by what was read before. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
  return {
    current: () => config,
    reload: async (actor) => {
      if (read === null)
        throw failedPrecondition("only a running server can read its configuration again");
      return inTurn(async () => {
        const next = await read();
        await tell(actor, next);
        const changed = keys.filter(
          ({ name }) =>
            JSON.stringify(valueOf(config, name)) !== JSON.stringify(valueOf(next, name)),
        );
        const namesOf = (live: boolean) =>
          changed.filter((key) => isFollowed(key, first) === live).map(({ name }) => name);
        const restart = namesOf(false);
        // What needs a restart keeps its first value, so that it is named again until the restart.
        config = keeping(config, { next, names: restart });
        return { applied: namesOf(true), restart };
      });
    },
  };
}

/** Whether a running server follows the key, given what it was started with. */
const isFollowed = ({ name, live, startsOff }: Key, first: Config): boolean =>
  live && !(startsOff && valueOf(first, name) === undefined);

/** `next`, in which the keys of these names have the values of `config`. */
function keeping(
  config: Config,
  { next, names }: { next: Config; names: readonly string[] },
): Config {
  const kept: Record<string, unknown> = {};
  for (const name of names) {
    const [section = "", part] = name.split(".");
    const value = valueOf(config, name);
    const before = kept[section] ?? valueOf(next, section);
    kept[section] = part === undefined ? value : { ...partsOf(before), [part]: value };
  }
  return { ...next, ...kept };
}
