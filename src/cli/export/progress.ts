// How far an export is, for a person at a terminal: done, of how many, how fast, how long still.

import type { Output } from "../output.ts";

interface Progress {
  readonly done: number;
  /** Null where nobody knows. */
  readonly total: number | null;
  readonly seconds: number;
}

const bar_chars = 20;

export function progressLine({ done, total, seconds }: Progress): string {
  const per_second = seconds > 0 ? done / seconds : 0;
  const speed = `${grouped(per_second)}/s`;
  if (total === null) return `${grouped(done)} aggregates  ${speed}`;
  const part = total === 0 ? 1 : Math.min(done / total, 1);
  const bar = "=".repeat(Math.floor(part * bar_chars)).padEnd(bar_chars);
  const percent = `${Math.floor(part * 100)}`.padStart(3);
  const left = per_second > 0 ? clock(Math.max(total - done, 0) / per_second) : "?";
  return (
    `[${bar}] ${percent} %  ${grouped(done)} of ${grouped(total)} aggregates  ` +
    `${speed}  ${left} left`
  );
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
  /** Parts of aggregates: CSV handles each twice, so each time counts half. */
  readonly advance: (aggregates: number) => void;
}

const redraw_ms = 100;

/** Draws on the terminal at most ten times a second, and removes what it drew in the end. */
export function createMeter(
  output: Pick<Output, "progress" | "endProgress">,
  { total }: { total: number | null },
): Meter {
  const started = performance.now();
  let done = 0;
  let drawn = started - redraw_ms;
  return {
    advance: (aggregates) => {
      done += aggregates;
      const now = performance.now();
      if (now - drawn < redraw_ms) return;
      drawn = now;
      output.progress(progressLine({ done, total, seconds: (now - started) / 1000 }));
    },
    [Symbol.dispose]: output.endProgress,
  };
}
