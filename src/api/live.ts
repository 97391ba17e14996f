// Following the log: the one operation that answers again and again. Its row has the shape of the
// operation table, its gate is beside it, and every surface streams what it gives.

import { Type, type Static } from "@sinclair/typebox";
import { requireGrant, type Actor } from "../model/actor.ts";
import { EventRecord } from "../model/event.ts";
import type { Position } from "../model/stream.ts";
import { decode } from "./decode.ts";
import { After, LogSelection } from "./operations/events.ts";
import { IncludeHidden, operation, strict } from "./operations/operation.ts";

/** Where REST has it: not in the route table, because its answer is no JSON and does not end. */
export const streamPath = "/v1/events/stream";

export const followLog = operation({
  summary: "Follow the log: what is there after a position, then whatever is appended.",
  kind: "query",
  grant: "read",
  reach: "listed",
  input: Type.Object(
    {
      after: Type.Optional({
        ...After,
        description: "Begin after this position; when missing, with what comes from now on.",
      }),
      ...LogSelection,
      include_hidden: Type.Optional(IncludeHidden),
    },
    strict,
  ),
  output: EventRecord,
});

/** What a follower gets at a time; without records it is a sign of life. */
export interface LiveBatch {
  readonly records: readonly EventRecord[];
  /** Whatever was asked for up to here has been given: following may be resumed after it. */
  readonly position: Position;
}

export interface Live {
  /**
   * The first batch comes at once, empty where nothing is there yet, then one whenever there is
   * something, and an empty one after `heartbeat_ms` without. It reads on only when the next batch
   * is asked for. `actorOf` is asked before each batch, so that revoking a token ends what it
   * follows. Ends without an error once `signal` is aborted. Iterating throws
   * `failed_precondition` for a position the log has not reached, `overloaded` beyond
   * `subscribers_max`, `unavailable` when dbx stops, and whatever `actorOf` throws.
   */
  readonly followLog: (
    actorOf: () => Actor,
    input: Static<typeof followLog.input>,
    signal: AbortSignal,
  ) => AsyncIterable<LiveBatch>;
}

/** The gate of `followLog`. Throws what `call` rejects with. */
export function follow(
  live: Live,
  request: { readonly input: unknown; readonly actorOf: () => Actor; readonly signal: AbortSignal },
): AsyncIterable<LiveBatch> {
  const input = decode(followLog.input, request.input);
  const actorOf = (): Actor => {
    const actor = request.actorOf();
    requireGrant(actor, "read");
    return actor;
  };
  actorOf();
  return live.followLog(actorOf, input, request.signal);
}
