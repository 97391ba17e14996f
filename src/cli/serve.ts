// The life of a server process: open, listen, tell, wait for the end, drain, close.

import { availableParallelism } from "node:os";
import { statusOf } from "../api/errors.ts";
import { createLog, type Log } from "../log.ts";
import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { open, type Opened } from "../open.ts";
import { startServer, type Server } from "../server/server.ts";
import { realSystem } from "../system.ts";
import { version } from "../version.ts";
import { keepInFile, loadConfiguration, type Configuration, type Given } from "./configuration.ts";
import { removePidFile, writePidFile } from "./daemon.ts";
import { openLogFile } from "./log-file.ts";
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
    return await run(options, { log, signals });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (detached) log.error("cannot start", { reason });
    throw error;
  } finally {
    signals.close();
    sink.close();
  }
}

interface Parts {
  readonly log: Log;
  readonly signals: Signals;
}

async function run(options: ServeOptions, { log, signals }: Parts): Promise<number> {
  const { shell, configuration, given } = options;
  const { config, path } = configuration;
  const opened = await open({
    config,
    log,
    system: realSystem,
    access: "write",
    lock_wait_ms: limits.lock_wait_ms,
    // With a single processor a thread of its own only adds switching.
    threads: availableParallelism() > 1,
    // Flags of this start are in the file by then, so that a later change of the file holds.
    reload: async () => (await loadConfiguration(shell, {})).config,
  });
  let server: Server;
  try {
    server = await startServer({ opened, config, log, version });
  } catch (error) {
    await opened.close();
    throw error;
  }
  try {
    const { port, control_port } = server;
    if (await keepInFile(path, given)) log.info("configuration kept", { path });
    const started_at = realSystem.now();
    await writePidFile(config.data_dir, { pid: process.pid, started_at, port, control_port });
    log.info("ready", { pid: process.pid, port, restrict: config.restrict });
  } catch (error) {
    await shutDown({ server, opened, data_dir: config.data_dir });
    throw error;
  }
  const failed = await Promise.race([opened.failure, signals.next("stopping", log)]);
  if (failed instanceof DbxError) log.error("storage failed", { reason: failed.message });
  const ended = shutDown({ server, opened, data_dir: config.data_dir });
  const forced = await Promise.race([ended, signals.next("forced to stop", log)]);
  if (forced === "signal") return interrupted;
  log.info("stopped", {});
  return failed instanceof DbxError ? statusOf.unavailable.exit : 0;
}

/** What a shell reports for a process that Ctrl-C ended. */
const interrupted = 130;

/** Answers what was accepted, makes the files small, and only then says that nobody serves them. */
async function shutDown(parts: {
  server: Server;
  opened: Opened;
  data_dir: string;
}): Promise<void> {
  await parts.server.stop();
  await parts.opened.close();
  // The lock is free now: another server may have left its own record already.
  removePidFile(parts.data_dir, process.pid);
}

interface Signals {
  /** Resolves at the next SIGTERM, SIGINT or SIGHUP that nobody has waited for yet. */
  readonly next: (phrase: string, log: Log) => Promise<"signal">;
  readonly close: () => void;
}

/** Signals are taken from the first moment, so that one that comes during the start is not lost. */
function watchSignals(): Signals {
  const names = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  const arrived: string[] = [];
  let wake: ((name: string) => void) | null = null;
  const listener = (name: string) => {
    if (wake === null) arrived.push(name);
    else wake(name);
    wake = null;
  };
  for (const name of names) process.on(name, listener);
  return {
    next: async (phrase, log) => {
      const name = arrived.shift() ?? (await new Promise<string>((done) => (wake = done)));
      log.info(phrase, { signal: name });
      return "signal";
    },
    close: () => names.forEach((name) => process.off(name, listener)),
  };
}

function warnAtStart({ config, warnings }: Configuration, log: Log): void {
  for (const problem of warnings) log.warn("configuration", { problem });
  if (config.data_encryption_key !== undefined) {
    log.warn("encryption is off", {
      reason: "a key is set, but this version does not encrypt yet",
    });
  }
  if (config.storage.durability === "normal") {
    log.warn("durability is normal", { risk: "a power cut may take the last commits" });
  }
  if (!/^(?:localhost$|127\.|\[?::1\]?$)/.test(config.bind_addr)) {
    const risk = "tokens and data can be read on the way";
    log.warn("no TLS", { address: config.bind_addr, risk });
  }
}
