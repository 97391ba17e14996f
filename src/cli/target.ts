// Where a command goes: to the running server through its control port, to the data directory
// itself, to a server elsewhere, or to the one in whose process it runs. What comes back asks any
// of them the same way, and every request passes the gate.

import { join } from "node:path";
import { call } from "../api/call.ts";
import type { Ask } from "../api/dbx.ts";
import { decode } from "../api/decode.ts";
import { operations } from "../api/operations.ts";
import { createClient, type Client } from "../client/http.ts";
import { buySession } from "../client/machine.ts";
import { readMachineKey } from "../engine/machine-key.ts";
import { silentLog } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import type { Config } from "../model/config.ts";
import { assert, DbxError, failedPrecondition, unauthenticated } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { realSystem } from "../system.ts";
import { askThrough } from "./ask.ts";
import type { Configuration } from "./configuration.ts";
import { findServer, type PidRecord } from "./daemon.ts";
import { keeperOf } from "./key-place.ts";
import { namedBy, type Shell } from "./shell.ts";

export interface Target {
  /** Whether a running server answers. */
  readonly remote: boolean;
  readonly ask: Ask;
  readonly close: () => Promise<void>;
}

export interface TargetOptions {
  readonly shell: Shell;
  /** Null where it is not this machine that is asked. */
  readonly configuration: Configuration | null;
  /** `read` needs no lock, so it works beside anything. */
  readonly access: "read" | "write";
  /**
   * `--token`, null for commands that have no such flag for the caller; without one the
   * environment's, without that this machine's secret.
   */
  readonly token: string | null | undefined;
}

interface LocalOptions extends TargetOptions {
  readonly configuration: Configuration;
  readonly token: string | undefined;
}

async function openTarget(options: TargetOptions): Promise<Target> {
  const { shell, configuration } = options;
  const { reach } = shell;
  const token = tokenOf(options);
  if (reach.kind === "url") {
    const { openDistant } = await import("./distant.ts");
    const ways =
      options.token === null ? "set EVENTDBX_TOKEN" : "give --token, or set EVENTDBX_TOKEN";
    const warn = (words: string) => shell.output.words(`warning: ${words}`);
    return openDistant(reach, { token, ways, warn });
  }
  if (reach.kind === "served") return targetWithin(reach, token);
  assert(configuration !== null, "this machine has a configuration");
  const local = { ...options, configuration, token };
  const found = await findServer(configuration.config.data_dir);
  if (found.state === "running") {
    const remote = await connect(found.record, local);
    if (remote !== null) return remote;
    if (options.access === "write") await requireMachineKey(configuration.config, found.record);
  }
  return openHere(local);
}

/** Throws for what can be no token: it goes into no header, and into no message either. */
function tokenOf({ token, shell: { env } }: TargetOptions): string | undefined {
  const flag = { flag: "--token", word: token ?? undefined };
  const named = namedBy(flag, { env, variable: "EVENTDBX_TOKEN" });
  if (named === null) return undefined;
  const { place, text } = named;
  const { length } = text;
  if (length > limits.token_chars_max) {
    const most = `has ${length} characters, and a token at most ${limits.token_chars_max}`;
    throw unauthenticated(`${place} holds no token: it ${most}`);
  }
  if (/^[\u0021-\u007e]*$/.test(text)) return text;
  const strange = "blanks, line ends or characters besides ASCII";
  throw unauthenticated(`${place} holds no token: there are ${strange} in it`);
}

/** The token is looked at for each request, so that revoking it holds at once. */
function targetWithin(
  { dbx, authenticate }: Extract<Shell["reach"], { kind: "served" }>,
  token: string | undefined,
): Target {
  return {
    remote: true,
    ask: async (operation, input) =>
      call(dbx, { operation, input, actor: authenticate(token ?? "") }),
    close: async () => {},
  };
}

/** Opens a target, uses it and closes it, whatever happens. */
export async function withTarget<Result>(
  options: TargetOptions,
  use: (target: Target) => Promise<Result>,
): Promise<Result> {
  const target = await openTarget(options);
  try {
    return await use(target);
  } finally {
    await target.close();
  }
}

/** Throws `failed_precondition` where the file is gone by which a running server is asked. */
export async function requireMachineKey(
  { data_dir }: Pick<Config, "data_dir">,
  { pid }: PidRecord,
): Promise<void> {
  if ((await readMachineKey(data_dir)) !== null) return;
  const path = join(data_dir, "machine.key");
  throw failedPrecondition(
    `${path} is missing, by which the running server (pid ${pid}) knows the command line of this ` +
      "machine; put it back, or let dbx restart make another",
    { path, pid },
  );
}

/**
 * The server of a PID file, or null where it does not answer: it is stopping then, or hung. Throws
 * what it refuses with.
 */
export async function connect(
  { control_port: port }: PidRecord,
  { shell, configuration, token }: Omit<LocalOptions, "access">,
): Promise<Target | null> {
  const host = "127.0.0.1";
  const machineKey = await readMachineKey(configuration.config.data_dir);
  if (machineKey === null) return null;
  const openClient = async (): Promise<Client | null> => {
    const session = await buySession({
      ...{ host, port, machineKey, user: shell.user },
      nonce: realSystem.random(32),
      idle_ms_max: limits.lock_wait_ms,
    });
    if (session === null) return null;
    // The session also proves who the server is, so a token that was given goes to nobody else.
    return createClient({
      ...{ host, port, token: token ?? session },
      idle_ms_max: limits.answer_idle_ms_max,
    });
  };
  const first = await openClient();
  if (first === null) return null;
  let current = first;
  return {
    remote: true,
    ask: async (operation, input) => {
      // The gate of the server decides; decoding here first names the member instead of a strange
      // path.
      const decoded = decode(operations[operation].input, input);
      try {
        return await askThrough(current.dbx, operation, decoded);
      } catch (error) {
        // A session ends by the clock, while a reader of a long replay pauses for instance. What
        // was refused for that has done nothing, so it may be asked again.
        if (token !== undefined || !isUnauthenticated(error)) throw error;
        const renewed = await openClient();
        if (renewed === null) throw error;
        current.close();
        current = renewed;
        return askThrough(current.dbx, operation, decoded);
      }
    },
    close: async () => current.close(),
  };
}

const isUnauthenticated = (error: unknown): boolean =>
  error instanceof DbxError && error.code === "unauthenticated";

async function openHere(options: LocalOptions): Promise<Target> {
  const { shell, configuration, access, token } = options;
  const { open } = await import("../open.ts");
  const opened = await open({
    config: configuration.config,
    log: silentLog,
    system: realSystem,
    access,
    opener: shell.user,
    lock_wait_ms: limits.lock_wait_ms,
    threads: false,
    plugins: false,
    env: shell.env,
    reload: null,
    keepKey: () => keeperOf(configuration),
    keepRemote: null,
  });
  let actor: Actor;
  try {
    actor = opened.authenticate(token ?? opened.openSession(shell.user).token);
  } catch (error) {
    await opened.close();
    throw error;
  }
  return {
    remote: false,
    ask: async (operation, input) => call(opened.dbx, { operation, input, actor }),
    close: opened.close,
  };
}
