// The server that is fuzzed: a process of its own, with every surface on one port and a store whose
// contents are known, and the questions by which it shows that it is well.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { firstLine } from "../../scripts/bench/child.ts";
import { tempDir } from "../support/temp.ts";
import { case_ms_max, type Goal } from "./target.ts";

export interface FuzzServer extends Goal, AsyncDisposable {
  readonly pid: number;
  /** What is wrong with a server that should be well. */
  readonly faults: () => Promise<readonly string[]>;
  /** What is still held after all clients have left; empty once nothing is. */
  readonly settled: () => Promise<readonly string[]>;
  /** What verifying the whole store finds. */
  readonly verified: () => Promise<readonly string[]>;
  /** Bytes of memory it has; 0 where the machine does not tell. */
  readonly memory: () => number;
}

/** Longer than any deadline by which the server ends what its clients left behind half-way. */
const settle_ms_max = 60_000;
const stop_ms_max = 30_000;

export async function startFuzzServer(): Promise<FuzzServer> {
  const directory = tempDir();
  const script = join(root, "scripts/bench/serve.ts");
  const child = Bun.spawn([process.execPath, script, "dbx", directory.path], {
    ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    env: { NODE_ENV: "production" },
  });
  let log = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) log += decoder.decode(chunk, { stream: true });
  })();
  const { port, token } = JSON.parse(await firstLine(child.stdout));
  const ask = async (path: string, body?: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      signal: AbortSignal.timeout(case_ms_max),
      keepalive: false,
      ...(body === undefined ? {} : { method: "POST", body }),
    });
  const appended = (id: string) =>
    ask(
      "/v1/events",
      `{"aggregate_type":"known","aggregate_id":"${id}","event_type":"noted","payload":{"a":1}}`,
    );
  for (const id of ["o-1", "o-2", "o-3"]) await appended(id);

  const faults = async (): Promise<string[]> => {
    if (child.exitCode !== null || child.signalCode !== null) {
      return [`the process has ended: ${child.exitCode ?? child.signalCode}\n${log}`];
    }
    const answers = await Promise.allSettled([ask("/health"), appended("o-1")]);
    const statuses = answers.map((one) =>
      one.status === "fulfilled" ? one.value.status : String(one.reason),
    );
    return [
      ...(statuses.every((status) => status === 200) ? [] : [`health, append: ${statuses.join()}`]),
      ...(/ error /.test(log) ? [`the log has an error:\n${log.slice(0, 4_000)}`] : []),
    ];
  };
  return {
    ...{ port, token, pid: child.pid, faults },
    settled: () =>
      settle(async () => JSON.parse(await (await ask("/admin/status")).text()).figures),
    async verified() {
      const answer = await ask("/admin/verify");
      const text = await answer.text();
      return answer.status === 200 && /"log_root":"[0-9a-f]{64}"/.test(text)
        ? []
        : [`verify: ${text}`];
    },
    memory: () => memoryOf(child.pid),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      // What does not stop is ended, and has failed: a hang at the end counts as one before it.
      const late = setTimeout(() => child.kill("SIGKILL"), stop_ms_max);
      await child.exited;
      clearTimeout(late);
      await reading;
      directory[Symbol.dispose]();
    },
  };
}

/** Figures of what is held, and how much of it the question itself takes. */
const held: Readonly<Record<string, number>> = {
  http_requests_running: 1,
  connections: 1,
  http_body_bytes: 0,
  grpc_message_bytes: 0,
  grpc_open_calls: 0,
  followers: 0,
  queued: 0,
};

async function settle(figures: () => Promise<Record<string, number>>): Promise<string[]> {
  const deadline = performance.now() + settle_ms_max;
  for (;;) {
    const now = await figures();
    const over = Object.entries(held).filter(([name, most]) => !((now[name] ?? NaN) <= most));
    if (over.length === 0) return [];
    if (performance.now() > deadline) return over.map(([name]) => `still ${now[name]} ${name}`);
  }
}

function memoryOf(pid: number): number {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return 0;
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(path, "utf8"))?.[1] ?? 0) * 1024;
}
