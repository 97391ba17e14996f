// The data encryption key as `dbx config` handles it: whether it fits the data, encrypting what is
// there, exchanging it for another.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { silentLog } from "../../log.ts";
import type { Config } from "../../model/config.ts";
import { DbxError, failedPrecondition } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { open, type OpenOptions, type Opened } from "../../open.ts";
import { realSystem } from "../../system.ts";
import type { Configuration } from "../configuration.ts";
import { findServer } from "../daemon.ts";
import type { Shell } from "../shell.ts";
import { withTarget } from "../target.ts";

const openHere = (
  { config, access }: Pick<OpenOptions, "config" | "access">,
  { user }: Pick<Shell, "user">,
): Promise<Opened> =>
  open({
    ...{
      config,
      access,
      opener: user,
      log: silentLog,
      system: realSystem,
      threads: false,
      plugins: false,
      env: {},
    },
    ...{ lock_wait_ms: limits.lock_wait_ms, reload: null, keepKey: null, keepRemote: null },
  });

const hasData = ({ data_dir }: Config): boolean => existsSync(join(data_dir, "dbx.db"));

/**
 * Puts what the configuration is about to become into the audit trail of the data directory as it
 * is, where no server runs that would do so. A store that cannot be opened keeps nobody from
 * repairing its configuration: the next start of a server notices and tells what is different.
 */
export async function tellHere(
  { before, next, fitting }: { before: Config; next: Config; fitting: string | undefined },
  shell: Shell,
): Promise<void> {
  if (!hasData(before) || (await findServer(before.data_dir)).state === "running") return;
  try {
    const opened = await openHere({ config: before, access: "write" }, shell).catch(
      (error: unknown) => {
        const reason = error instanceof DbxError ? error.details["reason"] : null;
        const lacksKey = reason === "key_missing" || reason === "key_wrong";
        if (!lacksKey || fitting === undefined) throw error;
        // The key is being told right now. Not used where it would encrypt what is in clear.
        const config = { ...before, data_encryption_key: fitting };
        return openHere({ config, access: "write" }, shell);
      },
    );
    try {
      const { token } = opened.openSession(shell.user);
      await opened.tellSettings(opened.authenticate(token), next);
    } finally {
      await opened.close();
    }
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    shell.output.words(`warning: the audit trail is told at the next start: ${error.message}`);
  }
}

/**
 * Throws `failed_precondition` where the data is encrypted with another key: kept, this one would
 * open nothing.
 */
export async function requireFits(
  {
    config,
    data_encryption_key,
    flag,
  }: { config: Config; data_encryption_key: string; flag: string },
  shell: Shell,
): Promise<void> {
  if (!hasData(config)) return;
  try {
    const opened = await openHere(
      { config: { ...config, data_encryption_key }, access: "read" },
      shell,
    );
    await opened.close();
  } catch (error) {
    if (!(error instanceof DbxError) || error.details["reason"] !== "key_wrong") throw error;
    throw failedPrecondition(
      `${flag} is not the key of what is stored in ${config.data_dir}; nothing was changed; to put ` +
        "another key in place of the present one: dbx config --rotate-dek",
      { flag },
      { cause: error },
    );
  }
}

/** Encrypts what is there, now where no server runs; a server does it itself. */
export async function encryptHere({ config }: Configuration, shell: Shell): Promise<void> {
  if (!hasData(config)) return;
  const { output } = shell;
  if ((await findServer(config.data_dir)).state === "running") {
    output.words(
      "the server encrypts what is there once it is restarted; dbx status tells how far",
    );
    return;
  }
  const opened = await openHere({ config, access: "write" }, shell);
  try {
    await opened.sealOlder((position, of) =>
      output.progress(`encrypting: event ${position} of ${of}`),
    );
  } finally {
    output.endProgress();
    await opened.close();
  }
  output.words("everything in the data directory is encrypted");
}

/** Out: how many keys are wrapped by the new one. It is in the configuration file by then. */
export async function rotate(
  {
    configuration,
    data_encryption_key,
  }: { configuration: Configuration; data_encryption_key: string },
  shell: Shell,
): Promise<number> {
  // Whatever token the environment has: it is this machine that asks.
  const machine = { ...shell, env: { ...shell.env, EVENTDBX_TOKEN: undefined } };
  const { keys } = await withTarget(
    { shell: machine, configuration, access: "write", token: undefined },
    ({ ask }) => ask("rotateKey", { data_encryption_key }),
  );
  const { origins } = configuration;
  if (origins.get("data_encryption_key") === "environment") {
    shell.output.words(
      "warning: the environment still has the old key, which opens nothing any more: change it " +
        "before the next start",
    );
  }
  return keys;
}
