// dbx as its users have it: a child process with a home directory, arguments, streams and an exit
// code. Nothing of the caller's environment reaches it.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { compiledDbx } from "./compiled.ts";

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

export interface RunOptions {
  readonly home: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly cwd?: string;
  /** What is run from its source in the place of dbx: the same program with shorter times. */
  readonly entry?: string;
}

/** What users get, and not its source: the two differ in what they find beside them. */
const compiled = await compiledDbx();

const executableOf = ({ entry }: RunOptions): readonly string[] =>
  entry === undefined ? [compiled] : [process.execPath, "--no-env-file", join(root, entry)];

const environment = ({ home, env }: RunOptions) => ({
  PATH: process.env["PATH"] ?? "",
  HOME: home,
  USER: "tester",
  // Its own port of every database is one for all that run at a time.
  EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0",
  ...env,
});

/** How to spawn `dbx …`, for tests that want its streams in another way. */
export const dbxCommand = (args: readonly string[], options: RunOptions) => ({
  command: [...executableOf(options), ...args],
  options: { env: environment(options), cwd: options.cwd ?? options.home },
});

/** Runs `dbx …` to its end. */
export async function dbx(args: readonly string[], options: RunOptions): Promise<Ran> {
  const { command, options: where } = dbxCommand(args, options);
  const child = Bun.spawn(command, {
    ...where,
    stdin: new Blob([options.stdin ?? ""]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { stdout, stderr, code };
}

export interface RunningServer extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly control_port: number;
  readonly socket_port: number;
  /** What it has written to stderr so far. */
  readonly log: () => string;
  /** Resolves when the log holds the text. */
  readonly until: (text: string) => Promise<void>;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<number>;
}

export const pidFile = (home: string): string => join(home, ".eventdbx", "eventdbx.pid");

export function readPid(home: string): {
  pid: number;
  port: number;
  control_port: number;
  socket_port: number;
} {
  return JSON.parse(readFileSync(pidFile(home), "utf8"));
}

/** `dbx start --foreground --port 0 …`, once it says that it is ready. */
export async function startForeground(
  options: RunOptions & {
    args?: readonly string[];
    /** Any when missing. */
    port?: number;
    /** Blocks of 512 bytes that any file of the server may have: a disk that is full. */
    fileBlocksMax?: number;
    /** Files and sockets that it may have open. */
    descriptorsMax?: number;
  },
): Promise<RunningServer> {
  const args = [
    "start",
    "--foreground",
    "--port",
    String(options.port ?? 0),
    ...(options.args ?? []),
  ];
  const { fileBlocksMax, descriptorsMax } = options;
  const limits = [
    ...(fileBlocksMax === undefined ? [] : [`ulimit -f ${fileBlocksMax}`]),
    ...(descriptorsMax === undefined ? [] : [`ulimit -n ${descriptorsMax}`]),
  ];
  const child = Bun.spawn(
    ["sh", "-c", [...limits, 'exec "$@"'].join(" && "), "sh", ...executableOf(options), ...args],
    {
      env: environment(options),
      cwd: options.home,
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  let log = "";
  let ended = false;
  let waiting: (() => void)[] = [];
  const wake = () => {
    const woken = waiting;
    waiting = [];
    for (const one of woken) one();
  };
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) {
      log += decoder.decode(chunk, { stream: true });
      wake();
    }
    ended = true;
    wake();
  })();
  const until = async (text: string) => {
    while (!log.includes(text)) {
      if (ended) throw new Error(`the server ended before it said ${text}:\n${log}`);
      await new Promise<void>((done) => waiting.push(done));
    }
  };
  await until(" info ready ");
  const { port, control_port, socket_port } = readPid(options.home);
  return {
    pid: child.pid,
    port,
    control_port,
    socket_port,
    log: () => log,
    until,
    kill: (signal) => child.kill(signal),
    exited: child.exited,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
      await reading;
    },
  };
}

/** Kills the daemon of a home, if one runs, so that no test leaves a process behind. */
export function endDaemon(home: string): void {
  if (!existsSync(pidFile(home))) return;
  const { pid } = readPid(home);
  try {
    if (pid !== process.pid) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already: the test killed it, or it never got ready.
  }
}

/** A request to the server's public port. */
export async function http(
  port: number,
  path: string,
  options: { token?: string; body?: string } = {},
): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = {};
  if (options.token !== undefined) headers["authorization"] = `Bearer ${options.token}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: options.body === undefined ? "GET" : "POST",
    headers,
    ...(options.body === undefined ? {} : { body: options.body }),
  });
  return { status: answer.status, text: await answer.text() };
}
