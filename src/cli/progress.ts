// How far long work is, for a person at a terminal: done, of how many, how fast, how long still.

import type { Output } from "./output.ts";

interface Progress {
  readonly done: number;
  /** Null where nobody knows. */
  readonly total: number | null;
  /** What is counted: `aggregates`. */
  readonly unit: string;
  readonly seconds: number;
  /** Of the terminal. A longer line would wrap, and each redrawing would leave a line behind. */
  readonly columns: number;
}

const bar_chars_max = 20;
/** A shorter bar says nothing. */
const bar_chars_min = 5;

/** Where it is narrow, the bar gives way first, then what stands last. */
export function progressLine({ done, total, unit, seconds, columns }: Progress): string {
  const per_second = seconds > 0 ? done / seconds : 0;
  const speed = `${grouped(per_second)}/s`;
  if (total === null) return fitting([`${grouped(done)} ${unit}`, speed], columns);
  const part = total === 0 ? 1 : Math.min(done / total, 1);
  const percent = `${Math.floor(part * 100)}`.padStart(3);
  const left = per_second > 0 ? clock(Math.max(total - done, 0) / per_second) : "?";
  const count = `${grouped(done)} of ${grouped(total)} ${unit}`;
  const words = fitting([`${percent} %`, count, speed, `${left} left`], columns);
  const room = Math.min(columns - words.length - "[] ".length, bar_chars_max);
  if (room < bar_chars_min) return words;
  return `[${"=".repeat(Math.floor(part * room)).padEnd(room)}] ${words}`;
}

function fitting(words: readonly string[], columns: number): string {
  const line = words.join("  ");
  return line.length > columns && words.length > 1
    ? fitting(words.slice(0, -1), columns)
    : line.slice(0, columns);
}

const grouped = (count: number): string => Math.floor(count).toLocaleString("en-US");

/** `0:05`, `12:34`, `1:02:03`. */
function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (part: number) => String(part).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const head = hours > 0 ? `${hours}:${two(minutes)}` : String(minutes);
  return `${head}:${two(whole % 60)}`;
}

export interface Meter extends Disposable {
  /** How many more are done. An export to CSV handles each twice, so each time counts half. */
  readonly advance: (done: number) => void;
}

const redraw_ms = 100;

/** Draws on the terminal at most ten times a second, and removes what it drew in the end. */
export function createMeter(
  output: Pick<Output, "progress" | "endProgress" | "columns">,
  { total, unit }: { total: number | null; unit: string },
): Meter {
  const started = performance.now();
  let done = 0;
  let drawn = started - redraw_ms;
  return {
    advance: (more) => {
      done += more;
      const now = performance.now();
      if (now - drawn < redraw_ms) return;
      drawn = now;
      // The last column stays free: some terminals wrap when it is taken.
      const columns = output.columns() - 1;
      output.progress(
        progressLine({ done, total, unit, seconds: (now - started) / 1000, columns }),
      );
    },
    [Symbol.dispose]: output.endProgress,
  };
}
