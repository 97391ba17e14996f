// `dbx start` and `dbx restart`: the server in this process, or as a daemon that this process
// waits for.

import { open as openFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Type, type Static } from "@sinclair/typebox";
import { statusOf } from "../../api/errors.ts";
import {
  Config,
  grpcEndpointOf,
  httpEndpointOf,
  socketEndpointOf,
  surfaces,
  type Endpoint,
} from "../../model/config.ts";
import {
  DbxError,
  errorCodes,
  failedPrecondition,
  invalidArgument,
  unavailable,
} from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { requireSoundPair } from "../../server/tls.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { loadConfiguration, type Configuration, type Given } from "../configuration.ts";
import {
  becomesTrue,
  findServer,
  findServerAlone,
  readPidFile,
  removePidFile,
  type PidRecord,
} from "../daemon.ts";
import { surfacesOf } from "../keys.ts";
import { logPath } from "../log-file.ts";
import { plainAddresses, plainRisk } from "../plain.ts";
import { portRemedy } from "../port-words.ts";
import { isNew, serve } from "../serve.ts";
import type { Shell } from "../shell.ts";
import { endBy, wayToStop } from "../stopping.ts";
import { connect } from "../target.ts";
import { removeFormer } from "../upgrade/place.ts";

const surfaceFlag = (description: string) =>
  Type.Optional(Type.Boolean({ description, negatable: true }));

export const startFlags = Type.Object(
  {
    port: Type.Optional({
      ...Config.properties.port,
      description: "Port of the HTTP listener; kept.",
    }),
    data_dir: Type.Optional(
      Type.String({ minLength: 1, hint: "path", description: "Where everything is kept; kept." }),
    ),
    foreground: Type.Optional(
      Type.Boolean({ description: "Stay in this process; the log goes to stderr." }),
    ),
    restrict: Type.Optional(
      Type.String({
        hint: "off|default|strict",
        choices: ["off", "default", "strict"],
        valueWhenBare: "default",
        description: "How strictly schemas bind; without a value `default`; kept.",
      }),
    ),
    api: Type.Optional(
      Type.String({
        hint: "rest|graphql|grpc|all",
        choices: [...surfaces, "all"],
        description: "The surfaces to serve, all others off; kept.",
      }),
    ),
    rest: surfaceFlag("Serve REST; kept."),
    graphql: surfaceFlag("Serve GraphQL; kept."),
    grpc: surfaceFlag("Serve gRPC; kept."),
    json: Type.Optional(Type.Boolean({ description: "Tell about the started daemon in JSON." })),
    detached: Type.Optional(
      Type.Boolean({ hidden: true, description: "What the daemon's own process is started with." }),
    ),
  },
  { additionalProperties: false },
);
export type StartFlags = Static<typeof startFlags>;

const examples = [
  "dbx start --foreground",
  "dbx start --port 8080 --data-dir /var/lib/dbx",
  "dbx start --restrict=strict --no-graphql",
];

export const start = command({
  needs: "machine",
  summary: "Start the server.",
  about:
    "Returns when the server answers, unless --foreground. Flags marked `kept` are written to the\n" +
    "configuration file once the server runs, so that later commands find it.",
  flags: startFlags,
  examples,
  exits: { 4: "a server runs on this data directory already" },
  run: (flags, shell) => startServer(flags, shell),
});

export const restart = command({
  needs: "machine",
  summary: "Stop the running server, if any, and start it again.",
  flags: startFlags,
  examples: ["dbx restart", "dbx restart --port 8080"],
  run: async (flags, shell) => {
    // Flags are checked before anything is stopped.
    const given = givenBy(flags);
    const next = await loadConfiguration(shell, given);
    const configuration = await loadConfiguration(shell, {});
    const { config } = configuration;
    const found = await findServerAlone(config.data_dir);
    if (found.state === "running") {
      const { pid, port, grpc_port, socket_port } = found.record;
      for (const endpointOf of [httpEndpointOf, grpcEndpointOf, socketEndpointOf]) {
        const endpoint = endpointOf(next.config);
        const held = endpoint === null || [port, grpc_port, socket_port].includes(endpoint.port);
        if (!held) tryPort(endpoint, next.config);
      }
      requireSoundPair(next.config, realSystem.now());
      await requireSoundSchemas(found.record, { shell, configuration });
      const server = { data_dir: config.data_dir, record: found.record, user: shell.user };
      if ((await endBy(wayToStop(process.platform), server)) === null) {
        throw unavailable(`process ${pid} does not end`, { pid });
      }
      shell.output.words(`dbx stopped (pid ${pid})`);
    }
    return startServer(flags, shell);
  },
});

