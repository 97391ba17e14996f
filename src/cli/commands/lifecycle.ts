// `dbx stop`, `dbx status` and `dbx destroy`: a server that runs, or may not.

import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join, parse, relative, resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import type { Output as Answer } from "../../api/operations.ts";
import type { Config } from "../../model/config.ts";
import { failedPrecondition, invalidArgument, unavailable } from "../../model/error.ts";

import { limits } from "../../model/limits.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { loadConfiguration } from "../configuration.ts";
import {
  becomesTrue,
  endServer,
  findServer,
  isInUse,
  removePidFile,
  type PidRecord,
} from "../daemon.ts";
import type { Shell } from "../shell.ts";
import { connect } from "../target.ts";

const json = Type.Optional(Type.Boolean({ description: "Print JSON." }));
const strict = { additionalProperties: false } as const;

export const stop = command({
  summary: "Stop the running server.",
  about:
    "The server finishes what it is doing, at most ten seconds. One that hangs longer is killed, and that\n" +
    "is said; nothing acknowledged is lost even then. That no server runs is no failure.",
  flags: Type.Object({ json }, strict),
  examples: ["dbx stop"],
  run: async (_flags, shell) => {
    const { config } = await loadConfiguration(shell, {});
    const result = await stopServer(config.data_dir);
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

async function stopServer(data_dir: string): Promise<StopResult> {
  const found = await findServer(data_dir);
  const none = { stopped: false, pid: null, killed: false, stale: false, uptime: null };
  if (found.state === "none") return none;
  if (found.state === "stale") {
    return { ...none, stale: removePidFile(data_dir, found.pid) };
  }
  const { pid, started_at } = found.record;
  const ended = await endServer(data_dir, found.record);
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
  examples: ["dbx status", "dbx status --json"],
  exits: { 3: "no server is running" },
  run: async (_flags, shell) => {
    const configuration = await loadConfiguration(shell, {});
    const { config, warnings } = configuration;
    const { output } = shell;
    for (const warning of warnings) output.words(`warning: ${warning}`);
    const found = await findServer(config.data_dir);
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

/** A process that was killed a moment ago still holds its lock for the next few milliseconds. */
const isEnding = (data_dir: string): Promise<boolean> =>
  becomesTrue(async () => (await findServer(data_dir)).state !== "running", limits.settle_ms);

/** Never lets anybody believe that a key in the configuration encrypts what is on the disk. */
function encryptionOf({ encrypted }: Answer<"serverStatus">, config: Config): string {
  if (encrypted) return "on";
  return config.data_encryption_key === undefined
    ? "off"
    : "off (a key is set, but this version does not encrypt yet)";
}

function statusWords(
  { pid, port, started_at }: PidRecord,
  told: { server: Answer<"serverStatus">; config: Config; encryption: string },
): string {
  const { server, config, encryption } = told;
  const rows = {
    version: server.version,
    data_dir: config.data_dir,
    durability: server.durability,
    encryption,
    position: server.position,
    aggregates: server.aggregates,
  };
  return [
    `dbx is running on port ${port} (pid ${pid}) — restrict=${server.restrict} — ` +
      `up for ${uptimeOf(started_at)} (since ${started_at})`,
    ...Object.entries(rows).map(([name, value]) => `  ${name}: ${value}`),
  ].join("\n");
}

export const destroy = command({
  summary: "Remove the data directory and the configuration file.",
  about: "Stops the server first. Everything in the database is gone for ever.",
  flags: Type.Object(
    { yes: Type.Optional(Type.Boolean({ description: "Do not ask." })), json },
    strict,
  ),
  examples: ["dbx destroy", "dbx destroy --yes"],
  exits: { 2: "not confirmed, or the input does not fit" },
  run: async (flags, shell) => {
    const { config } = await loadConfiguration(shell, {});
    const { output } = shell;
    refuseDangerous(config.data_dir, shell);
    if (flags.yes !== true && !(await confirmed(config.data_dir, shell))) {
      output.words("Destroy command cancelled.");
      return 2;
    }
    const stopped = await stopServer(config.data_dir);
    if (stopped.stopped) output.words(stopWords(stopped));
    if (isInUse(config.data_dir)) {
      throw unavailable("another dbx command uses the data directory; try again when it is done");
    }
    const left = await removeOwn(config.data_dir);
    await rm(shell.configPath, { force: true });
    if (output.json) return output.jsonValue({ destroyed: config.data_dir, left });
    for (const name of left) output.words(`left, because dbx did not make it: ${name}`);
    return output.data(`all dbx data and configuration removed from ${config.data_dir}`);
  },
});

/**
 * A data directory that holds more than dbx's data is a mistake that `destroy` must not make
 * worse.
 */
function refuseDangerous(data_dir: string, { home, cwd }: Shell): void {
  const above = (path: string) => !relative(data_dir, path).startsWith("..");
  if (data_dir === parse(data_dir).root || above(resolve(home)) || above(dirname(cwd))) {
    throw failedPrecondition(`refusing to remove ${data_dir}; remove it by hand if you mean it`, {
      data_dir,
    });
  }
}

async function confirmed(data_dir: string, { output, configPath }: Shell): Promise<boolean> {
  if (!output.interactive) {
    throw invalidArgument("destroy asks on a terminal; without one it needs --yes", {
      flag: "--yes",
    });
  }
  output.words(`This removes the data directory ${data_dir}`);
  const answer = await output.ask(
    `and the configuration ${configPath}. Type "destroy" to continue: `,
  );
  return answer.trim() === "destroy";
}

/** What dbx, in any version, puts into a data directory. */
const ownNames: readonly RegExp[] = [
  /^(?:dbx|lock|archive)\.db(?:-wal|-shm|-journal)?$/,
  /^(?:tokens|schemas|plugins|staged_events|plugin_queue|remotes)\.json$/,
  /^(?:eventdbx\.pid|machine\.key|config\.toml)$/,
  /^replication\.(?:key|pub)$/,
  /^(?:logs|plugins|event_store)$/,
  /^\..*\.tmp$/,
];

/** Out: the paths that are left, because somebody else put them there. */
async function removeOwn(data_dir: string): Promise<string[]> {
  const names = await readdir(data_dir).catch(() => []);
  const foreign = names.filter((name) => !ownNames.some((own) => own.test(name)));
  for (const name of names) {
    if (!foreign.includes(name)) await rm(join(data_dir, name), { recursive: true, force: true });
  }
  if (foreign.length === 0 && names.length > 0) await rmdir(data_dir);
  return foreign.map((name) => join(data_dir, name));
}
