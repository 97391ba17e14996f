// `GET /v1/events/stream`: the log, live, as server-sent events. Who may follow, from where, and
// until when; what the events look like is in event-stream.ts.

import { toWire } from "../api/errors.ts";
import { fromStrings } from "../api/json.ts";
import { decode } from "../api/decode.ts";
import { follow, followLog, streamPath, type LiveBatch } from "../api/live.ts";
import type { Log } from "../log.ts";
import { invalidArgument, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { holderOf } from "./credentials.ts";
import { eventStream } from "./event-stream.ts";
import { pairsOf, queryOf } from "./request.ts";
import type { Asked, Mount, SurfaceOptions } from "./surface.ts";

type StreamOptions = Pick<SurfaceOptions, "live" | "authenticate" | "log" | "rates" | "stopping">;

export const streamMounts = (options: StreamOptions): Mount[] => [
  {
    method: "GET",
    path: streamPath,
    name: "followLog",
    respond: (asked) => respondWithStream(asked, options),
  },
];

/** What is wrong before the first batch is an ordinary refusal; afterwards it is an event. */
async function respondWithStream(
  { request, request_id, silence }: Asked,
  { live, authenticate, log, rates, stopping }: StreamOptions,
): Promise<Response> {
  const actorOf = () => holderOf(request.headers, authenticate);
  // Before the query is judged: without a token nobody learns what is wrong with it.
  rates.token(actorOf());
  const input = inputOf(request);
  const ending = new AbortController();
  const end = (): void => {
    stopping.removeEventListener("abort", end);
    request.signal.removeEventListener("abort", end);
    ending.abort();
  };
  stopping.addEventListener("abort", end);
  request.signal.addEventListener("abort", end);

  try {
    const following = follow(live, { input, actorOf, signal: ending.signal });
    const batches = following[Symbol.asyncIterator]();
    const next = async (): Promise<LiveBatch | null> => {
      const { done, value } = await batches.next();
      if (done !== true) return value;
      if (stopping.aborted) throw unavailable("dbx is stopping");
      return null;
    };
    const first = await next();
    const head = { headers: { ...headers, "X-Request-Id": request_id } };
    if (request.method === "HEAD") {
      end();
      return new Response(null, head);
    }
    // Bun ends connections on which nothing moves; here that is as it should be.
    silence(request, 0);
    const onEnd = (thrown: unknown): void => {
      end();
      // But not where the rest of an ended stream is not taken either.
      silence(request, limits.idle_seconds_max);
      if (thrown !== null) tell(log, request_id, thrown);
    };
    return new Response(eventStream({ first, next, stall_ms: limits.live_stall_ms, onEnd }), head);
  } catch (thrown) {
    end();
    throw thrown;
  }
}

const headers = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  // Some proxies keep an answer back until it is whole, unless they are told not to.
  "X-Accel-Buffering": "no",
};

/** The query; a browser that comes back by itself repeats it, and says where it was in a header. */
function inputOf({ url, headers: sent }: Request): Record<string, unknown> {
  const given = fromStrings(followLog.input, pairsOf(queryOf(url)));
  const last = sent.get("last-event-id");
  if (last === null) return given;
  // What the query says is wrong or right whether or not it counts.
  decode(followLog.input, given);
  const after = /^(?:0|[1-9]\d{0,15})$/.test(last) ? Number(last) : NaN;
  if (Number.isSafeInteger(after)) return { ...given, after };
  throw invalidArgument("the header Last-Event-ID must be a position: the id of an event", {
    header: "Last-Event-ID",
  });
}

function tell(log: Log, request_id: string, thrown: unknown): void {
  const { code } = toWire(thrown);
  const fields = { request_id, operation: "followLog", code };
  if (code !== "internal") return log.info("stream ended", fields);
  const stack = thrown instanceof Error ? thrown.stack : String(thrown);
  log.error("stream failed", { ...fields, stack });
}