/** A server that goes on with the schemas from before must not be stopped for one that has none. */
async function requireSoundSchemas(
  record: PidRecord,
  options: { shell: Shell; configuration: Configuration },
): Promise<void> {
  const target = await connect(record, { ...options, token: undefined });
  // One that does not answer is no better than none.
  if (target === null) return;
  try {
    const { figures } = await target.ask("serverStatus", {});
    const { schemas_fault } = figures;
    if (schemas_fault === undefined) return;
    throw failedPrecondition(`no server would start now: ${schemas_fault}; this one goes on`, {
      schemas_fault,
    });
  } finally {
    await target.close();
  }
}

/** A good server must not be stopped for one that could not listen. */
function tryPort({ hostname, port }: Endpoint, config: Config): void {
  try {
    Bun.listen({ hostname, port, socket: { data: () => {} } }).stop(true);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const problem = reason === "EADDRINUSE" ? "is in use" : `cannot be listened on (${reason})`;
    const remedy = portRemedy(config, { hostname, port }) ?? "set socket.bind_addr to another";
    throw unavailable(
      `port ${port} on ${hostname} ${problem}; the running server goes on; ${remedy}`,
      { hostname, port, reason },
      { cause },
    );
  }
}

async function startServer(flags: StartFlags, shell: Shell): Promise<number> {
  // An upgrade could not remove what still ran.
  if (process.platform === "win32") await removeFormer(process.execPath);
  const given = givenBy(flags);
  const configuration = await loadConfiguration(shell, given);
  const { data_dir } = configuration.config;
  const found = await findServer(data_dir);
  if (found.state === "running") throw alreadyRunning(found.record, data_dir);
  try {
    if (flags.foreground === true || flags.detached === true) {
      const kept = absolute(given, configuration);
      return await serve({ shell, configuration, given: kept, detached: flags.detached === true });
    }
    for (const warning of configuration.warnings) shell.output.words(`warning: ${warning}`);
    if (found.state === "stale") removePidFile(data_dir, found.pid);
    await launch({ flags, shell, configuration });
    return 0;
  } catch (error) {
    if (!(error instanceof DbxError) || error.code !== "unavailable") throw error;
    // Of two that start at once, one finds nobody when it looks, and the lock taken when it opens.
    const now = await findServer(data_dir);
    throw now.state === "running" ? alreadyRunning(now.record, data_dir) : error;
  }
}

const alreadyRunning = ({ pid, port }: PidRecord, data_dir: string) =>
  failedPrecondition(`dbx is already running on port ${port} (pid ${pid})`, {
    ...{ pid, port, data_dir },
  });

/** What the flags say, by configuration key. Throws for a word nobody defined. */
export function givenBy(flags: StartFlags): Given {
  const { port, data_dir, restrict, api } = flags;
  const single = surfaces.filter((surface) => flags[surface] !== undefined);
  if (api !== undefined && single.length > 0) {
    const other = single.map((name) => (flags[name] === true ? `--${name}` : `--no-${name}`))[0];
    throw invalidArgument(`--api and ${other} exclude each other`, { flag: "--api" });
  }
  const chosen = api === undefined ? {} : surfacesOf(api);
  if (chosen === undefined) {
    throw invalidArgument(`--api must be one of: rest, graphql, grpc, all; it is '${api}'`, {
      flag: "--api",
    });
  }
  const switches = {
    ...Object.fromEntries(single.map((name) => [name, flags[name] === true])),
    ...chosen,
  };
  return {
    ...(port === undefined ? {} : { port }),
    ...(data_dir === undefined ? {} : { data_dir }),
    ...(restrict === undefined ? {} : { restrict }),
    ...Object.fromEntries(Object.entries(switches).map(([name, on]) => [`api.${name}`, on])),
  };
}

/** As they are kept: a path must mean the same from everywhere, a restriction has one spelling. */
function absolute(given: Given, { config }: Configuration): Given {
  return {
    ...given,
    ...("data_dir" in given ? { data_dir: config.data_dir } : {}),
    ...("restrict" in given ? { restrict: config.restrict } : {}),
  };
}

