// The configuration as a flat list of keys and values, and what the audit trail is told of it:
// every key that is not at its default, secrets by a sign of which one it is.

import { canonicalOf } from "./canonical.ts";
import { Config } from "./config.ts";
import { sha256 } from "./merkle.ts";

export interface Key {
  /** `page_limit` or `rate_limit.per_token`. */
  readonly name: string;
  readonly live: boolean;
  /** A live key that waits for a restart where the server was started without it. */
  readonly startsOff: boolean;
  readonly secret: boolean;
  /** Undefined for a key that may be missing. */
  readonly fallback: unknown;
}

/** Every key with a value of its own: one section may hold both kinds. */
export const keys: readonly Key[] = Object.entries(Config.properties).flatMap(
  ([name, schema]): Key[] =>
    "properties" in schema
      ? Object.entries(schema.properties).map(([part, member]) => keyOf(`${name}.${part}`, member))
      : [keyOf(name, schema)],
);

function keyOf(name: string, schema: unknown): Key {
  const { live, turnedOn, secret, default: fallback } = partsOf(schema);
  const startsOff = turnedOn === "restart";
  return { name, live: live === true, startsOff, secret: secret === true, fallback };
}

export function valueOf(config: Config, name: string): unknown {
  // Whoever edits the file by hand may name a node with dots in it.
  if (name.startsWith("remotes.")) return config.remotes[name.slice("remotes.".length)];
  return name.split(".").reduce<unknown>((value, part) => partsOf(value)[part], config);
}

export function partsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** By key. Plain values, no secret. */
export type ToldSettings = Readonly<Record<string, unknown>>;

/**
 * What is not at its default. `data_dir` is left out where it is the directory whose trail is told:
 * a store that is moved has not changed.
 */
export function toldSettings(config: Config, { data_dir }: { data_dir: string }): ToldSettings {
  return Object.fromEntries(
    keysOf(config).flatMap(({ name, secret, fallback }) => {
      const value = valueOf(config, name);
      const usual = name === "data_dir" ? data_dir : fallback;
      if (value === undefined || isSame(value, usual)) return [];
      return [[name, secret ? signOf(value) : value]];
    }),
  );
}

/**
 * Tells one secret from another and gives neither away: a data encryption key is 256 random bits,
 * and of the master key only its Argon2id hash, with a random salt, is in the configuration. It
 * spares nobody who guesses a single attempt: whether a key is right, the database tells as well.
 */
export const signOf = (value: unknown): string =>
  `set:${sha256(String(value)).toHex().slice(0, 16)}`;

/** New values by key, null for none any more; of a secret only that it is `set` or `changed`. */
export function changedSettings(
  before: ToldSettings,
  after: ToldSettings,
  config: Config,
): ToldSettings {
  return Object.fromEntries(
    keysOf(config, before).flatMap(({ name, secret }) => {
      const [was, is] = [before[name], after[name]];
      if (isSame(was, is)) return [];
      const now = valueOf(config, name) ?? null;
      if (!secret || now === null) return [[name, now]];
      return [[name, was === undefined ? "set" : "changed"]];
    }),
  );
}

/** Every key, with one for each other node instead of one for all: `remotes.eu`. */
function keysOf({ remotes }: Config, before: ToldSettings = {}): Key[] {
  const told = Object.keys(before).filter((name) => name.startsWith("remotes."));
  const names = new Set([...Object.keys(remotes).map((name) => `remotes.${name}`), ...told]);
  const node = { live: true, startsOff: false, secret: false, fallback: null };
  const ofNodes = [...names].map((name) => ({ name, ...node }));
  return [...keys.filter(({ name }) => name !== "remotes"), ...ofNodes];
}

const isSame = (left: unknown, right: unknown): boolean =>
  canonicalOf(left ?? null) === canonicalOf(right ?? null);
