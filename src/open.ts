// Composition root: a configuration becomes a running store. The only place that wires.

import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Dbx } from "./api/dbx.ts";
import { toJson } from "./api/json.ts";
import type { Live } from "./api/live.ts";
import { createCommitter } from "./engine/committer.ts";
import { createEngine } from "./engine/engine.ts";
import { createClock } from "./engine/clock.ts";
import { createLive, liveBounds, type LiveLog } from "./engine/live.ts";
import { ensureMachineKey, readMachineKey } from "./engine/machine-key.ts";
import { createNoting, type NoteOf } from "./engine/noting.ts";
import { aggregateOf } from "./engine/past.ts";
import type { KeepRemote } from "./engine/remotes.ts";
import { openSchemas, type Schemas } from "./engine/schemas.ts";
import type { KeepKey } from "./engine/rotation.ts";
import { createSettings, type LiveSettings, type Settings } from "./engine/settings.ts";
import { createStaging } from "./engine/staging.ts";
import { createTelling, type Telling } from "./engine/told-settings.ts";
import { openTokens } from "./engine/tokens.ts";
import { nextTurn } from "./engine/turns.ts";
import type { Log } from "./log.ts";
import { cliActor, cliGroup, type Actor, type TokenId } from "./model/actor.ts";
import type { Change } from "./model/audit.ts";
import type { Config } from "./model/config.ts";
import { aggregateNotFound, dataCorrupted, notFound, type DbxError } from "./model/error.ts";
import { EventRecord } from "./model/event.ts";
import type { PlanContext } from "./model/plan.ts";
import type { Position, StreamKey, Version } from "./model/stream.ts";
import { hidesSomething } from "./model/visibility.ts";
import { openPlugins, type Plugins } from "./plugins/plugins.ts";
import { createMirror } from "./plugins/plugins-mirror.ts";
import { openSqliteDeliveries } from "./storage/sqlite/deliveries.ts";
import { databaseName, openSqliteStorage } from "./storage/sqlite/open.ts";
import type { SqliteStorage } from "./storage/sqlite/storage.ts";
import type { System } from "./system.ts";
import { version } from "./version.ts";

export type { Settings };

export interface OpenOptions {
  readonly config: Config;
  readonly log: Log;
  readonly system: System;
  /** `read` needs no lock and refuses every command. */
  readonly access: "write" | "read";
  /** How long to wait for another process to release the lock. */
  readonly lock_wait_ms: number;
  /** Whether SQLite may have a thread of its own: worth its start-up time in a server only. */
  readonly threads: boolean;
  /**
   * The operating system's user who opens it: `cli:<user>` in the audit trail, where the opening
   * itself changes something. Null: nobody is known.
   */
  readonly opener: string | null;
  /** Whether events are delivered to plugins as they come: in a server. */
  readonly plugins: boolean;
  /** Of this process: what processes of plugins may be given of it is theirs to choose. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the configuration again, for `reloadConfig`; null where nobody may ask. */
  readonly reload: (() => Promise<Config>) | null;
  /** Keeps another data encryption key in the configuration; null where nobody may rotate it. */
  readonly keepKey: KeepKey | null;
  /** Keeps another node in the configuration; null where only `dbx remote` does. */
  readonly keepRemote: KeepRemote | null;
}

export interface Opened {
  readonly dbx: Dbx;
  readonly live: Live;
  /** The actor behind a token's value. Throws `unauthenticated`. Keep-alive tokens live on by it. */
  readonly authenticate: (token: string) => Actor;
  /** A short-lived token with every grant for this machine's command line: actor `cli` / `cli:<user>`. */
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
  /** 32 random bytes from `<data_dir>/machine.key` (mode 0600); null before the first opening for writing. */
  readonly machineKey: Uint8Array | null;
  readonly settings: () => Settings;
  /** Puts what differs in them from what the audit trail says into it. A server begins with it. */
  readonly tellSettings: Telling["tellSettings"];
  /** The same of `schemas.json`, where somebody else has changed it. */
  readonly tellSchemas: () => Promise<void>;
  /** Encrypts what is older than the key; as the storage's. A server begins it by itself. */
  readonly sealOlder: SqliteStorage["sealOlder"];
  /** Resolves when the disk failed: from then on nothing is written, and the process should end. Never rejects. */
  readonly failure: Promise<DbxError>;
  /** Finishes what was accepted, then closes the storage. May be called again. */
  readonly close: () => Promise<void>;
}

