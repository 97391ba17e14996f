// The configuration, once: types, defaults, bounds and words. Flags, environment, `config.toml`,
// the printed form and the README table derive from it. Annotations beside JSON Schema's own: a
// `secret` prints as `set`; a running server follows `live` keys, the others need a restart, and so
// does a live one that is `turnedOn: "restart"` and was not set at the start; `aliases` are older
// names that still work; `reserved` keys are accepted but not acted on yet.

import { Type, type Static } from "@sinclair/typebox";
import { Named } from "./kinds.ts";
import { limits } from "./limits.ts";
import { Remote } from "./remote.ts";

const reserved = { reserved: true } as const;

/**
 * 32 bytes are 43 signs, of which the last carries four bits, and a filler that many tools leave
 * out.
 */
export const dataKeyPattern = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=?$";

/**
 * A PHC string that costs at most 1 GB to verify, with a salt of 8 bytes and more and a digest of
 * 16 and more: shorter ones are hit by chance.
 */
const masterKeyHashPattern =
  "^\\$argon2id\\$v=19\\$m=[1-9]\\d{0,5},t=[1-9]\\d?,p=[1-9]\\d?" +
  "\\$[A-Za-z0-9+/]{11,86}\\$[A-Za-z0-9+/]{22,86}$";

/** Compared as text with what browsers send, so any other spelling would never match. */
const origin =
  "(?:null|(?!http://[^, ]*:80(?![0-9])|https://[^, ]*:443(?![0-9]))" +
  "[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\\[[0-9a-f:.]+\\])(?::[1-9][0-9]{0,4})?)";

/** `127.0.0.1:7071`, `[::1]:7071`, `localhost:7071`; the port up to 65535. */
const endpointPattern =
  "^(?:\\[[0-9A-Fa-f:.]{2,}(?:%[A-Za-z0-9._-]+)?\\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):" +
  "(?:0|[1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])$";

export const Config = Type.Object(
  {
    port: Type.Integer({
      default: 7070,
      minimum: 0,
      maximum: 65_535,
      description: "Port of the HTTP listener; 0 takes a free one.",
    }),
    bind_addr: Type.String({
      default: "0.0.0.0",
      minLength: 1,
      description: "Address of the HTTP listener.",
    }),
    data_dir: Type.String({
      default: "~/.eventdbx",
      minLength: 1,
      description: "Where everything is kept. `~` is the home directory.",
    }),
    restrict: Type.Union([Type.Literal("off"), Type.Literal("default"), Type.Literal("strict")], {
      default: "default",
      live: true,
      description: "How strictly schemas bind: `off`, `default` or `strict`.",
    }),
    list_page_size: Type.Integer({
      default: 10,
      minimum: 0,
      maximum: limits.page_rows_max,
      live: true,
      description: "Aggregates on a page when the request does not say.",
    }),
    page_limit: Type.Integer({
      default: 1000,
      minimum: 1,
      maximum: limits.page_rows_max,
      live: true,
      description: "Cap on any requested page.",
    }),
    payload_limit: Type.Integer({
      default: limits.payload_bytes_default,
      minimum: 1,
      maximum: limits.payload_bytes_max,
      live: true,
      description: "Largest payload, in bytes of canonical JSON.",
    }),
    memory_threshold: Type.Integer({
      default: 10_000,
      minimum: 0,
      maximum: 10_000_000,
      aliases: ["cache_threshold"],
      description: "Aggregate heads kept in memory.",
    }),
    snapshot_threshold: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        live: true,
        description: "Keep a snapshot every so many events of an aggregate; never when missing.",
      }),
    ),
    plugin_max_attempts: Type.Integer({
      default: 10,
      minimum: 1,
      maximum: 4_294_967_295,
      live: true,
      description: "Deliveries of an event to a plugin before it is dead.",
    }),
    data_encryption_key: Type.Optional(
      Type.String({
        secret: true,
        aliases: ["dek"],
        pattern: dataKeyPattern,
        fault: "must be base64 of exactly 32 bytes",
        description: "Data encryption key: base64 of 32 bytes.",
      }),
    ),
    dek_file: Type.Optional(
      Type.String({
        minLength: 1,
        description: "File that holds the data encryption key, in place of the key here.",
      }),
    ),
    created_at: Type.Optional(Type.String({ ...reserved, description: "When the file was made." })),
    updated_at: Type.Optional(
      Type.String({ ...reserved, description: "When the file was last changed." }),
    ),
    api: Type.Object(
      {
        rest: Type.Boolean({ default: true, description: "Serve the REST API." }),
        graphql: Type.Boolean({ default: true, description: "Serve GraphQL." }),
        grpc: Type.Boolean({ default: true, description: "Serve gRPC." }),
      },
      { aliases: ["api_mode"] },
    ),
    storage: Type.Object({
      durability: Type.Union([Type.Literal("full"), Type.Literal("normal")], {
        default: "full",
        description:
          "`full`: acknowledged is on disk. `normal`: a power cut may take the last commits.",
      }),
    }),
    admin: Type.Object({
      master_key_hash: Type.Optional(
        Type.String({
          secret: true,
          live: true,
          pattern: masterKeyHashPattern,
          fault:
            "must be an Argon2id hash, as `dbx config --master-key` makes it: $argon2id$v=19$…",
          description: "Argon2id hash of the master key, which opens the paths of /admin.",
        }),
      ),
      enabled: Type.Boolean({
        ...reserved,
        default: false,
        description: "Serve administration apart; it is on the HTTP port.",
      }),
      bind_addr: Type.String({
        ...reserved,
        default: "0.0.0.0",
        description: "Its address; administration is on the HTTP port.",
      }),
      port: Type.Optional(
        Type.Integer({
          ...reserved,
          minimum: 0,
          maximum: 65_535,
          description: "Its port; administration is on the HTTP port.",
        }),
      ),
    }),
    grpc: Type.Object({
      bind_addr: Type.Optional(
        Type.String({
          pattern: endpointPattern,
          fault: "must be host:port, such as 127.0.0.1:7071 or [::1]:7071",
          description:
            "Address of gRPC, as host:port; missing, or with the same port, it shares the HTTP port.",
        }),
      ),
    }),
    cors: Type.Object({
      origins: Type.Optional(
        Type.String({
          pattern: `^(?:\\*|${origin}(?: *, *${origin})*)$`,
          fault:
            "must be `*`, or origins as browsers send them, separated by commas: scheme and host " +
            "in lower case, no default port, no path, such as https://app.example.com",
          description: "Web origins whose pages may ask, separated by commas, or `*` for all.",
        }),
      ),
    }),
    tls: Type.Object({
      cert: Type.Optional(
        Type.String({ minLength: 1, description: "PEM file of the certificate and its chain." }),
      ),
      key: Type.Optional(
        Type.String({ minLength: 1, description: "PEM file of the certificate's private key." }),
      ),
    }),
    rate_limit: Type.Object({
      per_token: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 1_000_000,
          live: true,
          description: "Requests a second of one token; unlimited when missing.",
        }),
      ),
      per_address: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 1_000_000,
          live: true,
          turnedOn: "restart",
          description: "The same from one address.",
        }),
      ),
    }),
    socket: Type.Object({
      enabled: Type.Boolean({ default: true, description: "Serve the control socket." }),
      bind_addr: Type.String({
        default: "0.0.0.0:6363",
        pattern: endpointPattern,
        fault: "must be host:port, such as 127.0.0.1:6363 or [::1]:6363",
        description: "Address of the control socket, as host:port; port 0 takes a free one.",
      }),
    }),
    replication: Type.Object({
      identity_key: Type.String({
        minLength: 1,
        default: "replication.key",
        description: "File of this node's own key, relative to the data directory.",
      }),
      bind_addr: Type.String({ ...reserved, default: "0.0.0.0:7443", description: "Unused." }),
    }),
    remotes: Named(Remote, {
      default: {},
      maxProperties: limits.remotes_max,
      live: true,
      description: "Other nodes, each in a table `[remotes.name]`, as `dbx remote add` writes it.",
    }),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
