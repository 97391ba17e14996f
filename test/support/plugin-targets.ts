// Whom a dbx under test delivers to: one receiver of each kind of plugin, which keeps what it was
// sent in the order in which it came. Those that are reached over a network are behind a wire.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { PluginConfig } from "../../src/model/plugin.ts";
import { installBundle } from "../../src/plugins/install.ts";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import { realSystem } from "../../src/system.ts";
import { python } from "../plugins/processes.ts";
import { http, startForeground, type RunningServer } from "./cli.ts";
import { protoPath, type Loose } from "./grpc.ts";
import { openStore, root } from "./store.ts";
import { startWire, type Wire } from "./wire.ts";

export interface Seen {
  readonly aggregate_id: string;
  readonly version: number;
  readonly event_id: string;
}

export interface Target extends AsyncDisposable {
  readonly config: PluginConfig;
  readonly seen: () => Promise<readonly Seen[]>;
}

/** Looks again every few milliseconds: files and other processes tell nobody. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  if (await holds()) return;
  for await (const _ of setInterval(10)) if (await holds()) return;
}

const seenOf = (line: string): Seen => {
  const { aggregate_id, version, metadata }: Loose = JSON.parse(line);
  return { aggregate_id, version, event_id: metadata.event_id };
};

export interface TcpTarget extends Target {
  readonly wire: Wire;
  /** Whether it answers what it reads, which nobody asked for. */
  chatter: boolean;
}

export async function tcpTarget(random: () => number): Promise<TcpTarget> {
  const seen: Seen[] = [];
  const server = createServer((socket) => {
    let text = "";
    socket.setEncoding("utf8");
    socket.on("error", () => {});
    socket.on("data", (piece: string) => {
      const lines = (text + piece).split("\n");
      text = lines.pop() ?? "";
      seen.push(...lines.map(seenOf));
      if (target.chatter) socket.write(Uint8Array.from({ length: 64 }, () => random() * 256));
    });
  });
  const wire = await startWire(await listening(server), { random });
  const target: TcpTarget = {
    wire,
    config: { type: "tcp", host: "127.0.0.1", port: wire.port },
    seen: async () => seen,
    chatter: false,
    [Symbol.asyncDispose]: async () => {
      await wire[Symbol.asyncDispose]();
      server.close();
    },
  };
  return target;
}

const listening = (server: {
  listen: (port: number, host: string, done: () => void) => unknown;
  address: () => unknown;
}): Promise<number> =>
  new Promise((done) => {
    server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port));
  });

export interface HttpTarget extends Target {
  readonly wire: Wire;
  /** What the next post is answered with. */
  answer: () => number;
}

