// How long until dbx answers: the command line alone, and a server on an empty and on a long log.
// Measures the compiled file, which is what people run, and for the command line the checkout too.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { compile } from "../build.ts";
import { root } from "../root.ts";
import { peakMemory } from "./machine.ts";
import type { Figure } from "./report.ts";
import { median } from "./subject.ts";

export interface StartupOptions {
  readonly directory: string;
  /** A directory with a long log, and how long it is. */
  readonly log: { readonly directory: string; readonly events: number };
  readonly rounds: number;
}

const topic = "start-up";
const plain = { baseline: null, ratio: null, aim: null };
/** A process that does nothing, compiled the same way, is what a command line cannot beat. */
const nothing = 'process.stdout.write("nothing\\n");\n';

export async function benchStartup(options: StartupOptions): Promise<Figure[]> {
  const folder = join(options.directory, "startup");
  mkdirSync(folder);
  const entry = join(root, "dist", `bench-${process.pid}.ts`);
  mkdirSync(join(root, "dist"), { recursive: true });
  writeFileSync(entry, nothing);
  try {
    const dbx = join(folder, "dbx");
    const empty = join(folder, "nothing");
    const built = await compile({ outfile: dbx });
    await compile({ outfile: empty, entry });
    return [
      ...(await commandLine({ dbx, empty, entry, folder, rounds: options.rounds * 5 })),
      ...(await servers({ ...options, folder, dbx })),
      {
        topic,
        name: "compiled file",
        unit: "MB",
        value: built.bytes / 1e6,
        raw: [built.bytes / 1e6],
        ...plain,
      },
    ];
  } finally {
    rmSync(entry, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

async function commandLine(options: {
  dbx: string;
  empty: string;
  entry: string;
  folder: string;
  rounds: number;
}): Promise<Figure[]> {
  const { dbx, rounds } = options;
  const bun = [process.execPath, "--no-env-file"];
  const HOME = join(options.folder, "home");
  mkdirSync(HOME);
  const env = { HOME, EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0" };
  await runTime([dbx, "start", "--port", "0", "--no-grpc"], env);
  try {
    const subjects = {
      version: [dbx, "--version"],
      help: [dbx, "--help"],
      proxied: [dbx, "token", "list", "--json"],
      nothing: [options.empty],
      bunVersion: [process.execPath, "--version"],
      interpreted: [...bun, join(root, "src", "main.ts"), "--version"],
      interpretedNothing: [...bun, options.entry],
    };
    const names = Object.keys(subjects) as (keyof typeof subjects)[];
    const times = new Map(names.map((name) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        times.get(name)?.push(await runTime(subjects[name], env));
      }
    }
    const beside = (
      name: string,
      subject: keyof typeof subjects,
      [baseline, other]: readonly [string, keyof typeof subjects],
    ): Figure => {
      const [raw, empty] = [times.get(subject) ?? [], times.get(other) ?? []];
      return {
        ...{ topic, name, unit: "ms", value: median(raw), raw },
        baseline: { name: baseline, value: median(empty), raw: empty },
        ratio: median(raw.map((each, round) => each / (empty[round] ?? NaN))),
        aim: null,
      };
    };
    const oneWord = ["a program that prints one word", "nothing"] as const;
    return [
      beside("dbx --version, compiled", "version", oneWord),
      beside("dbx --version, compiled", "version", ["bun --version", "bunVersion"]),
      beside("dbx --help, compiled", "help", oneWord),
      beside("a command through a running server, compiled", "proxied", oneWord),
      beside("dbx --version, from the checkout", "interpreted", [oneWord[0], "interpretedNothing"]),
    ];
  } finally {
    await runTime([dbx, "stop"], env);
  }
}

/** Milliseconds until it has ended. */
async function runTime(argv: readonly string[], env: Record<string, string>): Promise<number> {
  const started = performance.now();
  const child = Bun.spawn([...argv], { env, stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  const text = await child.stdout.text();
  const ms = performance.now() - started;
  if ((await child.exited) !== 0 || text === "") throw new Error(`${argv.join(" ")} failed`);
  return ms;
}

interface Started {
  /** From the start of the process to the first byte of the first answer. */
  readonly ms: number;
  readonly memory_mib: number;
}

async function servers(
  options: StartupOptions & { folder: string; dbx: string },
): Promise<Figure[]> {
  const { dbx, folder, log } = options;
  const long: Started[] = [];
  const empty: Started[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const fresh = join(folder, `empty-${round}`);
    const subjects = [
      async () => long.push(await startServer({ dbx, folder, data_dir: log.directory })),
      async () => empty.push(await startServer({ dbx, folder, data_dir: fresh })),
    ];
    for (const subject of round % 2 === 0 ? subjects : subjects.reverse()) await subject();
  }
  const figure = (name: string, unit: string, pick: (each: Started) => number): Figure => {
    const raw = long.map(pick);
    const other = empty.map(pick);
    return {
      ...{ topic, name, unit, value: median(raw), raw },
      baseline: { name: "the same on an empty directory", value: median(other), raw: other },
      ratio: median(raw.map((each, round) => each / (other[round] ?? NaN))),
      aim: null,
    };
  };
  const events = log.events.toLocaleString("en-US");
  return [
    figure(`first answer with ${events} events`, "ms", ({ ms }) => ms),
    figure(`memory after the first answer with ${events} events`, "MiB", (each) => each.memory_mib),
  ];
}

async function startServer(options: {
  dbx: string;
  folder: string;
  data_dir: string;
}): Promise<Started> {
  const port = freePort();
  const config = join(options.folder, `config-${port}.toml`);
  const started = performance.now();
  const child = Bun.spawn(
    [
      ...[options.dbx, "start", "--foreground", "--config", config],
      ...["--data-dir", options.data_dir, "--port", String(port)],
    ],
    {
      ...{ stdin: "ignore", stdout: "ignore", stderr: "pipe", cwd: options.folder },
      env: { EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0" },
    },
  );
  try {
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(await child.stderr.text());
    }
    const ms = performance.now() - started;
    return { ms, memory_mib: (peakMemory(child.pid) ?? NaN) / 2 ** 20 };
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
}

/** Asked again and again without a pause: a refused connection costs next to nothing. */
function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host: "127.0.0.1" });
  socket.once("connect", () => socket.write("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
  socket.once("data", (chunk) => {
    resolve(chunk.toString("latin1").startsWith("HTTP/1.1 200"));
    socket.destroy();
  });
  socket.once("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  return promise;
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
