// The configuration's keys as a flat list: what the file, the environment and the flags call each
// of them.

import type { TSchema } from "@sinclair/typebox";
import { Config, restrictionOf, surfaces, type Surface } from "../model/config.ts";

export interface ConfigKey {
  /** `page_limit` or `api.rest`. */
  readonly name: string;
  readonly schema: TSchema;
  /** Older spellings, in full: `cache_threshold`. */
  readonly aliases: readonly string[];
  readonly secret: boolean;
  readonly live: boolean;
  readonly startsOff: boolean;
  readonly reserved: boolean;
}

/** Every key with a value of its own; tables are not among them. */
export const configKeys: readonly ConfigKey[] = Object.entries(Config.properties).flatMap(
  ([name, schema]: [string, TSchema]) => {
    const inner: unknown = schema["properties"];
    if (typeof inner !== "object" || inner === null) return [keyOf(name, schema)];
    return Object.entries(inner).map(([part, member]) => keyOf(`${name}.${part}`, member));
  },
);

function keyOf(name: string, schema: TSchema): ConfigKey {
  const aliases: unknown = schema["aliases"];
  return {
    name,
    schema,
    aliases: Array.isArray(aliases) ? aliases.map(String) : [],
    secret: schema["secret"] === true,
    live: schema["live"] === true,
    startsOff: schema["turnedOn"] === "restart",
    reserved: schema["reserved"] === true,
  };
}

/** Names that older files hold and that change nothing here. */
export const ignoredKeys: readonly string[] = ["plugins"];

/** `EVENTDBX_API_REST`, and for a key with aliases one name each. */
export const variablesOf = (key: ConfigKey): string[] =>
  [key.name, ...key.aliases].map((name) => `EVENTDBX_${name.replaceAll(".", "_").toUpperCase()}`);

/** Of the installers: whoever keeps them in the environment has not mistyped a key. */
export const installerVariables: readonly string[] = [
  ...["EVENTDBX_DOWNLOAD_URL", "EVENTDBX_INSTALL_DIR", "EVENTDBX_UNMANAGED_INSTALL"],
  ...["EVENTDBX_NO_MODIFY_PATH", "EVENTDBX_PRINT_QUIET", "EVENTDBX_PRINT_VERBOSE"],
];

/** Variables that are no configuration keys. */
export const otherVariables: readonly string[] = [
  ...["EVENTDBX_TOKEN", "EVENTDBX_URL", "EVENTDBX_CA_FILE", "EVENTDBX_MASTER_KEY"],
  ...["EVENTDBX_GITHUB_TOKEN", "EVENTDBX_BACKUP_PASSPHRASE"],
  ...installerVariables,
];

/** `api = "all"` or the name of one surface. Undefined for a word nobody defined. */
export function surfacesOf(word: string): Record<Surface, boolean> | undefined {
  const wanted = word.trim().toLowerCase();
  const all = wanted === "all";
  if (!all && !surfaces.some((surface) => surface === wanted)) return undefined;
  return {
    rest: all || wanted === "rest",
    graphql: all || wanted === "graphql",
    grpc: all || wanted === "grpc",
  };
}

/**
 * A value in the one spelling the schema knows. What nobody defined stays, for the schema to
 * refuse.
 */
export function normalize(key: ConfigKey, value: unknown): unknown {
  if (key.name !== "restrict") return value;
  if (typeof value !== "string" && typeof value !== "boolean" && typeof value !== "number") {
    return value;
  }
  return restrictionOf(String(value)) ?? value;
}

const truths: readonly string[] = ["true", "1", "yes", "on"];
const lies: readonly string[] = ["false", "0", "no", "off"];

/** A word of the environment as the type its key has. */
export function fromWord(key: ConfigKey, word: string): unknown {
  const text = word.trim();
  if (key.schema["type"] === "integer" && /^-?\d{1,16}$/.test(text)) return Number(text);
  if (key.schema["type"] === "boolean") {
    if (truths.includes(text.toLowerCase())) return true;
    if (lies.includes(text.toLowerCase())) return false;
  }
  return text;
}
