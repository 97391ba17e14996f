// The servers that are fuzzed: each a process of its own (serve.ts), with every surface on one port
// and a store whose contents are known, and the questions by which it shows that it is well.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makePair } from "../support/tls.ts";
import { tempDir } from "../support/temp.ts";
import type { Sample } from "./growth.ts";
import type { Asked, Memory } from "./serve.ts";
import { case_ms_max, type Goal, type Target } from "./target.ts";

export interface FuzzServer extends Goal, AsyncDisposable {
  /** The same server for a token with a scope, and the words that lie outside of that. */
  readonly narrow: Goal;
  /** What is wrong with a server that should be well. */
  readonly faults: () => Promise<readonly string[]>;
  /** What is still held after all clients have left; empty once nothing is. */
  readonly settled: () => Promise<readonly string[]>;
  /** What verifying the whole store finds. */
  readonly verified: () => Promise<readonly string[]>;
  /** Words on the disk that must not be there in clear. */
  readonly exposed: () => readonly string[];
  /** What memory it has after a collection. */
  readonly memory: () => Promise<Memory>;
  /** Cases so far, and what memory it had after some of them. */
  readonly history: { cases: number; readonly heap: Sample[]; readonly resident: Sample[] };
}

/** Longer than any deadline by which the server ends what its clients left behind half-way. */
const settle_ms_max = 60_000;
const stop_ms_max = 30_000;

export interface FuzzServerOptions {
  readonly place: Target["place"];
  readonly sealed: boolean;
  readonly leak_bytes?: number;
}

export async function startFuzzServer(options: FuzzServerOptions): Promise<FuzzServer> {
  const { place, sealed, leak_bytes = 0 } = options;
  const folder = tempDir();
  const directory = join(folder.path, "data");
  const tls = place === "tls" ? await makePair(folder.path, "fuzz") : undefined;
  const served = await startProcess({
    ...{ directory, leak_bytes },
    ...(sealed ? { data_encryption_key: Buffer.alloc(32, 7).toString("base64") } : {}),
    ...(tls === undefined ? {} : { tls: { cert: tls.cert, key: tls.key } }),
  });
  const { port, socket_port, token } = served;
  const scheme = tls === undefined ? "http" : "https";
  const ask = async (path: string, body?: string): Promise<Response> =>
    fetch(`${scheme}://127.0.0.1:${port}${path}`, {
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      signal: AbortSignal.timeout(case_ms_max),
      keepalive: false,
      tls: { rejectUnauthorized: false },
      ...(body === undefined ? {} : { method: "POST", body }),
    });
  const said = async (path: string, body?: string): Promise<string> => {
    const answer = await ask(path, body);
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return answer.text();
  };
  await fill(said);
  const narrowed = JSON.stringify({ group: "admin", user: "narrow", aggregates: scope });
  const narrow = JSON.parse(await said("/admin/tokens", narrowed)).token;

  const faults = async (): Promise<string[]> => {
    const ended = served.ended();
    if (ended !== null) return [`the process has ended: ${ended}`];
    const answers = await Promise.allSettled([ask("/health"), ask("/v1/events", knownEvent)]);
    const [health, append] = answers.map((one) =>
      one.status === "fulfilled" ? one.value.status : String(one.reason),
    );
    // Schemas and settings may refuse the event on the server where they are changed.
    const well = append === 200 || (place === "admin" && [400, 403, 413].includes(Number(append)));
    const log = served.log();
    return [
      ...(health === 200 && well ? [] : [`health, append: ${health}, ${append}`]),
      ...(/ error /.test(log) ? [`the log has an error:\n${log.slice(0, 4_000)}`] : []),
      ...(log.includes(token) || log.includes(narrow) ? ["the log has a token in it"] : []),
    ];
  };
  return {
    ...{ port, socket_port, token, directory, hidden: [directory], faults },
    narrow: { port, socket_port, directory, token: narrow, hidden: [directory, ...plantedWords] },
    history: { cases: 0, heap: [], resident: [] },
    settled: () =>
      settle(async () => JSON.parse(await (await ask("/admin/status")).text()).figures),
    async verified() {
      const answer = await ask("/admin/verify");
      const text = await answer.text();
      return answer.status === 200 && /"log_root":"[0-9a-f]{64}"/.test(text)
        ? []
        : [`verify: ${text}`];
    },
    memory: served.memory,
    exposed: () => (sealed ? exposedIn(directory) : []),
    async [Symbol.asyncDispose]() {
      await served.stop();
      folder[Symbol.dispose]();
    },
  };
}

