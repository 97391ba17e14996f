// One process of a plugin, from its start to its end. It leads a group of its own, so that nothing
// it started outlives it, and a Ctrl-C at the terminal of dbx is not one for it, too.

import type { Subprocess } from "bun";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import { limits } from "../../model/limits.ts";
import { createOutputLog, type Output, type OutputDeps } from "./process-output.ts";

export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** `ended`: it is gone. `stalled`: it took nothing in time. `stopped`: the caller was. */
export type Outcome = "done" | "ended" | "stalled" | "stopped";

export interface Child {
  readonly pid: number;
  /** How it ended: `exit code 3`, `SIGKILL`; null while it lives. */
  readonly ending: () => string | null;
  /** Resolves when it and what it had started are gone, and what it printed is told. */
  readonly ended: Promise<void>;
  /**
   * Hands the bytes over while each part of them is taken in time. Once it did not say `done`, the
   * process MUST get nothing more, because it may have half a message.
   */
  readonly write: (bytes: Uint8Array, signal: AbortSignal) => Promise<Outcome>;
  /** Whether it lives on for so long. */
  readonly stand: (ms: number, signal: AbortSignal) => Promise<Outcome>;
  /** Ends its input, waits, asks, kills. Resolves like `ended`. */
  readonly close: () => Promise<void>;
  /** Kills at once. */
  readonly kill: () => Promise<void>;
}

/** Throws what the system says where the program cannot be started. */
export function startChild(
  { path, args, env, cwd }: Program,
  { bounds, ...deps }: OutputDeps & { readonly bounds: PluginLimits },
): Child {
  const child = Bun.spawn([path, ...args], {
    ...{ env, cwd, stdin: "pipe", stdout: "pipe", stderr: "pipe", detached: true },
  });
  const outputs = [
    drain(child.stdout, createOutputLog("stdout", deps)),
    drain(child.stderr, createOutputLog("stderr", deps)),
  ];
  // Not one more reaction to `exited` for each wait: those would gather over a long life.
  const waiting = new Set<() => void>();
  let isOver = false;
  let isDeaf = false;
  const ended = child.exited.then(async () => {
    isOver = true;
    for (const tell of waiting) tell();
    signalGroup(child, "SIGKILL");
    await Promise.all(outputs.map(({ finish }) => finish()));
  });
  /** `late` after the time. */
  const wait = async (
    ms: number,
    { signal, taken }: { signal: AbortSignal; taken: Promise<Outcome> | null },
  ): Promise<Outcome | "late"> => {
    const { promise, resolve } = Promise.withResolvers<Outcome | "late">();
    const timer = setTimeout(() => resolve("late"), ms);
    const end = () => resolve("ended");
    const stop = () => resolve("stopped");
    waiting.add(end);
    signal.addEventListener("abort", stop, { once: true });
    if (isOver) end();
    if (signal.aborted) stop();
    void taken?.then(resolve);
    const outcome = await promise;
    clearTimeout(timer);
    waiting.delete(end);
    signal.removeEventListener("abort", stop);
    return outcome;
  };
  const endsWithin = async (ms: number) =>
    (await wait(ms, { signal: never, taken: null })) === "ended";
  const kill = async () => {
    if (!isOver) signalGroup(child, "SIGKILL");
    await ended;
  };
  return {
    pid: child.pid,
    ending: () => (!isOver ? null : isDeaf ? "it closed its input" : endingOf(child)),
    ended,
    write: async (bytes, signal) => {
      const size = limits.plugin_process_piece_bytes;
      for (let start = 0; start < bytes.length; start += size) {
        if (signal.aborted) return "stopped";
        const taken = take(child, bytes.subarray(start, start + size));
        const outcome = await wait(bounds.plugin_process_stall_ms, { signal, taken });
        if (outcome === "ended" && !isOver && !(await endsWithin(last_words_ms))) {
          // It lives, and reads no more: of no use, whatever else it does.
          isDeaf = true;
          await kill();
        }
        if (outcome !== "done") return outcome === "late" ? "stalled" : outcome;
      }
      return "done";
    },
    stand: async (ms, signal) => {
      const outcome = await wait(ms, { signal, taken: null });
      return outcome === "late" ? "done" : outcome;
    },
    close: async () => {
      // Where it does not read on, this does not end; it is not waited for.
      void endInput(child);
      if (!(await endsWithin(bounds.plugin_process_farewell_ms))) {
        signalGroup(child, "SIGTERM");
        await endsWithin(bounds.plugin_process_term_ms);
      }
      await kill();
    },
    kill,
  };
}

type Running = Subprocess<"pipe", "pipe", "pipe">;

const never = new AbortController().signal;

/** A closed input shows itself in what either call gives back. */
async function take({ stdin }: Running, piece: Uint8Array): Promise<Outcome> {
  try {
    await Promise.all([stdin.write(piece), stdin.flush()]);
    return "done";
  } catch {
    // The process reads no more.
    return "ended";
  }
}

async function endInput({ stdin }: Running): Promise<void> {
  try {
    await stdin.end();
  } catch {
    // It has closed it already.
  }
}

const endingOf = ({ exitCode, signalCode }: Running): string =>
  signalCode === null ? `exit code ${exitCode}` : String(signalCode);

/** The group has the number of the process that leads it. */
function signalGroup({ pid }: Running, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, signal);
  } catch {
    // Nobody of it is there any more.
  }
}

/** Once the process is gone: how long what it printed last may take to arrive. */
const last_words_ms = 200;

/** Reads a stream to its end. Who left the group may hold the other end for ever. */
function drain(stream: ReadableStream<Uint8Array>, output: Output) {
  const reader = stream.getReader();
  const reading = (async () => {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        output.push(value);
      }
    } catch {
      // The stream is gone, and with it what the process did not print; its end is told elsewhere.
    }
    output.end();
  })();
  return {
    finish: async () => {
      const timer = setTimeout(() => void reader.cancel(), last_words_ms);
      await reading;
      clearTimeout(timer);
    },
  };
}
