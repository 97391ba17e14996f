// A control socket with bounds that a test can reach, and in place of the command line a double
// that does as it is told.

import { expect } from "bun:test";
import { createLog } from "../../src/log.ts";
import { unauthenticated } from "../../src/model/error.ts";
import type { RunCommand } from "../../src/server/commands.ts";
import { listenSocket, type SocketOptions } from "../../src/server/socket.ts";
import { connectSocket, type SocketClient } from "./socket.ts";

const long_ms = 60_000;
const bounds: SocketOptions["bounds"] = {
  ...{ connections_max: 20, address_connections_max: 15, commands_max: 4, args_max: 5 },
  ...{ request_bytes_max: 1 << 20, small_bytes: 1 << 12, requests_bytes_max: 1 << 20 },
  ...{ segments_max: 511, pointers_max: 16_384, depth_max: 64 },
  ...{ preface_ms: long_ms, large_ms: long_ms, idle_ms: long_ms, stall_ms: long_ms },
  ...{ farewell_ms: long_ms, drain_ms: long_ms },
};

const actor = { group: "g", user: "u", grants: [], scope: null, token_id: null };

export type Started = ReturnType<typeof start>;
const started: { stop: () => Promise<void> }[] = [];
const clients: SocketClient[] = [];

export function start(over: Partial<Omit<SocketOptions, "bounds">> & { bounds?: object } = {}) {
  const lines: string[] = [];
  const asked: { args: readonly string[]; token: string; signal: AbortSignal }[] = [];
  const failures: unknown[] = [];
  const echo: RunCommand = async ({ args, token }, signal) => {
    asked.push({ args, token, signal });
    return { exit: 0, stdout: args.join(" "), stderr: "" };
  };
  const socket = listenSocket({
    endpoint: { hostname: "127.0.0.1", port: 0 },
    run: echo,
    authenticate: (token) => {
      if (token !== "good") throw unauthenticated();
      return actor;
    },
    rates: { connection: () => true, address: () => {} },
    failed: (error) => void failures.push(error),
    nodes: null,
    log: createLog({ least: "info", now: () => "now", write: (line) => void lines.push(line) }),
    ...over,
    bounds: { ...bounds, ...over.bounds },
  });
  started.push(socket);
  return { ...socket, lines, asked, failures };
}

export async function client({ port }: { port: number }): Promise<SocketClient> {
  const connected = await connectSocket(port);
  clients.push(connected);
  return connected;
}

/** What a test has left is ended after it. */
export async function endAll(): Promise<void> {
  for (const one of clients.splice(0)) one.reset();
  await Promise.all(started.splice(0).map(({ stop }) => stop()));
}

/** A command that waits until it is let go. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const signals: AbortSignal[] = [];
  const run: RunCommand = async (_, signal) => {
    signals.push(signal);
    await promise;
    return { exit: 0, stdout: "done", stderr: "" };
  };
  return { run, open: resolve, signals };
}

export const isFine = async (socket: Started) =>
  expect(await (await client(socket)).ask(["still", "here"], "good")).toEqual({
    ...{ exit: 0, stdout: "still here", stderr: "" },
  });
