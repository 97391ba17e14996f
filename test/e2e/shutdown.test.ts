// The hard ends of a server: a client that never finishes, a second signal, and a disk that fails.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dbx, http, pidFile, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });
const issue = async (): Promise<string> =>
  JSON.parse((await run(["token", "generate", "--group", "app", "--user", "u", "--json"])).stdout)
    .token;

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

/** Sends the head of an append and never its body; resolves when the server has it running. */
async function hang(port: number, token: string): Promise<Disposable> {
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: { data() {} },
  });
  socket.write(
    `POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
      "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
  );
  socket.flush();
  const running = async () => {
    const { figures } = JSON.parse((await run(["status", "--json"])).stdout);
    // One of them is the question itself.
    return figures.http_requests_running >= 2;
  };
  const until = performance.now() + 10_000;
  while (!(await running())) if (performance.now() > until) throw new Error("not running");
  return { [Symbol.dispose]: () => void socket.terminate() };
}

test("a second signal does not wait for whoever is still talking", async () => {
  await using server = await startForeground({ home });
  using _client = await hang(server.port, await issue());
  server.kill("SIGTERM");
  await server.until(" info stopping signal=SIGTERM");
  const started = performance.now();
  server.kill("SIGINT");
  expect(await server.exited).toBe(130);
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(server.log()).toContain(" info forced to stop signal=SIGINT");
  // Whoever comes next is not fooled by what it left behind.
  expect((await run(["status"])).code).toBe(3);
  expect((await run(["aggregate", "verify", "--all"])).code).toBe(0);
});

test("without one the server ends within its drain time, though a client never does", async () => {
  await using server = await startForeground({ home });
  using _client = await hang(server.port, await issue());
  const started = performance.now();
  const stopped = await run(["stop"]);
  expect(stopped.stdout).toMatch(/^dbx stopped \(pid \d+\) after /);
  expect(performance.now() - started).toBeLessThan(13_000);
  expect(await server.exited).toBe(0);
  expect(existsSync(pidFile(home))).toBe(false);
}, 30_000);

test("a disk that fails ends the server, and what it acknowledged is there", async () => {
  const token = await issue();
  // No file of this process may grow beyond 2 MiB (in blocks of 512 bytes).
  await using server = await startForeground({ home, fileBlocksMax: 4096 });
  const event = (id: number) =>
    `{"aggregate_type":"a","aggregate_id":"${id}","event_type":"made","payload":"${"x".repeat(100_000)}"}`;
  let acknowledged = 0;
  let refused = 0;
  for (let id = 1; refused === 0 && id < 200; id++) {
    const answer = await http(server.port, "/v1/events", { token, body: event(id) }).catch(
      () => null,
    );
    if (answer?.status === 200) acknowledged++;
    else {
      refused = answer?.status ?? 503;
      expect(answer === null || answer.text.includes('"unavailable"')).toBe(true);
    }
  }
  expect(refused).toBe(503);
  expect(acknowledged).toBeGreaterThan(0);
  expect(await server.exited).toBe(7);
  expect(server.log()).toContain(" error storage failed ");
  const verified = await run(["aggregate", "verify", "--all", "--json"]);
  expect(JSON.parse(verified.stdout).position).toBe(acknowledged);
}, 30_000);
