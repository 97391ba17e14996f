// The engine: Dbx in process. Appends and the store as a whole are here; every other subject has a
// file of its own.

import type { Dbx } from "../api/dbx.ts";
import type { Output } from "../api/operations.ts";
import type { Actor } from "../model/actor.ts";
import { toAggregate } from "../model/aggregate.ts";
import { alreadyExists } from "../model/error.ts";
import { toRecord, type EventRecord } from "../model/event.ts";
import { newHead, type Transaction } from "../model/plan.ts";
import { showKey } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import { createAuditReads } from "./audit-reads.ts";
import type { Committer } from "./committer.ts";
import { createErasure } from "./erasure.ts";
import { createImporting, type ImportingDeps } from "./importing.ts";
import { createLifecycle } from "./lifecycle.ts";
import { createNodes } from "./nodes.ts";
import type { NoteOf } from "./noting.ts";
import { prepareEvent, prepareEvents } from "./prepare.ts";
import { createReads } from "./reads.ts";
import { createRemotes, type RemotesDeps } from "./remotes.ts";
import { createRotation, type RotationDeps } from "./rotation.ts";
import type { Schemas } from "./schemas.ts";
import type { LiveSettings } from "./settings.ts";
import type { Staging } from "./staging.ts";
import type { Tokens } from "./tokens.ts";
import { faultsError, verifyStore } from "./verify.ts";

export interface EngineDeps
  extends
    Pick<RotationDeps, "keepKey" | "tellKey">,
    Pick<RemotesDeps, "keepRemote">,
    Pick<ImportingDeps, "snapshotThresholdOf"> {
  readonly storage: Storage;
  readonly committer: Committer;
  readonly tokens: Tokens;
  readonly schemas: Schemas;
  readonly staging: Staging;
  readonly system: System;
  /** The time of appends: never before one this node has assigned. */
  readonly now: () => string;
  readonly noteOf: NoteOf;
  readonly settings: LiveSettings;
  /** Whom events are delivered to is not the engine's business. */
  readonly plugins: PluginOperations;
  /** Faults of files beside the storage's, as sentences. */
  readonly checkBeside: Storage["check"];
  readonly status: () => Promise<
    Pick<Output<"serverStatus">, "version" | "restrict" | "durability" | "encrypted" | "figures">
  >;
}

type PluginOperations = Pick<
  Dbx,
  | "listPlugins"
  | "putPlugin"
  | "enablePlugin"
  | "disablePlugin"
  | "removePlugin"
  | "testPlugins"
  | "replayPlugin"
  | "listQueue"
  | "clearQueue"
  | "retryQueue"
>;

export function createEngine(deps: EngineDeps): Dbx {
  const { storage, tokens, settings, schemas, staging, noteOf } = deps;
  return {
    ...createReads(deps),
    ...createLifecycle(deps),
    ...createAuditReads(deps),
    ...createErasure(deps),
    ...createImporting(deps),
    ...createNodes(storage),
    ...createRotation(deps),
    ...createRemotes(deps),
    ...schemas.operations,
    ...staging.operations,
    ...deps.plugins,
    health: async () => ({ status: "ok" }),
    appendEvent: async (actor, event) => {
      const events = [prepareEvent(deps, event)];
      const [record] = await append(deps, actor, { events, batch: false });
      if (record === undefined) throw new Error("an append of one event answers one record");
      return record;
    },
    appendEvents: async (actor, { events }) =>
      append(deps, actor, { events: prepareEvents(deps, events), batch: true }),
    createAggregate: async ({ group, user }, key) => {
      const change = { at: deps.now(), issued_by: { group, user }, comment: null };
      if (await storage.createStream(key, change)) return toAggregate(newHead(key));
      throw alreadyExists(`aggregate ${showKey(key)} already exists`, { ...key });
    },
    verifyLog: async () => {
      const { faults, ...report } = await verifyStore(storage, { beside: deps.checkBeside });
      if (faults.length > 0) throw faultsError(faults);
      return report;
    },
    issueToken: (actor, input) => tokens.issue(input, noteOf(actor)),
    listTokens: () => tokens.list(),
    revokeToken: async (actor, input) => {
      await tokens.revoke(input, noteOf(actor));
      return null;
    },
    refreshToken: (actor, input) => tokens.refresh(input, noteOf(actor)),
    serverStatus: async () => {
      const log = await storage.readLogHead();
      return { ...(await deps.status()), position: log.frontier.size, aggregates: log.streams };
    },
    reloadConfig: (actor) => settings.reload(actor),
  };
}

/** Queues the events as one transaction. */
async function append(
  deps: EngineDeps,
  actor: Actor,
  prepared: Pick<Transaction, "events" | "batch">,
): Promise<EventRecord[]> {
  const committed = await deps.committer.submit({
    ...prepared,
    issued_by: { group: actor.group, user: actor.user },
    token_id: actor.token_id,
  });
  return committed.map(toRecord);
}
