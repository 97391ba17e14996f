// What a process plugin prints, as lines of dbx's log. It is read as long as there is something, so
// that the process waits for nobody; what is too long or too much is left out, and that is said.

import type { Log } from "../../log.ts";
import { limits } from "../../model/limits.ts";

export interface OutputDeps {
  readonly log: Log;
  readonly plugin: string;
}

export interface Output {
  /** Takes bytes as they come, whatever they are part of. */
  readonly push: (piece: Uint8Array) => void;
  /** What has no end of line yet is a line, too. */
  readonly end: () => void;
}

const newline = 10;

export function createOutputLog(stream: "stdout" | "stderr", { log, plugin }: OutputDeps): Output {
  const kept = Buffer.alloc(limits.plugin_output_bytes_max);
  let length = 0;
  let isCut = false;
  let second = performance.now();
  let lines = 0;
  let left_out = 0;

  const tellLeftOut = () => {
    if (left_out > 0) log.warn("plugin output left out", { plugin, stream, lines: left_out });
    left_out = 0;
  };
  const write = () => {
    const text = shown(kept.subarray(0, length)) + (isCut ? "…" : "");
    length = 0;
    isCut = false;
    if (text.trim() === "") return;
    const now = performance.now();
    if (now - second >= 1_000) {
      tellLeftOut();
      second = now;
      lines = 0;
    }
    lines += 1;
    if (lines > limits.plugin_output_lines_max) left_out += 1;
    else log.info("plugin output", { plugin, stream, text });
  };
  return {
    push: (piece) => {
      for (let start = 0; start < piece.length;) {
        const found = piece.indexOf(newline, start);
        const end = found === -1 ? piece.length : found;
        const room = Math.min(end - start, kept.length - length);
        kept.set(piece.subarray(start, start + room), length);
        length += room;
        isCut ||= room < end - start;
        if (found !== -1) write();
        start = end + 1;
      }
    },
    end: () => {
      write();
      tellLeftOut();
    },
  };
}

/** Control characters, ends of lines, and those that turn the direction of writing. */
const unseen = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Bytes that are no UTF-8 become U+FFFD. */
function shown(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes).replace(/\r$/, "").replaceAll("\t", " ");
  return text.replace(unseen, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
