// Plugins: whom committed events are delivered to, how, and when a failed delivery is tried again.

import { Type, type Static } from "@sinclair/typebox";
import type { EventId } from "./event.ts";
import { Named, Text } from "./kinds.ts";
import { limits } from "./limits.ts";
import type { Position, StreamKey, Version } from "./stream.ts";

const strict = { additionalProperties: false } as const;

export const PluginName = Text({
  description: "The plugin's label, unique among all plugins.",
  minLength: 1,
  maxLength: limits.plugin_name_chars_max,
  name: true,
});

const text = (description: string) =>
  Type.String({ minLength: 1, maxLength: limits.plugin_text_chars_max, description });

/** Values are secrets: who lists plugins sees the names alone. */
const Secrets = (description: string) =>
  Named(Type.String({ maxLength: limits.plugin_text_chars_max }), {
    maxProperties: limits.plugin_entries_max,
    description,
  });

/** What every kind may have. */
const common = {
  replicated: Type.Optional(
    Type.Boolean({ description: "Also events that came from another node; they are left out." }),
  ),
};

export const logLevels = ["trace", "debug", "info", "warn", "error"] as const;

export const TcpConfig = Type.Object(
  {
    type: Type.Literal("tcp"),
    ...common,
    host: text("Host name or address."),
    port: Type.Integer({ minimum: 1, maximum: 65_535, description: "Port." }),
  },
  strict,
);
export type TcpConfig = Static<typeof TcpConfig>;

export const HttpConfig = Type.Object(
  {
    type: Type.Literal("http"),
    ...common,
    endpoint: text("Where events are posted to: a URL, or host and path."),
    headers: Secrets("Headers of each request."),
    https: Type.Boolean({ description: "Whether an endpoint without a scheme is https." }),
    /** HMAC-SHA-256 of the body under it goes into a header, so that the receiver can check it. */
    secret: Type.Optional(text("Signs each request.")),
  },
  strict,
);
export type HttpConfig = Static<typeof HttpConfig>;

export const GrpcConfig = Type.Object(
  {
    type: Type.Literal("grpc"),
    ...common,
    endpoint: text("host:port, or the same after grpc://, grpcs://, http:// or https://."),
    token: Type.Optional(text("Sent as bearer token.")),
  },
  strict,
);
export type GrpcConfig = Static<typeof GrpcConfig>;

export const LogConfig = Type.Object(
  {
    type: Type.Literal("log"),
    ...common,
    level: Type.Union(logLevels.map((level) => Type.Literal(level))),
    template: Type.Union([text("Text with placeholders."), Type.Null()]),
  },
  strict,
);
export type LogConfig = Static<typeof LogConfig>;

export const ProcessConfig = Type.Object(
  {
    type: Type.Literal("process"),
    ...common,
    name: text("The installed plugin."),
    version: text("Its version."),
    args: Type.Array(Type.String({ maxLength: limits.plugin_text_chars_max }), {
      maxItems: limits.plugin_entries_max,
    }),
    env: Secrets("Environment variables besides the usual ones."),
    working_dir: Type.Union([text("Where it runs; where it is installed when null."), Type.Null()]),
  },
  strict,
);
export type ProcessConfig = Static<typeof ProcessConfig>;

export const PluginConfig = Type.Union([
  ...[TcpConfig, HttpConfig, GrpcConfig, LogConfig, ProcessConfig],
]);
export type PluginConfig = TcpConfig | HttpConfig | GrpcConfig | LogConfig | ProcessConfig;
export type PluginKind = PluginConfig["type"];

export interface Plugin {
  readonly enabled: boolean;
  readonly name: string;
  readonly config: PluginConfig;
}

/** A delivery that failed, or that waits behind one that did. */
export interface Delivery extends StreamKey {
  readonly plugin: string;
  readonly position: Position;
  readonly version: Version;
  readonly event_id: EventId;
  readonly event_type: string;
  /** How often it was tried; 0 for one that only waits behind another of its aggregate. */
  readonly attempts: number;
  /** No further attempts but by hand. */
  readonly dead: boolean;
  /** Null for dead ones, and for those that wait behind another. */
  readonly next_attempt_at: string | null;
  /** What the receiver, or the way to it, said last; no payload. Null without an attempt. */
  readonly last_error: string | null;
}

/**
 * How long after the given number of failed attempts the next one comes: 1, 2, 4 … 64 s, of which
 * `jitter` (0 to 1) takes away up to a quarter, so that what failed together does not come back
 * together.
 */
export function retryDelay_ms(attempts: number, jitter: number): number {
  const { plugin_retry_ms: first, plugin_retry_ms_max: most } = limits;
  // A power of two so large that more of it changes nothing.
  const doubled = first * 2 ** Math.min(Math.max(attempts, 1) - 1, 30);
  return Math.round(Math.min(doubled, most) * (1 - jitter / 4));
}
