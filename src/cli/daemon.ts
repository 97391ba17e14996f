// The server as a process: its PID file, whether it really runs, how it is ended and how it is
// detached.

import { mkdir } from "node:fs/promises";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Type, type Static } from "@sinclair/typebox";
import { decode } from "../api/decode.ts";
import { failedPrecondition, permissionDenied } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { readDocument, replaceDocument } from "../storage/documents.ts";
import { isLocked } from "../storage/sqlite/lock.ts";

export const PidRecord = Type.Object({
  pid: Type.Integer({ minimum: 1 }),
  started_at: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  control_port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  /** What is served; an older server's record does not say. */
  surfaces: Type.Optional(Type.Array(Type.String())),
  /** Where gRPC is served; the same as `port` where they share it. */
  grpc_port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  /** Where the control socket is; missing where it is off. */
  socket_port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  socket_bind_addr: Type.Optional(Type.String()),
  /** The address of HTTP, and that of gRPC where it is another one. */
  bind_addr: Type.Optional(Type.String()),
  grpc_bind_addr: Type.Optional(Type.String()),
  /** Whether both are reached with TLS only; what runs on loopback for the command line is not. */
  tls: Type.Optional(Type.Boolean()),
});
export type PidRecord = Static<typeof PidRecord>;

const pidPath = (data_dir: string): string => join(data_dir, "eventdbx.pid");

export async function writePidFile(data_dir: string, record: PidRecord): Promise<void> {
  await mkdir(data_dir, { recursive: true, mode: 0o700 });
  await replaceDocument(pidPath(data_dir), `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

/**
 * Removes the record of a process that has ended, and no other's: `pid` is what the file held when
 * that was found out, null where it could not be read. A server that took the lock since has
 * written a record of its own, or is about to. Without an `await`, so that hardly anybody comes
 * between the look and the removal. Out: whether it was removed.
 */
export function removePidFile(data_dir: string, pid: number | null): boolean {
  const text = textOf(pidPath(data_dir));
  if (text === null || (recordOf(text)?.pid ?? null) !== pid || isLocked(data_dir)) return false;
  rmSync(pidPath(data_dir), { force: true });
  return true;
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Gone, or not ours to read: then it is not ours to remove either.
    return null;
  }
}

/**
 * The record, or null where there is none that can be read: a torn file is as good as a stale
 * one.
 */
export async function readPidFile(data_dir: string): Promise<PidRecord | null> {
  const text = await readDocument(pidPath(data_dir));
  return text === null ? null : recordOf(text);
}

function recordOf(text: string): PidRecord | null {
  try {
    return decode(PidRecord, JSON.parse(text));
  } catch {
    // Whatever it says, nobody can be found by it; the lock still keeps two servers apart.
    return null;
  }
}

export type Found =
  | { readonly state: "none" }
  /** Null: the file could not be read. */
  | { readonly state: "stale"; readonly pid: number | null }
  | { readonly state: "running"; readonly record: PidRecord }
  /** Locked by another command, or by a server that no record names: it was lost, or is to come. */
  | { readonly state: "unnamed" };

/**
 * A PID file alone proves nothing: after a crash it stays, and its number may be another
 * program's by now. The lock dies with its process, and the process must look like a dbx server.
 */
export async function findServer(data_dir: string): Promise<Found> {
  const record = await readPidFile(data_dir);
  if (isLocked(data_dir)) {
    return record !== null && isServer(record.pid)
      ? { state: "running", record }
      : { state: "unnamed" };
  }
  if (record !== null) return { state: "stale", pid: record.pid };
  const exists = await Bun.file(pidPath(data_dir)).exists();
  return exists ? { state: "stale", pid: null } : { state: "none" };
}

/**
 * The same for commands about the server itself: another command is waited for, as is a process
 * that was killed a moment ago. Who holds the lock beyond that must not be told as nobody.
 */
export async function findServerAlone(
  data_dir: string,
): Promise<Exclude<Found, { state: "unnamed" }>> {
  const until = performance.now() + limits.settle_ms;
  for (;;) {
    const found = await findServer(data_dir);
    if (found.state !== "unnamed") return found;
    if (performance.now() > until) break;
    await Bun.sleep(limits.poll_ms);
  }
  throw failedPrecondition(
    `${data_dir} is in use by a process that its PID file does not name: another dbx command, or ` +
      `a server that is starting or whose PID file was lost (fuser ${join(data_dir, "lock.db")})`,
    { data_dir },
  );
}

/** Whether some process has the data directory open for writing: a server or another command. */
export const isInUse = (data_dir: string): boolean => isLocked(data_dir);

/**
 * Whether the number belongs to a server, and not to nobody or to somebody else by now. One that
 * has ended but is not reaped yet still takes signals, but has no command any more.
 */
const isServer = (pid: number): boolean => isAlive(pid) && looksLikeDbx(pid);

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

/**
 * Whether `dbx start` put it into the background, so that dbx may start it again. One in the
 * foreground has somebody else who does. True where nobody can tell.
 */
export const isDetached = (pid: number): boolean => commandOf(pid)?.includes("--detached") ?? true;

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
 * end. `ask` is what is done instead of a signal; false where the server cannot be told at all.
 */
export async function endServer(
  data_dir: string,
  { pid }: PidRecord,
  ask?: () => Promise<boolean>,
): Promise<Stopped | null> {
  const left = async () => (await readPidFile(data_dir))?.pid !== pid || !isServer(pid);
  // Both, because a server frees its lock before it removes its record.
  const ended = async () => !isLocked(data_dir) && (await left());
  const isTold = ask === undefined ? sendSignal(pid, "SIGTERM") : await ask();
  const inTime = isTold && (await becomesTrue(ended, limits.drain_ms + limits.stop_grace_ms));
  // Asked again before force: by now another command may hold the lock, and a stranger the number.
  const hangs = !inTime && isLocked(data_dir) && isServer(pid);
  if (hangs) {
    sendSignal(pid, "SIGKILL");
    await becomesTrue(async () => !isLocked(data_dir), limits.stop_grace_ms);
  }
  removePidFile(data_dir, pid);
  return hangs && isServer(pid) ? null : { killed: hangs };
}

function sendSignal(pid: number, signal: "SIGTERM" | "SIGKILL"): true {
  try {
    process.kill(pid, signal);
    return true;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : null;
    // It ended by itself in this moment, which is what was wanted.
    if (code === "ESRCH") return true;
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
