// Commands of others, run within the server's process: the command tree with a shell that has a
// token and nothing else. Not this machine's environment, files or keyboard; what is printed is
// kept, up to a bound, and handed back.

import { invalidArgument, tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { RunCommand } from "../server/commands.ts";
import { ReaderGone, type Output } from "./output.ts";
import { pretty } from "./pretty.ts";
import type { Reach, RunWords, Shell } from "./shell.ts";

/** In: the command tree. Out: what runs it for the server that is reached so. */
export const createCommands =
  (runWords: RunWords) =>
  (reach: Omit<Extract<Reach, { kind: "served" }>, "kind">): RunCommand =>
  async ({ args, token }, signal) => {
    const printed = createPrinted(signal);
    const shellFor = (json: boolean): Shell => ({
      env: { EVENTDBX_TOKEN: token },
      cwd: "/",
      home: "/",
      user: "",
      configPath: "",
      configGiven: false,
      reach: { kind: "served", ...reach },
      output: outputInto(printed, json),
      runWords,
    });
    const exit = await runWords(args, ({ json, named }) => ({
      shell: shellFor(json),
      check: () => refuseOwnPlace(named),
    }));
    return { exit, ...printed.all() };
  };

/** These say where somebody's own command line looks; the server that is asked is known here. */
function refuseOwnPlace(named: Readonly<Partial<Record<string, string>>>): void {
  const [name] = Object.keys(named);
  if (name === undefined) return;
  throw invalidArgument(`--${name} has no meaning here: the server that is asked does it`, {
    flag: `--${name}`,
  });
}

interface Printed {
  /** Throws `too_large` beyond the bound, and `ReaderGone` where nobody waits any more. */
  readonly data: (text: string) => void;
  readonly words: (text: string) => void;
  readonly all: () => { readonly stdout: string; readonly stderr: string };
}

function createPrinted(signal: AbortSignal): Printed {
  const limit = limits.socket_output_bytes_max;
  let data: string[] = [];
  const words: string[] = [];
  let bytes = 0;
  let words_bytes = 0;
  let isTooMuch = false;
  return {
    data(text) {
      if (signal.aborted) throw new ReaderGone();
      bytes += Buffer.byteLength(text);
      if (bytes <= limit && !isTooMuch) return void data.push(text);
      // Half a list looks like a whole one to whoever reads on.
      isTooMuch = true;
      data = [];
      throw tooLarge(
        `the command prints more than ${limit} bytes; ask for less at a time (--take, --skip)`,
        { limit },
      );
    },
    words(text) {
      words_bytes += Buffer.byteLength(text);
      if (words_bytes <= limit) words.push(text);
    },
    all: () => ({ stdout: data.join(""), stderr: words.join("") }),
  };
}

/** Nobody is at a keyboard, and nobody watches. */
function outputInto(printed: Printed, json: boolean): Output {
  const raw = async (text: string) => printed.data(text);
  const data = (lines: string) => raw(`${lines}\n`);
  return {
    json,
    interactive: false,
    raw,
    data,
    jsonText: (text) => data(pretty(text)),
    jsonValue: (value) => data(pretty(JSON.stringify(value))),
    words: (line) => printed.words(`${line}\n`),
    label: (word) => word,
    ask: async () => "",
    askSecret: async () => "",
    progress: () => {},
    columns: () => 80,
    endProgress: () => {},
  };
}