interface Launch {
  readonly flags: StartFlags;
  readonly shell: Shell;
  readonly configuration: Configuration;
}

/** Starts the daemon and waits until it listens, which is when it writes its PID file. */
async function launch({ flags, shell, configuration }: Launch): Promise<void> {
  const { config } = configuration;
  const log = logPath(config.data_dir);
  const makesNew = isNew(config);
  await mkdir(join(config.data_dir, "logs"), { recursive: true, mode: 0o700 });
  const sink = await openFile(log, "a", 0o600);
  const begin = (await sink.stat()).size;
  const daemon = Bun.spawn([...executable(), ...daemonArguments({ flags, shell, configuration })], {
    stdin: "ignore",
    // Only what is said before the log is open, or by a dying runtime, comes this way.
    stdout: sink.fd,
    stderr: sink.fd,
    detached: true,
    // The daemon must not keep a file system mounted that somebody happened to stand in.
    cwd: config.data_dir,
    env: daemonEnvironment({ shell, configuration }),
  });
  daemon.unref();
  await sink.close();
  const ready = async () => (await readPidFile(config.data_dir))?.pid === daemon.pid;
  const settled = async () =>
    daemon.exitCode !== null || daemon.signalCode !== null || (await ready());
  await becomesTrue(settled, limits.ready_wait_ms);
  const record = await readPidFile(config.data_dir);
  if (record?.pid !== daemon.pid) {
    if (daemon.exitCode === null && daemon.signalCode === null) daemon.kill();
    throw await startFailure({ log, begin, exit: daemon.exitCode });
  }
  const { output } = shell;
  if (makesNew) output.words(`new database in ${config.data_dir}`);
  for (const { surface, address } of plainAddresses(config)) {
    const what = surface === undefined ? address : `${address} (${surface})`;
    output.words(`warning: no TLS on ${what}: ${plainRisk}`);
  }
  const { pid, port, started_at } = record;
  const { restrict, data_dir } = config;
  if (output.json) await output.jsonValue({ running: true, ...record, restrict, data_dir });
  else
    await output.data(
      `dbx is running on port ${port} (pid ${pid}) since ${started_at} (restrict=${restrict})`,
    );
}

const executable = (): string[] =>
  Bun.isStandaloneExecutable
    ? [process.execPath]
    : [process.execPath, ...process.execArgv, Bun.main];

/** A relative path in the environment means what it means here: the daemon stands elsewhere. */
function daemonEnvironment({ shell, configuration }: Omit<Launch, "flags">): Shell["env"] {
  const fromHere = configuration.origins.get("data_dir") === "environment";
  if (!fromHere) return shell.env;
  return { ...shell.env, EVENTDBX_DATA_DIR: configuration.config.data_dir };
}

/** Relative paths are resolved here for the same reason. */
function daemonArguments({ flags, shell, configuration }: Launch): string[] {
  const { config } = configuration;
  const switches = surfaces.flatMap((surface) =>
    flags[surface] === undefined ? [] : [`--${flags[surface] ? "" : "no-"}${surface}`],
  );
  return [
    "start",
    `--config=${shell.configPath}`,
    "--detached",
    ...(flags.port === undefined ? [] : [`--port=${flags.port}`]),
    ...(flags.data_dir === undefined ? [] : [`--data-dir=${config.data_dir}`]),
    ...(flags.restrict === undefined ? [] : [`--restrict=${config.restrict}`]),
    ...(flags.api === undefined ? [] : [`--api=${flags.api}`]),
    ...switches,
  ];
}

const startFailures = ["unavailable", "failed_precondition"] as const;

/** The daemon's own last words tell why better than an exit code. */
async function startFailure(options: {
  log: string;
  begin: number;
  exit: number | null;
}): Promise<DbxError> {
  const text = (await readFile(options.log)).subarray(options.begin).toString();
  const lines = text
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "");
  const how = options.exit === null ? "did not get ready" : `ended with exit code ${options.exit}`;
  // Whoever supervises must see whether trying again helps: the reason is the daemon's, not ours.
  // Several codes share an exit code; these are the ones that keep a server from starting.
  const likely = [...startFailures, ...errorCodes];
  const known = likely.find((code) => statusOf[code].exit === options.exit);
  return new DbxError(known ?? "unavailable", `the server ${how}; the end of ${options.log}:`, {
    log: lines.slice(-8),
  });
}
