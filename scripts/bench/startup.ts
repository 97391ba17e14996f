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
      ...(await commandLine({ dbx, empty, entry, rounds: options.rounds * 5 })),
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
  rounds: number;
}): Promise<Figure[]> {
  const bun = [process.execPath, "--no-env-file"];
  const subjects = {
    compiled: [options.dbx, "--version"],
    compiledNothing: [options.empty],
    interpreted: [...bun, join(root, "src", "main.ts"), "--version"],
    interpretedNothing: [...bun, options.entry],
  };
  const ms = { compiled: [], compiledNothing: [], interpreted: [], interpretedNothing: [] };
  const times: Record<keyof typeof subjects, number[]> = ms;
  const names = Object.keys(subjects) as (keyof typeof subjects)[];
  for (let round = 0; round < options.rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      times[name].push(await runTime(subjects[name]));
    }
  }
  const beside = (name: string, raw: number[], empty: number[]): Figure => ({
    ...{ topic, name, unit: "ms", value: median(raw), raw },
    baseline: { name: "a program that prints one word", value: median(empty), raw: empty },
    ratio: median(raw.map((each, round) => each / (empty[round] ?? NaN))),
    aim: null,
  });
  return [
    beside("dbx --version, compiled", times.compiled, times.compiledNothing),
    beside("dbx --version, from the checkout", times.interpreted, times.interpretedNothing),
  ];
}

async function runTime(argv: readonly string[]): Promise<number> {
  const started = performance.now();
  const child = Bun.spawn([...argv], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
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
