// The only writer to the terminal: data to stdout, words to stderr, and both quietly stop when
// nobody reads.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { canonicalOf } from "../model/canonical.ts";
import { DbxError, type Details } from "../model/error.ts";
import { pretty } from "./pretty.ts";

export interface Output {
  readonly json: boolean;
  /** Someone sits at the keyboard and sees what is asked. */
  readonly interactive: boolean;
  /** One or more lines of data; the newline at the end is added. */
  readonly data: (lines: string) => Promise<void>;
  /** JSON text with two blanks of indentation; numbers stay as they are written. */
  readonly jsonText: (text: string) => Promise<void>;
  /** The same for a value that holds no exact numbers. */
  readonly jsonValue: (value: unknown) => Promise<void>;
  /** Raw text to stdout, for lists that are written page by page. */
  readonly raw: (text: string) => Promise<void>;
  readonly words: (line: string) => void;
  readonly label: (word: string) => string;
  readonly ask: (question: string) => Promise<string>;
  /** The same, and what is typed does not show. */
  readonly askSecret: (question: string) => Promise<string>;
  /**
   * A line that replaces itself on a terminal's stderr; nothing anywhere else. `end` removes
   * it.
   */
  readonly progress: (line: string) => void;
  /** How many characters such a line may have before it wraps. */
  readonly columns: () => number;
  readonly endProgress: () => void;
}

/** Nobody reads any more (`| head`): the command ends, and that is no failure. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

export function createOutput(options: { json: boolean; noColor: boolean }): Output {
  const { stdin, stdout, stderr } = process;
  // Without a listener the error event of a closed pipe ends the process with a stack trace.
  stdout.on("error", () => {});
  stderr.on("error", () => {});
  const colour = stderr.isTTY && !options.noColor;
  let progressing = false;
  const endProgress = () => {
    if (progressing) stderr.write("\r\u001b[K");
    progressing = false;
  };
  let lineEnded = true;
  const raw = (text: string) => {
    endProgress();
    lineEnded = text.endsWith("\n");
    return writeAll(stdout, text);
  };
  const data = (lines: string) => raw(`${lines}\n`);
  return {
    json: options.json,
    interactive: stdin.isTTY === true && stderr.isTTY === true,
    raw,
    data,
    jsonText: (text) => data(pretty(text)),
    jsonValue: (value) => data(pretty(JSON.stringify(value))),
    words: (line) => void stderr.write(`${line}\n`),
    label: (word) => (colour ? `\u001b[1m${word}\u001b[0m` : word),
    ask: async (question) => {
      const reader = createInterface({ input: stdin, output: stderr });
      try {
        return await reader.question(question);
      } finally {
        reader.close();
      }
    },
    askSecret: async (question) => {
      // Its own echo goes nowhere; that of the terminal is off as long as it reads keys.
      const nowhere = new Writable({ write: (_piece, _encoding, done) => done() });
      const reader = createInterface({ input: stdin, output: nowhere, terminal: true });
      stderr.write(question);
      try {
        return await reader.question("");
      } finally {
        reader.close();
        stderr.write("\n");
      }
    },
    progress: (line) => {
      // On one terminal it would replace data of the line that has not ended yet.
      if (!stderr.isTTY || (stdout.isTTY && !lineEnded)) return;
      progressing = true;
      stderr.write(`\r\u001b[K${line}`);
    },
    // A terminal that does not know its width says 0.
    columns: () => stderr.columns || 80,
    endProgress,
  };
}

function writeAll(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((done, fail) => {
    stream.write(text, (error) => {
      if (!error) return done();
      const reason = "code" in error ? String(error.code) : error.message;
      fail(reason === "EPIPE" ? new ReaderGone() : outputLost({ reason, cause: error }));
    });
  });
}

/**
 * Not `unavailable`: its exit code invites to try again, which would do twice what is done
 * already.
 */
function outputLost({ reason, cause }: { reason: string; cause: Error }): DbxError {
  const message = `the output could not be written (${reason}); what the command did is done`;
  return new DbxError("internal", message, { reason, output: "lost" }, { cause });
}

/** Names what was done before the output failed, for commands that change something. */
export async function afterDoing(
  done: { words: string; details: Details },
  write: Promise<void>,
): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!(error instanceof DbxError) || error.details["output"] !== "lost") throw error;
    const { code, details, cause } = error;
    const message = `${done.words}, but the output could not be written (${details["reason"]})`;
    throw new DbxError(code, message, { ...done.details, ...details }, { cause });
  }
}

/** One line of `name=value` pairs. Values that would blur the line are quoted as JSON. */
export function pairs(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${word(value)}`)
    .join(" ");
}

function word(value: unknown): string {
  const text = typeof value === "string" ? value : canonicalOf(value);
  return typeof value === "string" && /[\s"=\u0000-\u001f\u007f-\u009f]|^$/.test(text)
    ? JSON.stringify(text)
    : text;
}
