// One request, one answer, of which only the head is kept. node:http instead of fetch, because
// fetch would hand events, and the secrets beside them, to whatever proxy the environment names.
// Redirects are not followed: a POST would become a GET without a body, and that would count as
// delivered.

import {
  Agent,
  request,
  STATUS_CODES,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as TlsAgent, request as requestOverTls } from "node:https";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import { codeOf } from "./fault.ts";

export interface Question {
  readonly method: "POST" | "HEAD";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

export interface Reply {
  readonly status: number;
  /** As HTTP knows it: what the receiver wrote there is not told either. */
  readonly reason: string;
  readonly location: string | null;
  readonly retry_after_s: number | null;
}

/** `failed`: a word that says why there is no answer. */
export type Answer = Reply | { readonly failed: string };

export interface Asking {
  readonly ask: (question: Question, signal: AbortSignal) => Promise<Answer>;
  readonly close: () => void;
}

export function createAsking(url: URL, bounds: PluginLimits): Asking {
  const isTls = url.protocol === "https:";
  const options = { keepAlive: true, maxSockets: bounds.plugin_http_lanes };
  const agent = isTls ? new TlsAgent({ ...options, rejectUnauthorized: true }) : new Agent(options);
  const { username, password } = url;
  const auth = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const to: RequestOptions = {
    agent,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
    path: url.pathname + url.search,
    ...(auth === ":" ? {} : { auth }),
  };
  return {
    ask: async (question, signal) => {
      const first = await askOnce(question, { to, isTls, signal, bounds });
      // The receiver closed a connection that was kept just when it was used again.
      if (!("failed" in first) || !first.again || signal.aborted) return first;
      return askOnce(question, { to, isTls, signal, bounds });
    },
    close: () => agent.destroy(),
  };
}

interface Failed {
  readonly failed: string;
  /** Whether it was asked over a connection that had been used before. */
  readonly again: boolean;
}

function askOnce(
  { method, headers, body }: Question,
  { to, isTls, signal, bounds }: Way,
): Promise<Reply | Failed> {
  return new Promise((done) => {
    let reply: Reply | null = null;
    const asked = begin(isTls, { ...to, method, headers }, (response) => {
      reply = replyOf(response);
      drop(response, bounds.plugin_http_answer_bytes_max).then(
        () => finish("ended"),
        // The status is there, and nothing else is asked for.
        () => finish("ended"),
      );
    });
    // Once the head of the answer is there, it is known whether the event arrived.
    const finish = (failed: string) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      const again = failed !== "ETIMEDOUT" && !signal.aborted && asked?.reusedSocket === true;
      done(reply ?? { failed, again });
    };
    const cut = (failed: string) => {
      finish(failed);
      asked?.destroy();
    };
    const stop = () => cut("ABORT_ERR");
    const timer = setTimeout(() => cut("ETIMEDOUT"), bounds.plugin_request_ms);
    signal.addEventListener("abort", stop, { once: true });
    if (asked === null) return finish("ERR_INVALID_REQUEST");
    asked.on("error", (cause) => finish(codeOf(cause) ?? "failed"));
    asked.on("close", () => finish("closed"));
    if (signal.aborted) return stop();
    asked.end(body ?? undefined);
  });
}

interface Way {
  readonly to: RequestOptions;
  readonly isTls: boolean;
  readonly signal: AbortSignal;
  readonly bounds: PluginLimits;
}

/** Null where a configured header is none that HTTP knows. */
function begin(
  isTls: boolean,
  options: RequestOptions,
  answered: (response: IncomingMessage) => void,
): ClientRequest | null {
  try {
    return (isTls ? requestOverTls : request)(options, answered);
  } catch {
    return null;
  }
}

function replyOf({ statusCode = 0, headers }: IncomingMessage): Reply {
  const retry = headers["retry-after"] ?? "";
  return {
    status: statusCode,
    reason: STATUS_CODES[statusCode] ?? "",
    location: headers.location ?? null,
    retry_after_s: /^\d{1,6}$/.test(retry) ? Number(retry) : null,
  };
}

/** Reads the answer so that its connection can be used again; one that is too long is cut off. */
async function drop(response: IncomingMessage, most: number): Promise<void> {
  let length = 0;
  for await (const chunk of response) {
    length += chunk.length;
    // Leaving the loop destroys the response, and its connection with it.
    if (length > most) return;
  }
}
