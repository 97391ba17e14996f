// Who a PID file may be removed for, and who may be signalled by the number in it.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import {
  endServer,
  findServer,
  readPidFile,
  removePidFile,
  writePidFile,
} from "../../src/cli/daemon.ts";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
const lock = () => takeLock({ directory: dir.path, lock_wait_ms: 0 });
const record = (pid: number) => ({ pid, started_at: "2024-12-01", port: 1, control_port: 2 });

beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir[Symbol.dispose]());

test("a record is removed for whom it was found stale, and for nobody else", async () => {
  await writePidFile(dir.path, record(1));
  // A server that started meanwhile has put its own there.
  await writePidFile(dir.path, record(2));
  expect(removePidFile(dir.path, 1)).toBe(false);
  expect(removePidFile(dir.path, null)).toBe(false);
  expect(await readPidFile(dir.path)).toEqual(record(2));
  // One that has just taken the lock is about to.
  const release = await lock();
  expect(removePidFile(dir.path, 2)).toBe(false);
  release();
  expect(removePidFile(dir.path, 2)).toBe(true);
  expect(removePidFile(dir.path, 2)).toBe(false);
  expect(await findServer(dir.path)).toEqual({ state: "none" });
});

test("a record that cannot be read is stale for nobody in particular", async () => {
  await Bun.write(join(dir.path, "eventdbx.pid"), "{torn");
  expect(await findServer(dir.path)).toEqual({ state: "stale", pid: null });
  expect(removePidFile(dir.path, 1)).toBe(false);
  expect(removePidFile(dir.path, null)).toBe(true);
});

/** A process that looks like a server, holds the lock until SIGTERM and leaves its record behind. */
async function startCareless(atEnd: string) {
  const module = JSON.stringify(import.meta.resolve("../../src/storage/sqlite/lock.ts"));
  const script =
    `const { takeLock } = await import(${module});` +
    `const release = await takeLock({ directory: ${JSON.stringify(dir.path)}, lock_wait_ms: 0 });` +
    `process.on("SIGTERM", () => { release(); ${atEnd} });` +
    `setInterval(() => {}, 1000); console.log("ready");`;
  const child = Bun.spawn([process.execPath, "-e", script, "start"], { stdout: "pipe" });
  await child.stdout.getReader().read();
  await writePidFile(dir.path, record(child.pid));
  return child;
}

test("a server that ends without removing its record has ended all the same", async () => {
  const child = await startCareless("process.exit(1);");
  expect(await findServer(dir.path)).toMatchObject({ state: "running" });
  const started = performance.now();
  expect(await endServer(dir.path, record(child.pid))).toEqual({ killed: false });
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(await child.exited).toBe(1);
  expect(await findServer(dir.path)).toEqual({ state: "none" });
});

test("a process that has let the data go is not killed, whatever it does then", async () => {
  const child = await startCareless("");
  expect(await endServer(dir.path, record(child.pid))).toEqual({ killed: false });
  expect(child.exitCode ?? child.signalCode).toBe(null);
  expect(await findServer(dir.path)).toEqual({ state: "none" });
  child.kill("SIGKILL");
  await child.exited;
}, 30_000);