/** Opens `config.data_dir`. Throws `unavailable` where another process writes to it. */
export async function open(options: OpenOptions): Promise<Opened> {
  const { config, log, access } = options;
  if (access === "write") await mkdir(config.data_dir, { recursive: true, mode: 0o700 });
  else await requireDirectory(config.data_dir);
  await requireDatabase(config.data_dir);
  const storage = await openSqliteStorage({
    directory: config.data_dir,
    durability: config.storage.durability,
    access,
    heads_max: config.memory_threshold,
    lock_wait_ms: options.lock_wait_ms,
    threads: options.threads,
    dek: dekOf(config),
    opener: openedBy(options),
  });
  try {
    const sealing = storage.sealing();
    const { data_dir: directory } = config;
    log.info("storage open", { directory, access, sealing, ...storage.settings });
    const { moves_pending } = await storage.figures();
    if (access === "write" && Number(moves_pending) > 0)
      log.info("archive moves go on", { moves_pending: String(moves_pending) });
    const opened = await assemble(options, storage);
    if (access === "write" && options.threads) void sealInBackground(storage, log);
    return opened;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

function openedBy({ opener, system }: OpenOptions): () => Change {
  const by = opener === null ? null : cliActor(opener);
  const issued_by = by === null ? null : { group: by.group, user: by.user };
  return () => ({ at: system.now(), issued_by, comment: null });
}

const dekOf = ({ data_encryption_key }: Config): Uint8Array | null =>
  data_encryption_key === undefined ? null : Uint8Array.fromBase64(data_encryption_key);

/** What was written before there was a key, while others are served. */
async function sealInBackground(storage: SqliteStorage, log: Log): Promise<void> {
  if (storage.sealing() !== "partly") return;
  log.info("encrypting what is older than the key", {});
  try {
    await storage.sealOlder(() => undefined);
    log.info("everything is encrypted", {});
  } catch (error) {
    // It goes on at the next start; until then the status says that not everything is encrypted.
    const reason = error instanceof Error ? error.message : String(error);
    log.warn("encrypting is interrupted", { reason });
  }
}

/** Reading makes nothing: a mistyped directory must not verify as an empty store. */
async function requireDirectory(data_dir: string): Promise<void> {
  const found = await stat(data_dir).catch(() => null);
  if (found?.isDirectory() === true) return;
  throw notFound(`there is no data directory ${data_dir}; dbx start makes one`, { data_dir });
}

/** A directory that was written before must have its database: a fresh one would verify, too. */
async function requireDatabase(data_dir: string): Promise<void> {
  const path = join(data_dir, databaseName);
  const used = (await readMachineKey(data_dir)) !== null;
  const size = (await stat(path).catch(() => null))?.size ?? 0;
  if (!used || size > 0) return;
  throw dataCorrupted(
    `${path} is missing or empty, but the directory has been used before; restore it from a ` +
      "backup, or remove machine.key and tokens.json to begin anew",
    { data_dir },
  );
}

async function assemble(options: OpenOptions, storage: SqliteStorage): Promise<Opened> {
  const { config, log, system, keepKey, keepRemote } = options;
  const { data_dir } = config;
  const tokens = await openTokens({
    path: join(data_dir, "tokens.json"),
    storage,
    system,
    log,
    writable: options.access === "write",
  });
  const now = await createClock(storage, system);
  // Tokens end by the clock itself, which may be behind the time of the log.
  const allowancesNow = () => {
    const time = system.now();
    return (id: TokenId) => tokens.allowanceOf(id, time);
  };
  const noteOf = createNoting({ storage, now });
  const { tellSettings, tellKey } = createTelling({ storage, noteOf, data_dir });
  const settings = createSettings(config, { read: options.reload, tell: tellSettings });
  const schemas = await openSchemas({
    ...{ noteOf, storage },
    path: join(data_dir, "schemas.json"),
    log,
    system,
    writable: options.access === "write",
  });
  const snapshotThresholdOf = (type: string): number | null =>
    schemas.view().snapshotThresholdOf(type) ?? settings.current().snapshot_threshold ?? null;
  const context = (): PlanContext => {
    const view = schemas.view();
    const { restrict } = settings.current();
    return {
      now: now(),
      allowanceOf: allowancesNow(),
      checkSchema: (event, budget) => view.checkEvent(restrict, event, budget),
      snapshotThresholdOf,
      hidesSomething: (type) => hidesSomething(view.visibilityOf(type)),
    };
  };
  const { frontier } = await storage.readLogHead();
  const live = createLive({ ...{ storage, schemas }, head: frontier.size, bounds: liveBounds });
  const committer = createCommitter({ storage, context, advance: live.advance });
  const staging = createStaging({
    path: join(data_dir, "staged_events.json"),
    ...{ storage, committer, schemas, settings, system, log, context, noteOf },
    writable: options.access === "write",
  });
  const plugins = await openDelivering(options, { storage, schemas, live, settings, noteOf });
  const status = async () => ({
    version,
    restrict: settings.current().restrict,
    durability: config.storage.durability,
    encrypted: storage.sealing() === "all",
    figures: {
      ...committer.figures(),
      ...live.figures(),
      ...(await storage.figures()),
      ...schemas.figures(),
      ...(await plugins.figures()),
      sealing: storage.sealing(),
    },
  });
  const closeAll = async (): Promise<void> => {
    try {
      // Plugins while everything is there that they read and settle; all three take nothing new.
      await Promise.all([plugins.close(), schemas.close(), staging.close()]);
      live.close();
      await committer.close();
      await tokens.close();
    } finally {
      await storage.close();
    }
  };
  let closing: Promise<void> | undefined;
  return {
    dbx: createEngine({
      ...{ storage, committer, tokens, schemas, staging, system, now, settings, status },
      ...{ noteOf, tellKey, keepKey, keepRemote, snapshotThresholdOf },
      plugins: plugins.operations,
      checkBeside: plugins.check,
    }),
    live,
    authenticate: tokens.authenticate,
    openSession: tokens.openSession,
    machineKey: await machineKeyOf(options),
    settings: settings.current,
    tellSettings,
    tellSchemas: schemas.tellFile,
    sealOlder: storage.sealOlder,
    failure: storage.failure,
    close: () => (closing ??= closeAll()),
  };
}

const machineKeyOf = ({ access, config: { data_dir }, system }: OpenOptions) =>
  access === "write" ? ensureMachineKey(data_dir, system.random) : readMachineKey(data_dir);

/** Plugins stand beside the engine: they read the log, and nothing waits for them. */
async function openDelivering(
  { config, log, system, access, env, plugins: runs }: OpenOptions,
  engine: {
    readonly storage: SqliteStorage;
    readonly schemas: Schemas;
    readonly live: LiveLog;
    readonly settings: LiveSettings;
    readonly noteOf: NoteOf;
  },
): Promise<Plugins> {
  const { storage, schemas, live, settings, noteOf } = engine;
  const { data_dir: directory } = config;
  const { vault } = storage;
  const deliveries = await openSqliteDeliveries({ directory, access, vault });
  try {
    const sealed = vault !== null;
    return await openPlugins({
      ...{ deliveries, log, runs, noteOf, wait, giveWay: nextTurn },
      mirror: createMirror({ directory, sealed, deliveries, wait, log }),
      ...{ head: live.head, reached: live.reached, readLog: live.readLog },
      ...createPast(storage, live.head),
      schemaOf: (type) => schemas.view().textOf(type),
      jsonOf: (record) => toJson(EventRecord, record),
      now: system.now,
      jitter: () => new DataView(system.random(4).buffer).getUint32(0) / 2 ** 32,
      attempts_max: () => settings.current().plugin_max_attempts,
      isMachine: ({ group }) => group === cliGroup,
      // Not before there is a plugin: what one kind or the other needs takes 80 ms to load.
      emitterFor: async (plugin) => {
        const { emitterFor } = await import("./plugins/emitters/emitters.ts");
        const { createProcessEmitter } = await import("./plugins/emitters/process.ts");
        const process = { label: plugin.name, log, data_dir: directory, env };
        return emitterFor(plugin.config, {
          ...{ log, system },
          process: (definition) => createProcessEmitter(definition, process),
        });
      },
    });
  } catch (error) {
    await deliveries.close();
    throw error;
  }
}

/** What plugins read of the storage besides the log. */
const createPast = (storage: SqliteStorage, head: () => Position) => ({
  ...{ readStream: storage.readStream, readImports: storage.readImports },
  readEvent: async (position: Position) => {
    if (position > head()) return undefined;
    const [event] = await storage.readLog({ after: position - 1, limit: 1 });
    return event?.position === position ? event : undefined;
  },
  readIds: async (asked: { aggregate_type: string; after: string | null; limit: number }) => {
    const { aggregate_type, after, limit } = asked;
    const from = after === null ? null : { aggregate_type, aggregate_id: after };
    const heads = await storage.readHeads({ aggregate_type, after: from, skip: 0, limit });
    return heads.map(({ aggregate_id }) => aggregate_id);
  },
  isArchived: async (key: StreamKey) => (await storage.readHead(key))?.archived ?? false,
  stateAt: async (key: StreamKey, version: Version) => {
    const stream = await storage.readHead(key);
    if (stream === undefined) throw aggregateNotFound(key);
    const { state, archived } = await aggregateOf(storage, stream, { kind: "version", version });
    return { state, archived };
  },
});

/** Resolves after so long, or after the signal. */
const wait = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
