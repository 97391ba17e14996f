// The life of a server process: open, listen, tell, wait for the end, drain, close.

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { statusOf } from "../api/errors.ts";
import { createLog, type Log, type LogFields } from "../log.ts";
import {
  grpcEndpointOf,
  httpEndpointOf,
  socketEndpointOf,
  surfacesOn,
  type Config,
} from "../model/config.ts";
import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { open, type Opened } from "../open.ts";
import { ensureKeys, keyPathOf } from "../replication/keys.ts";
import { createReplication } from "../replication/listener.ts";
import { startServer, type Server } from "../server/server.ts";
import { realSystem } from "../system.ts";
import { version } from "../version.ts";
import { keepInFile, loadConfiguration, type Configuration, type Given } from "./configuration.ts";
import { removePidFile, writePidFile, type PidRecord } from "./daemon.ts";
import { openLogFile } from "./log-file.ts";
import { exposedKey, keeperOf } from "./key-place.ts";
import { plainAddresses, plainRisk } from "./plain.ts";
import { inWordsOfKeys } from "./port-words.ts";
import { keepRemoteInFile } from "./remote-file.ts";
import { createReload } from "./reload.ts";
import { createCommands } from "./served.ts";
import type { Shell } from "./shell.ts";

export interface ServeOptions {
  readonly shell: Shell;
  readonly configuration: Configuration;
  /** Flags to keep in the configuration file once the server listens. */
  readonly given: Given;
  /** The daemon's own process: the log goes to its file. */
  readonly detached: boolean;
}

