// How plugins are shown to people and in files: secrets read `set`, cursors are opaque.

import type { PluginStatus } from "../api/operations/plugins.ts";
import { canonicalOf } from "../model/canonical.ts";
import { invalidArgument, type DbxError } from "../model/error.ts";
import type { EventRecord } from "../model/event.ts";
import type { PluginConfig } from "../model/plugin.ts";
import type { PluginEntry } from "../storage/deliveries.ts";
import type { DispatcherFigures } from "./dispatcher.ts";
import type { Emission } from "./emitter.ts";

const set = "set";
const hidden = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.keys(values).map((name) => [name, set]));

/** With the names of what is secret, and no value of it. */
export function withoutSecrets(config: PluginConfig): PluginConfig {
  switch (config.type) {
    case "http": {
      const secret = config.secret === undefined ? {} : { secret: set };
      const endpoint = withoutUser(config.endpoint);
      return { ...config, endpoint, headers: hidden(config.headers), ...secret };
    }
    case "grpc": {
      const token = config.token === undefined ? {} : { token: set };
      return { ...config, endpoint: withoutUser(config.endpoint), ...token };
    }
    case "process":
      return { ...config, env: hidden(config.env) };
    case "tcp":
    case "log":
      return config;
  }
}

/** A URL may name a user and a password before the host. */
const withoutUser = (endpoint: string): string =>
  endpoint.replace(/^(\s*(?:[a-z][a-z0-9+.-]*:\/\/)?)[^/?#]*@/i, `$1${set}@`);

/** `figures` null: no loop runs for it. `head`: where the log ends. */
export function statusOf(
  { plugin, checkpoint, sequence, dropped, pending, dead }: PluginEntry,
  { figures, head }: { readonly figures: DispatcherFigures | null; readonly head: number },
): PluginStatus {
  return {
    enabled: plugin.enabled,
    name: plugin.name,
    config: withoutSecrets(plugin.config),
    state: figures?.state ?? (plugin.enabled ? "stopped" : "disabled"),
    checkpoint,
    lag: Math.max(0, head - checkpoint),
    ...{ pending, dead, dropped, sequence },
    delivered: figures?.delivered ?? 0,
    failed: figures?.failed ?? 0,
    last_error: figures?.last_error ?? null,
    last_error_at: figures?.last_error_at ?? null,
  };
}

/** A number and a name, which may be anything. */
export interface CursorPlace {
  readonly number: number;
  readonly name: string;
}

export const cursorOf = ({ number, name }: CursorPlace): string =>
  Buffer.from(`${number}:${name}`).toString("base64url");

/** Throws `invalid_argument` for what dbx did not give out. */
export function placeOf(cursor: string): CursorPlace {
  const text = Buffer.from(cursor, "base64url").toString();
  const [, number, name] = /^(\d{1,15}):([^]+)$/.exec(text) ?? [];
  if (number === undefined || name === undefined) throw noCursor();
  return { number: Number(number), name };
}

const noCursor = (): DbxError =>
  invalidArgument("after is not one that dbx gave out", { path: "/after" });

const sample: EventRecord = {
  ...{ aggregate_type: "patient", aggregate_id: "p-001", event_type: "patient-updated" },
  payload: canonicalOf({ comment: "Archived via API", status: "inactive" }),
  metadata: {
    event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
    created_at: "2024-12-01T17:22:43.512345Z",
    issued_by: { group: "admin", user: "jane" },
  },
  version: 5,
  hash: "cafe".repeat(16),
  merkle_root: "deadbeef".repeat(8),
  position: 1,
};

/** What a test delivers: an event that never was. */
export const sampleEmission = (jsonOf: (record: EventRecord) => string): Emission => ({
  record: sample,
  json: jsonOf(sample),
  body: null,
  sequence: 0,
  state: async () => ({ state: sample.payload, archived: false }),
  before: async () => [],
  schema: () => null,
});
