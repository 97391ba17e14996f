// `dbx stop`, `dbx status` and `dbx destroy`: a server that runs, or may not.

import { existsSync, lstatSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join, parse, relative, resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import type { Output as Answer } from "../../api/operations.ts";
import type { Config } from "../../model/config.ts";
import { failedPrecondition, invalidArgument, notFound, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { loadConfiguration, locateServer } from "../configuration.ts";
import {
  becomesTrue,
  findServer,
  findServerAlone,
  isInUse,
  removePidFile,
  type PidRecord,
} from "../daemon.ts";
import type { Shell } from "../shell.ts";
import { endBy, wayToStop } from "../stopping.ts";
import { connect, requireMachineKey } from "../target.ts";
import { asking } from "./key-flags.ts";

const json = Type.Optional(Type.Boolean({ description: "Print JSON." }));
const strict = { additionalProperties: false } as const;

export const stop = command({
  needs: "machine",
  summary: "Stop the running server.",
  about:
    "The server finishes what it is doing, at most ten seconds. One that hangs longer is killed, and that\n" +
    "is said; nothing acknowledged is lost even then. That no server runs is no failure.",
  flags: Type.Object({ json }, strict),
  examples: ["dbx stop"],
  exits: { 4: "the data directory is in use by a process that its PID file does not name" },
  run: async (_flags, shell) => {
    const { config, warnings } = await locateServer(shell);
    for (const warning of warnings) shell.output.words(`warning: ${warning}`);
    const result = await stopServer(config.data_dir, shell);
    if (shell.output.json) return shell.output.jsonValue(result);
    return shell.output.data(stopWords(result));
  },
});

interface StopResult {
  readonly stopped: boolean;
  readonly pid: number | null;
  readonly killed: boolean;
  readonly stale: boolean;
  readonly uptime: string | null;
}

async function stopServer(data_dir: string, { user }: Shell): Promise<StopResult> {
  const found = await findServerAlone(data_dir);
  const none = { stopped: false, pid: null, killed: false, stale: false, uptime: null };
  if (found.state === "none") return none;
  if (found.state === "stale") {
    return { ...none, stale: removePidFile(data_dir, found.pid) };
  }
  const { record } = found;
  const { pid, started_at } = record;
  const ended = await endBy(wayToStop(process.platform), { data_dir, record, user });
  if (ended === null) {
    throw unavailable(`failed to stop dbx (pid ${pid}); the process is still running`, { pid });
  }
  return { stopped: true, pid, killed: ended.killed, stale: false, uptime: uptimeOf(started_at) };
}

function stopWords({ stopped, stale, pid, killed, uptime }: StopResult): string {
  if (stale) return "removed a stale PID file; dbx is not running";
  if (!stopped) return "dbx is not running";
  return killed
    ? `dbx killed (pid ${pid}) after ${uptime}: it did not end within its drain time`
    : `dbx stopped (pid ${pid}) after ${uptime}`;
}

/** In: when it started. Out: `1d 2h 3m`, at most three units. */
function uptimeOf(started_at: string): string {
  const seconds = Math.floor((Date.parse(realSystem.now()) - Date.parse(started_at)) / 1000);
  const units = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  const shown = units.filter(([amount]) => amount > 0).slice(0, 3);
  return shown.length === 0 ? "under 1s" : shown.map(([amount, unit]) => amount + unit).join(" ");
}

const notRunningExit = 3;

export const status = command({
  summary: "Tell whether the server runs, where, since when and how.",
  flags: Type.Object({ json }, strict),
  examples: ["dbx status", "dbx status --json", "dbx status --url https://db.example.com:7070"],
  exits: {
    3: "no server is running",
    4: "the server does not answer, or the data directory is in use by an unnamed process",
  },
  run: async (_flags, shell) => {
    if (shell.reach.kind !== "machine") return tellElsewhere(shell);
    const configuration = await locateServer(shell);
    const { config, warnings } = configuration;
    const { output } = shell;
    for (const warning of warnings) output.words(`warning: ${warning}`);
    const found = await findServerAlone(config.data_dir);
    const target =
      found.state === "running"
        ? await connect(found.record, { shell, configuration, token: undefined })
        : null;
    if (found.state !== "running" || (target === null && (await isEnding(config.data_dir)))) {
      if (output.json) await output.jsonValue({ running: false, data_dir: config.data_dir });
      else await output.data("dbx is not running");
      return notRunningExit;
    }
    if (target === null) {
      const { pid } = found.record;
      await requireMachineKey(config, found.record);
      throw failedPrecondition(`dbx (pid ${pid}) does not answer: it is stopping, or it hangs`, {
        pid,
      });
    }
    try {
      const server = await target.ask("serverStatus", {});
      const shown = { running: true, ...found.record, uptime: uptimeOf(found.record.started_at) };
      const encryption = encryptionOf(server, config);
      const { data_dir } = config;
      if (output.json) await output.jsonValue({ ...shown, data_dir, encryption, ...server });
      else await output.data(statusWords(found.record, { server, config, encryption }));
      return 0;
    } finally {
      await target.close();
    }
  },
});

/** Of a server elsewhere only what it says itself is known. */
async function tellElsewhere(shell: Shell): Promise<void> {
  const { output, reach } = shell;
  const url = reach.kind === "url" ? reach.url.text : null;
  const server = await asking({ shell, access: "read", token: null }, ({ ask }) =>
    ask("serverStatus", {}),
  );
  if (output.json) {
    return output.jsonValue({ running: true, ...(url === null ? {} : { url }), ...server });
  }
  const rows = { version: server.version, ...rowsOf(server, wordOf(server, "off")) };
  const where = url === null ? "" : ` at ${url}`;
  const first = `dbx is running${where} — restrict=${server.restrict}`;
  return output.data([first, ...linesOf(rows)].join("\n"));
}

/** A process that was killed a moment ago still holds its lock for the next few milliseconds. */
const isEnding = (data_dir: string): Promise<boolean> =>
  becomesTrue(async () => (await findServer(data_dir)).state !== "running", limits.settle_ms);

/** Never lets anybody believe that a key in the configuration encrypts what is on the disk. */
const encryptionOf = (server: Answer<"serverStatus">, config: Config): string =>
  wordOf(
    server,
    config.data_encryption_key === undefined
      ? "off"
      : "off (a key is set; it is used from the next start)",
  );

function wordOf({ encrypted, figures }: Answer<"serverStatus">, off: string): string {
  if (encrypted) return "on";
  return figures["sealing"] === "partly" ? "partly (what is older than the key is in clear)" : off;
}

function statusWords(
  record: PidRecord,
  told: { server: Answer<"serverStatus">; config: Config; encryption: string },
): string {
  const { server, config, encryption } = told;
  const { pid, port, started_at, surfaces } = record;
  const { tls_expires_at } = server.figures;
  const rows = {
    version: server.version,
    data_dir: config.data_dir,
    ...(surfaces === undefined ? {} : { surfaces: surfaces.join(", ") || "none" }),
    ...(record.bind_addr === undefined ? {} : { http: addressOf(record.bind_addr, port) }),
    ...grpcWords(record),
    ...socketWords(record),
    // The day on which clients stop believing it must not surprise anybody.
    ...(record.tls === undefined
      ? {}
      : { tls: record.tls ? `on, certificate until ${tls_expires_at}` : "off" }),
    ...rowsOf(server, encryption),
  };
  return [
    `dbx is running on port ${port} (pid ${pid}) — restrict=${server.restrict} — ` +
      `up for ${uptimeOf(started_at)} (since ${started_at})`,
    ...linesOf(rows),
  ].join("\n");
}

const linesOf = (rows: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(rows).map(([name, value]) => `  ${name}: ${value}`);

function rowsOf(server: Answer<"serverStatus">, encryption: string): Record<string, unknown> {
  const { durability, position, aggregates, figures } = server;
  const { schemas_fault, tls_fault } = figures;
  return {
    ...{ durability, encryption, position, aggregates },
    // What somebody has to repair must not hide behind --json.
    ...(schemas_fault === undefined ? {} : { schemas_fault }),
    ...(tls_fault === undefined ? {} : { tls_fault }),
  };
}

const addressOf = (hostname: string, port: number): string =>
  hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;

function grpcWords({ port, grpc_port, grpc_bind_addr }: PidRecord): { grpc?: string } {
  if (grpc_port === undefined) return {};
  if (grpc_port === port) return { grpc: `on port ${port}, shared with HTTP` };
  if (grpc_bind_addr === undefined) return { grpc: `on port ${grpc_port}` };
  return { grpc: addressOf(grpc_bind_addr, grpc_port) };
}

function socketWords({ socket_port, socket_bind_addr }: PidRecord): { socket?: string } {
  if (socket_port === undefined || socket_bind_addr === undefined) return {};
  return { socket: addressOf(socket_bind_addr, socket_port) };
}

export const destroy = command({
  needs: "machine",
  summary: "Remove a database: its data directory and its configuration file.",
  about:
    "Stops the server first. Everything in the database is gone for ever; files that dbx did not make,\n" +
    "and a configuration file that is not this database's, stay.",
  flags: Type.Object(
    { yes: Type.Optional(Type.Boolean({ description: "Do not ask." })), json },
    strict,
  ),
  examples: ["dbx destroy", "dbx destroy --yes"],
  exits: { 2: "not confirmed, or the input does not fit", 3: "no database there" },
  run: async (flags, shell) => {
    const { config } = await loadConfiguration(shell, {});
    const { data_dir } = config;
    const { output } = shell;
    refuseDangerous(data_dir, shell);
    // A mistyped path must not cost the configuration file, nor what else lies there.
    if (!existsSync(join(data_dir, "dbx.db"))) {
      throw notFound(`nothing there: no dbx.db in ${data_dir}`, { data_dir });
    }
    const configPath = (await ownConfig(data_dir, shell)) ? shell.configPath : null;
    if (flags.yes !== true && !(await confirmed({ data_dir, configPath }, shell))) {
      output.words("Destroy command cancelled.");
      return 2;
    }
    const stopped = await stopServer(data_dir, shell);
    if (stopped.stopped) output.words(stopWords(stopped));
    if (isInUse(data_dir)) {
      throw unavailable("another dbx command uses the data directory; try again when it is done");
    }
    const left = await removeOwn(data_dir);
    if (configPath !== null) await rm(configPath, { force: true });
    const config_left = configPath === null && existsSync(shell.configPath);
    if (output.json) {
      const all = config_left ? [...left, shell.configPath] : left;
      return output.jsonValue({ destroyed: data_dir, left: all });
    }
    for (const name of left) output.words(`left, because dbx did not make it: ${name}`);
    if (config_left) output.words(`left, because it is not this database's: ${shell.configPath}`);
    const what = configPath === null ? "data" : "data and configuration";
    return output.data(`all dbx ${what} removed from ${data_dir}`);
  },
});

/**
 * A data directory that holds more than dbx's data is a mistake that `destroy` must not make
 * worse.
 */
function refuseDangerous(data_dir: string, { home, cwd }: Shell): void {
  if ([parse(data_dir).root, resolve(home), dirname(cwd)].some((path) => isIn(path, data_dir))) {
    throw failedPrecondition(`refusing to remove ${data_dir}; remove it by hand if you mean it`, {
      data_dir,
    });
  }
}

const isIn = (path: string, directory: string): boolean =>
  !relative(directory, path).startsWith("..");

/** Whether the file lies in the data directory or names it; the environment may name another. */
async function ownConfig(data_dir: string, shell: Shell): Promise<boolean> {
  if (isIn(shell.configPath, data_dir)) return true;
  const { config, origins } = await loadConfiguration({ ...shell, env: {} }, {});
  return origins.get("data_dir") === "file" && config.data_dir === data_dir;
}

async function confirmed(
  { data_dir, configPath }: { data_dir: string; configPath: string | null },
  { output }: Shell,
): Promise<boolean> {
  if (!output.interactive) {
    throw invalidArgument("destroy asks on a terminal; without one it needs --yes", {
      flag: "--yes",
    });
  }
  const ending = 'Type "destroy" to continue: ';
  output.words(`This removes the data directory ${data_dir}${configPath === null ? "." : ""}`);
  const question = configPath === null ? ending : `and the configuration ${configPath}. ${ending}`;
  return (await output.ask(question)).trim() === "destroy";
}

/** What dbx, in any version, puts into a data directory as files; `logs` is looked into. */
const ownFiles: readonly RegExp[] = [
  /^(?:dbx|lock|archive|plugins)\.db(?:-wal|-shm|-journal)?$/,
  /^(?:tokens|schemas|plugins|staged_events|plugin_queue|remotes)\.json$/,
  /^(?:eventdbx\.pid|machine\.key|config\.toml)$/,
  /^replication\.(?:key|pub)$/,
  // A file that was being replaced when the process was killed.
  /^\.[\w.]+\.[0-9a-f]{12}\.tmp$/,
];
const ownLogs: readonly RegExp[] = [/^dbx(?:-\d{8}T\d{6}-\d{3,})?\.log$/];

/** Out: the paths that are left, because somebody else put them there. */
async function removeOwn(data_dir: string): Promise<string[]> {
  const logs = join(data_dir, "logs");
  // A link is not followed: what it leads to is not in the data directory.
  const looked = lstatSync(logs, { throwIfNoEntry: false })?.isDirectory() === true;
  const leftLogs = looked ? await removeFiles(logs, ownLogs) : [];
  const left = await removeFiles(data_dir, ownFiles);
  return [...leftLogs, ...left.filter((path) => path !== logs || !looked)];
}

/** Removes the files with such names, then the directory if nothing is left. Out: what is left. */
async function removeFiles(directory: string, own: readonly RegExp[]): Promise<string[]> {
  const left: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    const isOwn = !entry.isDirectory() && own.some((pattern) => pattern.test(entry.name));
    if (isOwn) await rm(path, { force: true });
    else left.push(path);
  }
  if (left.length === 0) await rmdir(directory);
  return left;
}
