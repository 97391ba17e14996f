// A refusal as gRPC tells it: code, message, google.rpc details for every client, and the one error
// shape whole for our own. All of it travels in trailers, which clients bound to 8 KiB.

import { statusOf, type WireError } from "../api/errors.ts";
import type { Details } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { loadStatusCodecs } from "./contract.ts";

export interface RichStatus {
  /** Canonical gRPC status code. */
  readonly code: number;
  readonly message: string;
  /** `google.rpc.Status`, for `grpc-status-details-bin`. */
  readonly details: Buffer;
  /** The error shape as JSON in ASCII, for `dbx-error`. */
  readonly wire: string;
}

/** A second, or as long as the refusal says. */
function retryDelayOf({ retry_after_ms: ms }: Details): { seconds: number; nanos: number } {
  if (typeof ms !== "number") return { seconds: 1, nanos: 0 };
  return { seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 };
}

/** Makes such a status. What is too long to be told is shortened or left out, never the code. */
export function createStatusWriter(): (error: WireError) => RichStatus {
  const { status, errorInfo, badRequest, retryInfo } = loadStatusCodecs();
  return ({ code, message: whole, details: all }) => {
    const message = shorten(whole.toWellFormed(), limits.grpc_message_chars_max);
    const details = fitting(all, limits.grpc_details_chars_max);
    const { grpc } = statusOf[code];
    const metadata = Object.fromEntries(
      Object.entries(details).map(([name, value]) => [
        name,
        typeof value === "string" ? value.toWellFormed() : (JSON.stringify(value) ?? "null"),
      ]),
    );
    const packed = [pack("ErrorInfo", errorInfo.encode({ reason: code, domain: "dbx", metadata }))];
    const { path } = details;
    if (typeof path === "string") {
      const violation = { field: path.toWellFormed(), description: message };
      packed.push(pack("BadRequest", badRequest.encode({ field_violations: [violation] })));
    }
    if (code === "overloaded") {
      packed.push(pack("RetryInfo", retryInfo.encode({ retry_delay: retryDelayOf(details) })));
    }
    return {
      code: grpc,
      message,
      details: status.encode({ code: grpc, message, details: packed }),
      wire: ascii(JSON.stringify({ message, code, details })),
    };
  };
}

const pack = (name: string, value: Buffer): object => ({
  type_url: `type.googleapis.com/google.rpc.${name}`,
  value,
});

/** The details that fit, first come, first served; `left_out` names those that do not. */
function fitting(details: Details, most: number): Details {
  const kept: Record<string, unknown> = {};
  const left_out: string[] = [];
  let left = most;
  for (const [name, value] of Object.entries(details)) {
    const size = ascii(`${name}${JSON.stringify(value)}`).length;
    if (size > left) left_out.push(shorten(name, 64));
    else {
      left -= size;
      kept[name] = value;
    }
  }
  return left_out.length === 0 ? kept : { ...kept, left_out: left_out.slice(0, 5) };
}

function shorten(text: string, most: number): string {
  if (text.length <= most && ascii(text).length <= most) return text;
  let kept = text.slice(0, most);
  while (ascii(kept).length > most) kept = kept.slice(0, -Math.ceil(kept.length / 8));
  return `${kept.toWellFormed()}…`;
}

/** JSON text without characters that a trailer cannot hold. */
const ascii = (json: string): string =>
  json.replaceAll(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
