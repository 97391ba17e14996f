// The server as a process: its PID file, whether it really runs, how it is ended and how it is
// detached.

import { mkdir, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";
import { permissionDenied } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { readDocument, replaceDocument } from "../storage/documents.ts";
import { isLocked } from "../storage/sqlite/lock.ts";

export const PidRecord = Type.Object({
  pid: Type.Integer({ minimum: 1 }),
  started_at: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  control_port: Type.Integer({ minimum: 1, maximum: 65_535 }),
});
export type PidRecord = Static<typeof PidRecord>;

const pidPath = (data_dir: string): string => join(data_dir, "eventdbx.pid");

export async function writePidFile(data_dir: string, record: PidRecord): Promise<void> {
  await mkdir(data_dir, { recursive: true, mode: 0o700 });
  await replaceDocument(pidPath(data_dir), `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

export const removePidFile = (data_dir: string): Promise<void> =>
  rm(pidPath(data_dir), { force: true });

/**
 * The record, or null where there is none that can be read: a torn file is as good as a stale
 * one.
 */
export async function readPidFile(data_dir: string): Promise<PidRecord | null> {
  const text = await readDocument(pidPath(data_dir));
  if (text === null) return null;
  try {
    return decode(PidRecord, JSON.parse(text));
  } catch {
    // Whatever it says, nobody can be found by it; the lock still keeps two servers apart.
    return null;
  }
}

export type Found =
  | { readonly state: "none" }
  | { readonly state: "stale" }
  | { readonly state: "running"; readonly record: PidRecord };

/**
 * A PID file alone proves nothing: after a crash it stays, and its number may be another
 * program's by now. The lock dies with its process, and the process must look like a dbx server.
 */
export async function findServer(data_dir: string): Promise<Found> {
  const record = await readPidFile(data_dir);
  if (record === null) {
    return { state: (await Bun.file(pidPath(data_dir)).exists()) ? "stale" : "none" };
  }
  const runs = isAlive(record.pid) && isLocked(data_dir) && looksLikeDbx(record.pid);
  return runs ? { state: "running", record } : { state: "stale" };
}

/** Whether some process has the data directory open for writing: a server or another command. */
export const isInUse = (data_dir: string): boolean => isLocked(data_dir);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is alive; only a missing one is not.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Whether the process was started as `dbx start` or `dbx restart`. True where nobody can tell. */
function looksLikeDbx(pid: number): boolean {
  const words = commandOf(pid);
  return words === null || words.some((word) => word === "start" || word === "restart");
}

function commandOf(pid: number): string[] | null {
  if (process.platform === "win32") return null;
  if (process.platform !== "linux") {
    const { stdout } = Bun.spawnSync(["ps", "-o", "command=", "-p", String(pid)]);
    const text = stdout.toString().trim();
    return text === "" ? null : text.split(/\s+/);
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\u0000");
  } catch {
    // Hidden from us (hidepid) or just gone: the lock decides then.
    return null;
  }
}

export interface Stopped {
  /** The drain time was over and the process was killed. */
  readonly killed: boolean;
}

/**
 * Ends a running server: politely, then, after its drain time, by force. Null when it would not
 * end.
 */
export async function endServer(data_dir: string, { pid }: PidRecord): Promise<Stopped | null> {
  const ended = async () => (await readPidFile(data_dir))?.pid !== pid && !isLocked(data_dir);
  // The process itself is no sign: one that has ended but is not reaped yet still takes signals.
  sendSignal(pid, "SIGTERM");
  if (await becomesTrue(ended, limits.drain_ms + limits.stop_grace_ms)) return { killed: false };
  sendSignal(pid, "SIGKILL");
  const dead = await becomesTrue(async () => !isLocked(data_dir), limits.stop_grace_ms);
  if (dead) await removePidFile(data_dir);
  return dead ? { killed: true } : null;
}

function sendSignal(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : null;
    // It ended by itself in this moment, which is what was wanted.
    if (code === "ESRCH") return;
    throw permissionDenied(`may not stop process ${pid}; it belongs to another user`, { pid });
  }
}

/**
 * Looks again and again: a PID file, a lock and a process of strangers tell nobody when they
 * change.
 */
export async function becomesTrue(
  check: () => Promise<boolean>,
  wait_ms_max: number,
): Promise<boolean> {
  const until = performance.now() + wait_ms_max;
  for (;;) {
    if (await check()) return true;
    if (performance.now() > until) return false;
    await Bun.sleep(limits.poll_ms);
  }
}
