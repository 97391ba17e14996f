// The part of the configuration that a running store may change, and how it does.

import type { Output } from "../api/operations.ts";
import { Config } from "../model/config.ts";
import { failedPrecondition } from "../model/error.ts";

export type Settings = Pick<
  Config,
  | "admin"
  | "list_page_size"
  | "page_limit"
  | "payload_limit"
  | "rate_limit"
  | "snapshot_threshold"
  | "restrict"
>;

export interface LiveSettings {
  readonly current: () => Settings;
  /** Reads the configuration again. Says which changed keys hold from now on, and which after a restart. */
  readonly reload: () => Promise<Output<"reloadConfig">>;
}

/** `read` reads the configuration from where it came; null where nobody may ask for that. */
export function createSettings(first: Config, read: (() => Promise<Config>) | null): LiveSettings {
  let config = first;
  return {
    current: () => config,
    reload: async () => {
      if (read === null)
        throw failedPrecondition("only a running server can read its configuration again");
      const next = await read();
      const changed = keys.filter(
        ({ name }) => JSON.stringify(valueOf(config, name)) !== JSON.stringify(valueOf(next, name)),
      );
      const namesOf = (live: boolean) =>
        changed.filter((key) => key.live === live).map(({ name }) => name);
      const restart = namesOf(false);
      // What needs a restart keeps its first value, so that it is named again until the restart.
      config = keeping(config, { next, names: restart });
      return { applied: namesOf(true), restart };
    },
  };
}

interface Key {
  /** `page_limit` or `rate_limit.per_token`. */
  readonly name: string;
  readonly live: boolean;
}

/** Every key with a value of its own: one section may hold both kinds. */
const keys: readonly Key[] = Object.entries(Config.properties).flatMap(([name, schema]): Key[] =>
  "properties" in schema
    ? Object.entries(schema.properties).map(([part, member]) => ({
        name: `${name}.${part}`,
        live: isLive(member),
      }))
    : [{ name, live: isLive(schema) }],
);

function isLive(schema: unknown): boolean {
  return partsOf(schema)["live"] === true;
}

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

const valueOf = (config: Config, name: string): unknown =>
  name.split(".").reduce<unknown>((value, part) => partsOf(value)[part], config);

function partsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