export async function httpTarget(random: () => number): Promise<HttpTarget> {
  const seen: Seen[] = [];
  const server = createHttpServer((request, response) => {
    // Asked whether anybody is there.
    if (request.method === "HEAD") return void response.end();
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("error", () => {});
    request.on("end", () => {
      if (!request.complete) return;
      const code = target.answer();
      if (code === 200) seen.push(seenOf(Buffer.concat(pieces).toString()));
      response.writeHead(code, code === 302 ? { location: "/elsewhere" } : {}).end();
    });
  });
  const wire = await startWire(await listening(server), { random });
  const endpoint = `http://127.0.0.1:${wire.port}/events`;
  const target: HttpTarget = {
    wire,
    config: { type: "http", endpoint, headers: {}, https: false },
    seen: async () => seen,
    answer: () => 200,
    [Symbol.asyncDispose]: async () => {
      await wire[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
  return target;
}

export interface GrpcTarget extends Target {
  readonly wire: Wire;
  /** The status of the next call. */
  answer: () => number;
}

/** A server of grpc-js that reads the contract by itself. */
export async function grpcTarget(random: () => number): Promise<GrpcTarget> {
  const seen: Seen[] = [];
  const server = new Server({ "grpc.max_receive_message_length": 4_194_304 });
  const loaded: Loose = loadSync(protoPath("replication"), { keepCase: true, longs: Number });
  server.addService(loaded["eventdbx.replication.Replication"], {
    ApplyEvents: (call: Loose, done: Loose) => {
      const events: Loose[] = [];
      call.on("data", (batch: Loose) => events.push(...batch.events));
      call.on("error", () => {});
      call.on("end", () => {
        const code = target.answer();
        if (code !== status.OK) return done({ code, details: "no" });
        for (const { aggregate_id, version, metadata } of events) {
          const { event_id }: Loose = JSON.parse(metadata.toString());
          seen.push({ aggregate_id, version, event_id });
        }
        return done(null, { applied_sequence: 0 });
      });
    },
  });
  const port = await new Promise<number>((done, fail) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? done(bound) : fail(error),
    );
  });
  const wire = await startWire(port, { random });
  const target: GrpcTarget = {
    wire,
    config: { type: "grpc", endpoint: `127.0.0.1:${wire.port}` },
    seen: async () => seen,
    answer: () => status.OK,
    [Symbol.asyncDispose]: async () => {
      await wire[Symbol.asyncDispose]();
      server.forceShutdown();
    },
  };
  return target;
}

export interface NodeTarget extends Target {
  readonly wire: Wire;
  readonly home: string;
  /** SIGKILL; with `restart` it is back. */
  readonly kill: () => Promise<void>;
  readonly restart: () => Promise<void>;
  /** Events a second that it takes of one token; null for any. */
  readonly bound: (per_token: number | null) => Promise<void>;
  readonly events: () => Promise<Loose[]>;
}

/** Another dbx, as a process. */
export async function nodeTarget(home: string, random: () => number): Promise<NodeTarget> {
  const token = await makeStore(home, async () => {});
  const configuration = join(home, ".eventdbx/config.toml");
  const start = () => startForeground({ home, args: ["--api", "all"] });
  let server: RunningServer = await start();
  const wire = await startWire(server.port, { random });
  const events = () => readEvents(server.port, token);
  return {
    wire,
    home,
    config: { type: "grpc", endpoint: `127.0.0.1:${wire.port}`, token },
    events,
    seen: async () =>
      (await events()).map(({ aggregate_id, version, metadata }) => {
        return { aggregate_id, version, event_id: metadata.event_id };
      }),
    kill: async () => server[Symbol.asyncDispose](),
    restart: async () => {
      server = await start();
      wire.lead(server.port);
    },
    bound: async (per_token) => {
      const kept = readFileSync(configuration, "utf8").replace(/\n\[rate_limit\][^[]*/, "");
      const rate = per_token === null ? "" : `\n[rate_limit]\nper_token = ${per_token}\n`;
      writeFileSync(configuration, kept + rate);
      const told = server.log().split("configuration re").length;
      server.kill("SIGHUP");
      await until(() => server.log().split("configuration re").length > told);
    },
    [Symbol.asyncDispose]: async () => {
      await wire[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export interface LogTarget extends Target {
  /** Everything that the servers under test wrote so far. */
  text: () => string;
}

export function logTarget(): LogTarget {
  const target: LogTarget = {
    config: { type: "log", level: "info", template: "told {id} {version} {event_id} of it" },
    text: () => "",
    seen: async () =>
      [...target.text().matchAll(/told (\S+) (\d+) (\S+) of it/g)].map(
        ([, aggregate_id = "", version, event_id = ""]) => {
          return { aggregate_id, version: Number(version), event_id };
        },
      ),
    [Symbol.asyncDispose]: async () => {},
  };
  return target;
}

export interface ProcessTarget extends Target {
  /** What its processes do from now on: a word that appender.py knows, or nothing special. */
  readonly tell: (word: string) => void;
  readonly starts: () => number;
  readonly pid: () => number;
}

export async function processTarget(home: string): Promise<ProcessTarget> {
  const source = join(home, "appender.py");
  const program = readFileSync(join(import.meta.dir, "../plugins/appender.py"), "utf8");
  writeFileSync(source, program.replace(/^#!.*/, `#!${python}`));
  const [path, control] = [join(home, "seen.jsonl"), join(home, "control")];
  writeFileSync(control, "");
  await installBundle(
    {
      ...{ name: "appender", version: "1.0.0", source },
      ...{ bin: undefined, checksum: undefined, force: false },
    },
    {
      data_dir: join(home, ".eventdbx"),
      now: realSystem.now,
      lock: (directory) => takeLock({ directory, lock_wait_ms: 5_000 }),
      progress: () => {},
      idle_ms_max: 30_000,
      signal: new AbortController().signal,
    },
  );
  const lines = (): Loose[] => {
    if (!existsSync(path)) return [];
    // The last one may be half written, and so may be what a process was killed at.
    const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
    return whole.map((line) => JSON.parse(line));
  };
  const started = () => lines().filter((line) => line["started"] !== undefined);
  return {
    config: {
      ...{ type: "process", name: "appender", version: "1.0.0", env: {}, working_dir: null },
      args: [path, "told", control],
    },
    seen: async () =>
      lines().flatMap(({ event }) =>
        event === undefined
          ? []
          : [
              {
                aggregate_id: event.aggregateId,
                version: event.eventVersion,
                event_id: event.eventId,
              },
            ],
      ),
    tell: (word) => writeFileSync(control, word),
    starts: () => started().length,
    pid: () => started().at(-1)?.["started"],
    [Symbol.asyncDispose]: async () => {},
  };
}

/** A store with what `fill` puts into it, not served. Out: a token of an administrator. */
export async function makeStore(
  home: string,
  fill: (store: Awaited<ReturnType<typeof openStore>>) => Promise<void>,
  key?: string,
): Promise<string> {
  const data_dir = join(home, ".eventdbx");
  mkdirSync(data_dir, { recursive: true, mode: 0o700 });
  const dek = key === undefined ? {} : { data_encryption_key: key };
  await using store = await openStore(data_dir, { config: dek });
  await fill(store);
  const { token } = await store.dbx.issueToken(root, { group: "admin", user: "test" });
  return token;
}

/** The whole log of a server, in order. */
export async function readEvents(port: number, token: string): Promise<Loose[]> {
  const events: Loose[] = [];
  for (;;) {
    const after = events.at(-1)?.["position"] ?? 0;
    const { status: code, text } = await http(port, `/v1/events?after=${after}&take=1000`, {
      token,
    });
    if (code !== 200) throw new Error(`${code} ${text}`);
    const page: Loose[] = JSON.parse(text);
    if (page.length === 0) return events;
    events.push(...page);
  }
}
