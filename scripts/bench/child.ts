// Processes of the benchmark that stay while others measure them: servers, and the load on them.

import { join } from "node:path";
import type { Job, Load } from "./load.ts";
import { peakMemory } from "./machine.ts";
import type { ServerKind } from "./serve.ts";

export interface Child {
  readonly pid: number;
  readonly port: number;
  readonly token: string;
  /** Of this machine's command line, where the server gave one; short-lived. */
  readonly machine: string;
  readonly stop: () => Promise<void>;
  /** While it runs. */
  readonly peakMemory: () => number;
}

/** A server of serve.ts over the directory. Rejects where it ends before it listens. */
export async function serve(kind: ServerKind, directory: string): Promise<Child> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "serve.ts"), kind, directory], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    env: { NODE_ENV: "production" },
  });
  const { port, token, machine } = JSON.parse(await firstLine(child.stdout));
  return {
    pid: child.pid,
    port,
    token,
    machine,
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
    peakMemory: () => peakMemory(child.pid) ?? 0,
  };
}

export async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n")) return text;
  }
  throw new Error("a process ended before it said a word");
}

/** One run of load.ts. Rejects where a request was refused. */
export async function load(job: Job): Promise<Load> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "load.ts"), JSON.stringify(job)],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the load generator failed: ${text}`);
  const result: Load = JSON.parse(text);
  if (result.refused > 0) throw new Error(`${result.refused} requests were refused`);
  return result;
}

export const aggregates = 10_000;
export const batch_events = 100;

/** What most runs have in common. */
export const jobFor = (
  { port, token }: Child,
  over: Pick<Job, "request" | "connections" | "seconds"> & Partial<Job>,
): Job => ({
  ...{ port, token, aggregates, batch_events, distribution: "zipf", payload_bytes: 250, seed: 1 },
  warmup_seconds: Math.min(1, over.seconds / 2),
  ...over,
});

/** One event for every aggregate, so that each can be read. */
export async function fill(dbx: Child): Promise<void> {
  for (let first = 0; first < aggregates; first += batch_events) {
    await appendBatch(
      dbx,
      Array.from({ length: batch_events }, (_, index) => ({
        aggregate_type: "order",
        aggregate_id: `order-${first + index}`,
        event_type: "order-added",
        payload: { status: "open" },
      })),
    );
  }
}

export async function appendBatch(
  dbx: Pick<Child, "port" | "token">,
  events: readonly object[],
): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${dbx.port}/v1/events/batch`, {
    method: "POST",
    headers: { Authorization: `Bearer ${dbx.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ events }),
  });
  if (!response.ok) throw new Error(await response.text());
}