export type Restriction = Config["restrict"];

export const surfaces = ["rest", "graphql", "grpc"] as const;
export type Surface = (typeof surfaces)[number];

export const surfacesOn = (api: Config["api"]): Surface[] => surfaces.filter((name) => api[name]);

export interface Endpoint {
  /** An IPv6 address without its brackets. */
  readonly hostname: string;
  readonly port: number;
}

/** Where HTTP is listened for. */
export const httpEndpointOf = ({
  bind_addr,
  port,
}: Pick<Config, "bind_addr" | "port">): Endpoint => ({
  hostname: bind_addr.replace(/^\[(.*)\]$/, "$1"),
  port,
});

/**
 * Where gRPC has a listener of its own; null where it is off or shares the port of HTTP. The same
 * port is shared whatever host stands there; port 0 is never the same, because it is any free one.
 */
export function grpcEndpointOf(config: Pick<Config, "api" | "grpc" | "port">): Endpoint | null {
  const { bind_addr } = config.grpc;
  if (!config.api.grpc || bind_addr === undefined) return null;
  const own = endpointOf(bind_addr);
  return own.port !== 0 && own.port === config.port ? null : own;
}

/** Where the control socket is listened for; null where it is off. */
export const socketEndpointOf = ({ socket }: Pick<Config, "socket">): Endpoint | null =>
  socket.enabled ? endpointOf(socket.bind_addr) : null;

/** In: `host:port`. */
function endpointOf(text: string): Endpoint {
  const colon = text.lastIndexOf(":");
  return httpEndpointOf({ bind_addr: text.slice(0, colon), port: Number(text.slice(colon + 1)) });
}

/** Every accepted spelling of a restriction, compared trimmed and in lower case. */
const spellings: Record<Restriction, readonly string[]> = {
  off: ["off", "false", "0", "no", "none", "unrestricted", "dev"],
  default: ["default", "true", "1", "yes", "on", "prod", "restricted", "hybrid"],
  strict: ["strict", "all", "enforced"],
};

/** The restriction a word or boolean stands for; undefined for words nobody defined. */
export function restrictionOf(word: string | boolean): Restriction | undefined {
  const wanted = String(word).trim().toLowerCase();
  if (spellings.off.includes(wanted)) return "off";
  if (spellings.default.includes(wanted)) return "default";
  return spellings.strict.includes(wanted) ? "strict" : undefined;
}
