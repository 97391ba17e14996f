// Where the configuration of a restored database goes. One that belongs to another database is
// never written over: whoever restores for a look must not turn commands away from what he runs.

import { existsSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { loadConfiguration } from "./configuration.ts";
import type { Shell } from "./shell.ts";

export interface ConfigPlace {
  readonly path: string;
  /** Its path within the data directory; null where it lies outside. */
  readonly inside: string | null;
  /** What is to be written outside. */
  readonly text?: string;
}

export async function placeFor(options: {
  readonly shell: Shell;
  readonly data_dir: string;
  readonly force: boolean;
}): Promise<ConfigPlace> {
  const { shell, data_dir, force } = options;
  const { configPath: path, configGiven } = shell;
  const inner = relative(data_dir, path);
  const isInside = !inner.startsWith("..") && !isAbsolute(inner);
  // One level only: what is unpacked may lack the directories between.
  if (isInside && !/[\\/]/.test(inner)) return { path, inside: inner };
  const free = configGiven
    ? force || !existsSync(path) || (await isOwn(shell, data_dir))
    : (await isOwn(shell, data_dir)) || !(await isUsed(shell));
  if (free && !isInside) return { path, inside: null };
  return { path: join(data_dir, "config.toml"), inside: "config.toml" };
}

/** Whether what the file says, or leaves to be understood, is the database that is replaced. */
async function isOwn(shell: Shell, data_dir: string): Promise<boolean> {
  const { config } = await loadConfiguration({ ...shell, env: {} }, {});
  return config.data_dir === data_dir;
}

/** Whether somebody has set it up, or a database lives by the usual values without any file. */
async function isUsed(shell: Shell): Promise<boolean> {
  if (existsSync(shell.configPath)) return true;
  const { config } = await loadConfiguration({ ...shell, env: {} }, {});
  return existsSync(join(config.data_dir, "dbx.db"));
}
