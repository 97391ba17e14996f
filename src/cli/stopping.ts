// How a running server is told to end: by a signal, or where a signal runs no handler, by a request
// to its port for this machine's command line. What follows is the same: it drains, and removes its
// PID file.

import { askToStop, buySession } from "../client/machine.ts";
import { readMachineKey } from "../engine/machine-key.ts";
import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { realSystem } from "../system.ts";
import { endServer, type PidRecord, type Stopped } from "./daemon.ts";

export type Way = "signal" | "request";

/** On Windows a signal ends a process at once, whatever it is doing. */
export const wayToStop = (platform: string): Way => (platform === "win32" ? "request" : "signal");

/** Null when it would not end. */
export function endBy(
  way: Way,
  server: { readonly data_dir: string; readonly record: PidRecord; readonly user: string },
): Promise<Stopped | null> {
  const { data_dir, record } = server;
  return way === "signal"
    ? endServer(data_dir, record)
    : endServer(data_dir, record, () => request(server));
}

/**
 * One that does not answer hangs, or is ending already: its time runs as after a signal. One whose
 * secret is gone will never know. Out: whether waiting makes sense.
 */
async function request(server: Parameters<typeof endBy>[1]): Promise<boolean> {
  const { data_dir, record, user } = server;
  const machineKey = await readMachineKey(data_dir);
  if (machineKey === null) return false;
  const place = { host: "127.0.0.1", port: record.control_port };
  const patience = { idle_ms_max: limits.lock_wait_ms };
  try {
    const nonce = realSystem.random(32);
    const token = await buySession({ ...place, ...patience, machineKey, user, nonce });
    if (token !== null) await askToStop({ ...place, ...patience, token });
    return true;
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    if (error.code === "unauthenticated") return false;
    if (error.code === "unavailable") return true;
    throw error;
  }
}
