// How emitters say what went wrong: one line that names the target. What a receiver wrote is never
// in it, because it may hold the payload, and neither is a header or a query, which may be secret.

import { unavailable, type DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Fault } from "../emitter.ts";

export const faultOf = (message: string, { reached }: { reached: boolean }): Fault => ({
  message: oneLine(message),
  reached,
});

/** Why deliveries cannot be expected to arrive. */
export const notReady = (message: string, cause?: unknown): DbxError =>
  unavailable(oneLine(message), {}, { cause });

/** `ECONNREFUSED`; null where the error has no such word. */
export function codeOf(cause: unknown): string | null {
  if (!(cause instanceof Error) || !("code" in cause)) return null;
  const code = String(cause.code);
  return /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? code : null;
}

/** Characters that end a line, or change how a terminal shows what follows. */
const unseen = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

function oneLine(message: string): string {
  const line = message.replace(unseen, " ");
  const most = limits.plugin_fault_chars_max;
  return line.length <= most ? line : `${line.slice(0, most - 1).toWellFormed()}…`;
}