interface Served {
  readonly port: number;
  readonly socket_port: number;
  readonly token: string;
  /** Everything it has said on its standard error. */
  readonly log: () => string;
  /** How it ended; null while it runs. */
  readonly ended: () => string | null;
  readonly memory: () => Promise<Memory>;
  /** Rejects where it does not stop by itself: a hang at the end counts as one before it. */
  readonly stop: () => Promise<void>;
}

async function startProcess(asked: Asked): Promise<Served> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "serve.ts"), JSON.stringify(asked)],
    { stdin: "pipe", stdout: "pipe", stderr: "pipe", env: { NODE_ENV: "production" } },
  );
  let log = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) log += decoder.decode(chunk, { stream: true });
  })();
  const lines = linesOf(child.stdout);
  const nextLine = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done !== true) return value;
    await reading;
    throw new Error(`the server has ended: ${log}`);
  };
  const { port, socket_port, token } = JSON.parse(await nextLine());
  return {
    ...{ port, socket_port, token, log: () => log },
    ended() {
      const how = child.exitCode ?? child.signalCode;
      return how === null ? null : `${how}\n${log}`;
    },
    async memory() {
      child.stdin.write("\n");
      await child.stdin.flush();
      return JSON.parse(await nextLine());
    },
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), stop_ms_max);
      await child.exited;
      clearTimeout(late);
      await reading;
      if (child.exitCode !== 0) throw new Error(`the server did not stop by itself: ${log}`);
    },
  };
}

/** What the token with a scope may see. */
const scope = [
  { aggregate_type: "order" },
  { aggregate_type: "person" },
  { aggregate_type: "known", aggregate_id: "o-1" },
];

/** Words outside of that scope, in every place that has words; no target ever sends one. */
const planted = {
  aggregate_type: "quokka-type",
  aggregate_id: "quokka-id",
  event_type: "quokka-event",
  note: "quokka-note",
  payload: { status: "quokka-status", "quokka-member": 1 },
};
const plantedStaged = { ...planted, aggregate_id: "quokka-staged", event_type: "quokka-later" };
const plantedWords = ["quokka"];

/** Of these, what encryption covers. Names of types and aggregates stay readable. */
const sealedWords = ["quokka-note", "quokka-status", "quokka-member"];

function exposedIn(directory: string): string[] {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  return files.flatMap((file) => {
    if (!file.isFile()) return [];
    const bytes = readFileSync(join(file.parentPath, file.name));
    const found = sealedWords.filter((word) => bytes.includes(word));
    return found.map((word) => `${file.name} has ${word} in clear`);
  });
}

const knownEvent =
  '{"aggregate_type":"known","aggregate_id":"o-1","event_type":"noted","payload":{"a":1}}';

/** As many aggregates and events as a server keeps in memory, and some more. */
const filled = { events: 9_000, batch: 500, aggregates: 1_200 };

/** Aggregates that cases ask for and append to: `order` and `person` from f-0 to f-59. */
export const known_ids = 60;

async function fill(said: (path: string, body?: string) => Promise<string>): Promise<void> {
  const append = (events: readonly object[]) =>
    said("/v1/events/batch", JSON.stringify({ events }));
  const payload = { status: "open", address: { city: "Oslo" }, tags: ["x"], text: "x".repeat(200) };
  for (let first = 0; first < filled.events; first += filled.batch) {
    await append(
      Array.from({ length: filled.batch }, (_, index) => ({
        ...{ aggregate_type: "filler", event_type: "noted", payload },
        aggregate_id: `t-${(first + index) % filled.aggregates}`,
      })),
    );
  }
  const ids = Array.from({ length: known_ids }, (_, index) => `f-${index}`);
  for (const aggregate_type of ["order", "person"]) {
    await append(
      ids.map((aggregate_id) => ({ aggregate_type, aggregate_id, event_type: "noted", payload })),
    );
  }
  for (const aggregate_id of ["o-1", "o-2", "o-3"]) {
    await append([{ aggregate_type: "known", aggregate_id, event_type: "noted", payload }]);
  }
  await said("/v1/events", JSON.stringify(planted));
  await said("/v1/staged", JSON.stringify(plantedStaged));
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** Figures of what is held, and how much of it the question itself takes. */
const held: Readonly<Record<string, number>> = {
  http_requests_running: 1,
  connections: 1,
  http_body_bytes: 0,
  grpc_message_bytes: 0,
  grpc_open_calls: 0,
  socket_connections: 0,
  socket_requests_running: 0,
  socket_large_bytes: 0,
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
