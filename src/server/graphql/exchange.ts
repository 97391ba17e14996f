// One GraphQL request: what it brought, who asks, and what the work on it shares.

import type { Actor } from "../../model/actor.ts";
import type { Canonical } from "../../model/canonical.ts";
import { tooLarge } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { charsOf } from "./exact.ts";

/** The parameters of GraphQL over HTTP. */
export interface Parameters {
  readonly query: string;
  readonly operationName: string | null;
  /** A JSON object. */
  readonly variables: Canonical | null;
}

export interface Exchange extends Parameters {
  readonly method: "GET" | "POST";
  readonly accept: string;
  readonly request_id: string;
  /** The actor behind the request's token now. Throws `unauthenticated`. */
  readonly actorOf: () => Actor;
  /** Aborted when the client has gone. */
  readonly gone: AbortSignal;
  /** Aborted when nobody takes the answer any more. */
  readonly ended: AbortController;
  /** Does the reads of one document one after the other, and keeps what they give within bounds. */
  readonly inTurn: <Output>(read: () => Promise<Output>) => Promise<Output>;
  /** How many events of a batch come after the one just given. */
  waiting: number;
  /** Tells a subscriber that the server is there, between events. */
  beat: () => void;
}

/**
 * The fields of a query are asked for at once. One page may be as large as an answer may be, so
 * they wait for each other, and their sum has the bound of a page.
 */
export function createTurns(): Exchange["inTurn"] {
  let last: Promise<unknown> = Promise.resolve();
  let chars = 0;
  return (read) => {
    const turn = last.then(async () => {
      if (chars > limits.page_bytes_max) throw tooMuch(chars);
      const output = await read();
      chars += charsOf(output);
      if (chars > limits.page_bytes_max) throw tooMuch(chars);
      return output;
    });
    last = turn.catch(() => null);
    return turn;
  };
}

const tooMuch = (actual: number) =>
  tooLarge(
    `the answer has more than ${limits.page_bytes_max} characters; ask for less in one document`,
    { limit: limits.page_bytes_max, actual },
  );
