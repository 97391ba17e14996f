// Plugins and what is on its way to them: who they are, how far each is, what failed, and what can
// be done about it.

import { Type, type Static } from "@sinclair/typebox";
import { EventId } from "../../model/event.ts";
import { limits } from "../../model/limits.ts";
import { PluginConfig, PluginName } from "../../model/plugin.ts";
import { AggregateId, AggregateType } from "../../model/stream.ts";
import { Cursor, NextCursor, nothing, operation, strict } from "./operation.ts";

const named = { name: PluginName };
const Count = (description: string) => Type.Integer({ minimum: 0, description });
const Instant = Type.Union([Type.String(), Type.Null()]);
const Words = Type.Union([Type.String(), Type.Null()]);
const Take = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: limits.plugin_rows_max,
    description: `How many at most; ${limits.plugin_rows_max} when missing.`,
  }),
);

const states = ["disabled", "stopped", "idle", "delivering", "away", "interrupted"] as const;

/** A plugin as it is shown: secrets read `set`. */
export const PluginStatus = Type.Object(
  {
    enabled: Type.Boolean(),
    name: PluginName,
    config: PluginConfig,
    state: Type.Union(
      states.map((state) => Type.Literal(state)),
      {
        description:
          "`away`: nobody is reached. `interrupted`: dbx itself could not go on, and tries again. " +
          "`stopped`: enabled, but no server runs.",
      },
    ),
    checkpoint: Count("Everything up to this position is delivered, in the queue, or dropped."),
    lag: Count("Events behind the checkpoint."),
    pending: Count("Deliveries that wait to be tried again, or behind one that does."),
    dead: Count("Deliveries that are tried no more but by hand."),
    dropped: Count("Events that nobody may read any more, instead of delivered."),
    sequence: Count("The last number given to a delivery."),
    delivered: Count("Events delivered since the server started."),
    failed: Count("Attempts that failed since the server started."),
    last_error: Words,
    last_error_at: Instant,
  },
  { $id: "Plugin" },
);
export type PluginStatus = Static<typeof PluginStatus>;

const QueuedDelivery = Type.Object(
  {
    plugin: PluginName,
    event_id: EventId,
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    event_type: Type.String(),
    version: Type.Integer(),
    position: Type.Integer(),
    attempts: Count("How often it was tried."),
    dead: Type.Boolean(),
    next_attempt_at: Instant,
    last_error: Words,
  },
  { $id: "QueuedDelivery" },
);

const Fault = Type.Object({ plugin: PluginName, event_id: EventId, message: Type.String() });
const Selection = { plugin: Type.Optional(PluginName) };

export const pluginOperations = {
  listPlugins: operation({
    summary: "List all plugins by name, and how far each is. Secrets read `set`.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Array(PluginStatus),
  }),
  putPlugin: operation({
    summary:
      "Make a plugin, or replace one of the same kind as a whole. A new one begins with the next event. " +
      "Without `enabled` it is enabled unchecked; with true only once a check has passed. " +
      "Kind process: this machine's command line only.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        ...named,
        config: PluginConfig,
        enabled: Type.Optional(Type.Boolean({ description: "Whether events are delivered." })),
        from_beginning: Type.Optional(
          Type.Boolean({ description: "Begin a new one with the first event of the log." }),
        ),
      },
      strict,
    ),
    output: Type.Object({ created: Type.Boolean(), ...PluginStatus.properties }),
  }),
  enablePlugin: operation({
    summary: "Check a plugin and, where that passes, deliver to it from where it is.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(named, strict),
    output: PluginStatus,
  }),
  disablePlugin: operation({
    summary: "Deliver nothing to a plugin until it is enabled; it stays where it is.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(named, strict),
    output: PluginStatus,
  }),
  removePlugin: operation({
    summary: "Remove a disabled plugin with its part of the queue.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(named, strict),
    output: Type.Null(),
  }),
  testPlugins: operation({
    summary: "Check every enabled plugin and deliver a sample event to it.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: nothing,
    output: Type.Array(
      Type.Object({
        ...named,
        type: Type.String({ description: "Its kind." }),
        ok: Type.Boolean(),
        error: Words,
      }),
    ),
  }),
  replayPlugin: operation({
    summary:
      "Deliver stored events of an aggregate, or of all of a type, to an enabled plugin once more.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        ...named,
        aggregate_type: AggregateType,
        aggregate_id: Type.Optional(AggregateId),
        after: Type.Optional(Cursor),
        take: Take,
      },
      strict,
    ),
    output: Type.Object({
      delivered: Count("Events delivered by this call."),
      dropped: Count("Erased events, of which there is nothing to deliver."),
      aggregates: Count("Aggregates that came to their end."),
      next: NextCursor,
      error: Words,
    }),
  }),
  listQueue: operation({
    summary: "Deliveries that failed, by plugin and position.",
    kind: "query",
    grant: "admin",
    reach: "store",
    input: Type.Object(
      {
        ...Selection,
        event_id: Type.Optional(EventId),
        dead: Type.Optional(Type.Boolean({ description: "Dead ones alone, or pending ones." })),
        after: Type.Optional(Cursor),
        take: Take,
      },
      strict,
    ),
    output: Type.Object({
      pending: Count("Pending deliveries of the plugin, or of all."),
      dead: Count("Dead ones."),
      deliveries: Type.Array(QueuedDelivery),
      next: NextCursor,
    }),
  }),
  clearQueue: operation({
    summary: "Take all dead deliveries of a plugin, or of all, out of the queue.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object(Selection, strict),
    output: Type.Object({ cleared: Count("How many those were.") }),
  }),
  retryQueue: operation({
    summary: "Try dead deliveries once more now: all, or those of an event, pending ones included.",
    kind: "command",
    grant: "admin",
    reach: "store",
    input: Type.Object({ ...Selection, event_id: Type.Optional(EventId) }, strict),
    output: Type.Object({
      succeeded: Count("Delivered, and out of the queue."),
      failed: Count("Failed once more."),
      dropped: Count("Taken out, because nobody may read them any more."),
      remaining: Count("Dead deliveries that were not tried."),
      faults: Type.Array(Fault, { description: "The first ones that failed." }),
      skipped: Type.Array(Type.Object({ plugin: PluginName, error: Type.String() }), {
        description: "Plugins that are not reached, so that nothing was tried.",
      }),
    }),
  }),
};
