// An HTTP receiver of events: keeps what arrives, answers as it is told, and may be away.
import type { EventRecord } from "../../src/model/event.ts";
import type { PluginConfig } from "../../src/model/plugin.ts";
import { freePort } from "./free-port.ts";

export interface Arrival {
  readonly aggregate_id: string;
  readonly version: number;
  readonly event_id: string;
  readonly number: number;
  readonly payload: unknown;
}

export interface Receiver extends AsyncDisposable {
  readonly config: PluginConfig;
  readonly arrived: readonly Arrival[];
  /** In which way events are answered from now on; `hang`: not at all. */
  answer: (arrival: Arrival) => number | "hang";
  /** Resolves once so many have been answered with success. */
  readonly until: (count: number) => Promise<void>;
  /** Nobody listens; with `back` somebody does again, on the same port. */
  readonly leave: () => Promise<void>;
  readonly back: () => void;
}

export function startReceiver(headers: Record<string, string> = {}): Receiver {
  const arrived: Arrival[] = [];
  let waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const hung = new Set<() => void>();

  const listen = (port: number) =>
    Bun.serve({
      ...{ port, hostname: "127.0.0.1", idleTimeout: 30 },
      fetch: async (request) => {
        if (request.method === "HEAD") return new Response();
        const { metadata, ...record } = (await request.json()) as EventRecord;
        const arrival: Arrival = {
          aggregate_id: record.aggregate_id,
          version: record.version,
          event_id: metadata.event_id,
          number: Number(request.headers.get("x-dbx-delivery")),
          payload: record.payload,
        };
        const status = receiver.answer(arrival);
        if (status === "hang") {
          await new Promise<void>((resolve) => hung.add(resolve));
          return new Response(null, { status: 500 });
        }
        if (status === 200) arrived.push(arrival);
        const met = waiting.filter(({ count }) => arrived.length >= count);
        waiting = waiting.filter((each) => !met.includes(each));
        for (const { resolve } of met) resolve();
        return new Response(null, { status });
      },
    });

  const port = freePort();
  let server = listen(port);
  const endpoint = `http://127.0.0.1:${port}/events`;
  const leave = async (): Promise<void> => {
    for (const resolve of hung) resolve();
    await server.stop(true);
  };
  const receiver: Receiver = {
    config: { type: "http", endpoint, headers, https: false },
    arrived,
    answer: () => 200,
    until: (count) =>
      new Promise((resolve) => {
        if (arrived.length >= count) return resolve();
        waiting.push({ count, resolve });
      }),
    leave,
    back: () => {
      server = listen(port);
    },
    [Symbol.asyncDispose]: leave,
  };
  return receiver;
}