/** Out: the exit code. Throws what keeps the server from starting. */
export async function serve(options: ServeOptions): Promise<number> {
  const { shell, configuration, detached } = options;
  const sink = detached
    ? openLogFile(configuration.config.data_dir, realSystem.now)
    : { write: (line: string) => shell.output.words(line.trimEnd()), close: () => {} };
  const log = createLog({ least: "info", now: realSystem.now, write: sink.write });
  const signals = watchSignals();
  try {
    warnAtStart(configuration, log);
    let running: Running;
    try {
      running = await begin(options, { log, stop: signals.ask });
    } catch (error) {
      if (detached) log.error("cannot start", { reason: reasonOf(error) });
      throw error;
    }
    try {
      return await runToEnd(running, { log, signals });
    } catch (error) {
      if (detached) log.error("failed", { reason: reasonOf(error) });
      throw error;
    }
  } finally {
    signals.close();
    sink.close();
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

interface Running {
  readonly server: Server;
  readonly opened: Opened;
  readonly data_dir: string;
}

/** A mistyped path makes a database as well, which should not pass without a word. */
export const isNew = ({ data_dir }: Config): boolean => !existsSync(join(data_dir, "dbx.db"));

/** Out: a server that listens and has said so. */
async function begin(
  options: ServeOptions,
  { log, stop }: { readonly log: Log; readonly stop: (by: string) => void },
): Promise<Running> {
  const { shell, configuration, given } = options;
  const { config, path } = configuration;
  if (isNew(config)) log.info("new database", { data_dir: config.data_dir });
  const opened = await open({
    config,
    log,
    system: realSystem,
    access: "write",
    opener: shell.user,
    lock_wait_ms: limits.lock_wait_ms,
    // With a single processor a thread of its own only adds switching.
    threads: availableParallelism() > 1,
    plugins: true,
    env: shell.env,
    reload: () => reloaded(shell, given),
    // As it is by then: somebody may have named another place for the key meanwhile.
    keepKey: async () => keeperOf(await loadConfiguration(shell, {})),
    keepRemote: (change) => keepRemoteInFile(path, change),
  });
  let server: Server;
  try {
    const { token } = opened.openSession(shell.user);
    await opened.tellSettings(opened.authenticate(token), config);
    await opened.tellSchemas();
    const keys = await ensureKeys(keyPathOf(config), realSystem.random);
    server = await startServer({
      ...{ opened, config, log, system: realSystem, version },
      stop,
      commands: createCommands(shell.runWords),
      nodes: (reach) => createReplication({ ...reach, keys, random: realSystem.random }),
    });
  } catch (error) {
    await opened.close();
    throw inWordsOfKeys(error, config);
  }
  try {
    const { port, control_port, grpc_port, socket_port } = server;
    if (await keepInFile(path, given)) log.info("configuration kept", { path });
    await writePidFile(config.data_dir, {
      ...{ pid: process.pid, started_at: realSystem.now(), port, control_port },
      surfaces: surfacesOn(config.api),
      ...(grpc_port === null ? {} : { grpc_port }),
      ...(socket_port === null ? {} : { socket_port }),
      ...addressesOf(config),
      tls: config.tls.cert !== undefined,
    });
    log.info("ready", { pid: process.pid, port, restrict: config.restrict });
  } catch (error) {
    await shutDown({ server, opened, data_dir: config.data_dir });
    throw error;
  }
  return { server, opened, data_dir: config.data_dir };
}

/** Serves until a signal or a request ends it, or the disk fails. Out: the exit code. */
async function runToEnd(
  running: Running,
  { log, signals }: { log: Log; signals: Signals },
): Promise<number> {
  const { opened, server } = running;
  const reload = createReload({ server, opened, log });
  signals.onHangup(reload.ask);
  const failed = await Promise.race([opened.failure, signals.next("stopping", log)]);
  await reload.close();
  if (failed instanceof DbxError) log.error("storage failed", { reason: failed.message });
  const ended = shutDown(running, () => log.info("stopped", {}));
  const forced = await Promise.race([ended, signals.next("forced to stop", log)]);
  if (forced === "signal") return interrupted;
  return failed instanceof DbxError ? statusOf.unavailable.exit : 0;
}

/** Where it is listened, for `dbx status`. */
function addressesOf(
  config: Config,
): Pick<PidRecord, "bind_addr" | "grpc_bind_addr" | "socket_bind_addr"> {
  const { hostname } = httpEndpointOf(config);
  const own = grpcEndpointOf(config);
  const socket = socketEndpointOf(config);
  return {
    bind_addr: hostname,
    ...(own === null ? {} : { grpc_bind_addr: own.hostname }),
    ...(socket === null ? {} : { socket_bind_addr: socket.hostname }),
  };
}

/**
 * Flags of this start are in the file by then, so that a later change of the file holds; but one
 * that overruled the environment must go on doing so.
 */
async function reloaded(shell: Shell, given: Given): Promise<Config> {
  const { config, origins } = await loadConfiguration(shell, {});
  const overruling = Object.entries(given).filter(([key]) => origins.get(key) === "environment");
  if (overruling.length === 0) return config;
  return (await loadConfiguration(shell, Object.fromEntries(overruling))).config;
}

/** What a shell reports for a process that Ctrl-C ended. */
const interrupted = 130;

/** Answers what was accepted, makes the files small, and only then says that nobody serves them. */
async function shutDown(
  { server, opened, data_dir }: Running,
  closed: () => void = () => {},
): Promise<void> {
  await server.stop();
  await opened.close();
  // Before the record goes: whoever waits for that reads the log to its last line.
  closed();
  // The lock is free now: another server may have left its own record already.
  removePidFile(data_dir, process.pid);
}

interface Signals {
  /** Resolves at the next SIGTERM, SIGINT or request that nobody has waited for yet. */
  readonly next: (phrase: string, log: Log) => Promise<"signal">;
  /** The same as a signal, by somebody who has none. */
  readonly ask: (by: string) => void;
  /** Calls at each SIGHUP from now on, and at once where one has come before. */
  readonly onHangup: (ask: () => void) => void;
  readonly close: () => void;
}

/** Signals are taken from the first moment, so that one that comes during the start is not lost. */
function watchSignals(): Signals {
  const names = ["SIGTERM", "SIGINT"] as const;
  const arrived: LogFields[] = [];
  let wake: ((fields: LogFields) => void) | null = null;
  const arrive = (fields: LogFields) => {
    if (wake === null) arrived.push(fields);
    else wake(fields);
    wake = null;
  };
  const listener = (signal: string) => arrive({ signal });
  for (const name of names) process.on(name, listener);
  let hungUp = false;
  let hangup = () => {
    hungUp = true;
  };
  const onHangup = () => hangup();
  process.on("SIGHUP", onHangup);
  return {
    next: async (phrase, log) => {
      const fields = arrived.shift() ?? (await new Promise<LogFields>((done) => (wake = done)));
      log.info(phrase, fields);
      return "signal";
    },
    ask: (by) => arrive({ asked_by: by }),
    onHangup(ask) {
      hangup = ask;
      if (hungUp) ask();
    },
    close() {
      for (const name of names) process.off(name, listener);
      process.off("SIGHUP", onHangup);
    },
  };
}

function warnAtStart(configuration: Configuration, log: Log): void {
  const { config, warnings } = configuration;
  for (const problem of warnings) log.warn("configuration", { problem });
  if (config.storage.durability === "normal") {
    log.warn("durability is normal", { risk: "a power cut may take the last commits" });
  }
  const exposed = exposedKey(configuration);
  if (exposed !== null) {
    log.warn("others may read the data encryption key", { ...exposed, remedy: "chmod 600" });
  }
  const { bind_addr: asked } = config.grpc;
  const shares = config.api.grpc && grpcEndpointOf(config) === null;
  if (shares && asked !== undefined && !asked.startsWith(`${config.bind_addr}:`)) {
    log.warn("gRPC shares the port of HTTP", { asked, address: config.bind_addr });
  }
  for (const where of plainAddresses(config)) log.warn("no TLS", { ...where, risk: plainRisk });
}
