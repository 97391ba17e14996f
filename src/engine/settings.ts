// The part of the configuration that a running store may change, and how it does.

import type { Output } from "../api/operations.ts";
import { Config } from "../model/config.ts";
import { failedPrecondition } from "../model/error.ts";

export type Settings = Pick<
  Config,
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
      const changed = Object.keys({ ...config, ...next }).filter(
        (key) => JSON.stringify(valueOf(config, key)) !== JSON.stringify(valueOf(next, key)),
      );
      const applied = changed.filter(isLive);
      // What needs a restart keeps its first value, so that it is named again until the restart.
      const kept = Object.fromEntries(
        changed.filter((key) => !isLive(key)).map((key) => [key, valueOf(config, key)]),
      );
      config = { ...next, ...kept };
      return { applied, restart: changed.filter((key) => !isLive(key)) };
    },
  };
}

const valueOf = (config: Config, key: string): unknown =>
  Object.entries(config).find(([name]) => name === key)?.[1];

const isLive = (key: string): boolean =>
  Object.entries(Config.properties).some(([name, schema]) => name === key && holdsLive(schema));

/** A section is live where all that it has is. */
const holdsLive = (schema: object): boolean =>
  "live" in schema
    ? schema.live === true
    : "properties" in schema &&
      typeof schema.properties === "object" &&
      schema.properties !== null &&
      Object.values(schema.properties).every((part: unknown) => isSchema(part) && holdsLive(part));

const isSchema = (value: unknown): value is object => typeof value === "object" && value !== null;
