// A server that is told to end by a request instead of a signal, as where systems have none: the
// very way that `dbx stop` goes there, against a real process.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { stopPath } from "../../src/api/stop.ts";
import { readPidFile, type PidRecord } from "../../src/cli/daemon.ts";
import { endBy, wayToStop } from "../../src/cli/stopping.ts";
import { dbx, http, pidFile, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

const dataDir = () => join(home, ".eventdbx");
async function recordNow(): Promise<PidRecord> {
  const record = await readPidFile(dataDir());
  if (record === null) throw new Error("no server has left its record");
  return record;
}
const end = async (record: PidRecord) =>
  endBy("request", { data_dir: dataDir(), record, user: "tester" });

test("Windows is asked, every other system gets a signal", () => {
  expect(wayToStop("win32")).toBe("request");
  for (const other of ["linux", "darwin", "freebsd"]) expect(wayToStop(other)).toBe("signal");
});

test("the server drains, says who asked, ends with 0 and takes its record along", async () => {
  await using server = await startForeground({ home });
  const issued = ["token", "generate", "--group", "app", "--user", "u", "--json"];
  const { token } = JSON.parse((await dbx(issued, { home })).stdout);
  // Its body comes only after the end has begun, and it is answered nevertheless.
  let send: (bytes: Uint8Array) => void = () => {};
  const asked = Bun.connect({
    hostname: "127.0.0.1",
    port: server.port,
    socket: { data: (_, bytes) => send(bytes) },
  });
  const body = '{"aggregate_type":"a","aggregate_id":"1","event_type":"made","payload":{}}';
  const socket = await asked;
  const answered = new Promise<string>((resolve) => {
    send = (bytes) => resolve(new TextDecoder().decode(bytes));
  });
  socket.write(
    `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
  );
  socket.flush();
  const running = async () => {
    const { stdout } = await dbx(["status", "--json"], { home });
    return JSON.parse(stdout).figures.http_requests_running >= 2;
  };
  while (!(await running()));
  const ending = end(await recordNow());
  await server.until(" info stopping asked_by=cli:tester");
  socket.write(body.slice(5));
  socket.flush();
  expect(await answered).toStartWith("HTTP/1.1 200 ");
  expect(await ending).toEqual({ killed: false });
  expect(await server.exited).toBe(0);
  expect(server.log()).toContain(" info stopped");
  expect(existsSync(pidFile(home))).toBe(false);
  const verified = await dbx(["aggregate", "verify", "--all", "--json"], { home });
  expect(JSON.parse(verified.stdout).position).toBe(1);
}, 30_000);

test("nobody but this machine's command line may ask, and not on the public port", async () => {
  await using server = await startForeground({ home });
  const issued = ["token", "generate", "--group", "admin", "--user", "u", "--json"];
  const { token } = JSON.parse((await dbx(issued, { home })).stdout);
  const { port, control_port } = server;
  expect((await http(control_port, stopPath, { body: "{}" })).status).toBe(401);
  expect((await http(control_port, stopPath, { body: "{}", token })).status).toBe(403);
  expect((await http(port, stopPath, { body: "{}" })).status).toBe(401);
  expect((await http(port, stopPath, { body: "{}", token })).status).toBe(404);
  expect((await dbx(["status"], { home })).code).toBe(0);
  expect(await end(await recordNow())).toEqual({ killed: false });
  expect(await server.exited).toBe(0);
});

test("a record of a server that was killed is stale, as it always is there", async () => {
  const server = await startForeground({ home });
  const record = await recordNow();
  server.kill("SIGKILL");
  await server.exited;
  expect(await end(record)).toEqual({ killed: false });
  expect(existsSync(pidFile(home))).toBe(false);
  await using next = await startForeground({ home });
  expect(await end(await recordNow())).toEqual({ killed: false });
  expect(await next.exited).toBe(0);
  await server[Symbol.asyncDispose]();
});

test("one that cannot be asked is ended by force in the end", async () => {
  await using server = await startForeground({ home });
  const record = await recordNow();
  rmSync(join(dataDir(), "machine.key"));
  expect(await end(record)).toEqual({ killed: true });
  await server.exited;
  expect(existsSync(pidFile(home))).toBe(false);
}, 30_000);
