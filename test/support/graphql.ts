// GraphQL as tests write it: a document, and variables as the JSON text they are sent as.

import type { Answer, Ask, TestServer } from "./server.ts";
import { eventsIn, type ServerSentEvent } from "./surfaces-sse.ts";

/** `variables` is JSON text, so that a test says how a number is written. */
export const bodyOf = (query: string, variables = "{}"): string =>
  `{"query":${JSON.stringify(query)},"variables":${variables}}`;

export const post = (
  server: TestServer,
  query: string,
  options: Omit<Ask, "body"> & { variables?: string } = {},
): Promise<Answer> => {
  const { variables, ...ask } = options;
  return server.ask("POST", "/graphql", { ...ask, body: bodyOf(query, variables) });
};

export interface Subscribed {
  readonly response: Response;
  /** The next event that is no sign of life. */
  readonly next: () => Promise<ServerSentEvent>;
  /** Goes away. */
  readonly leave: () => void;
}

export async function subscribe(
  server: Pick<TestServer, "port" | "token">,
  query: string,
  options: { variables?: string; token?: string; signal?: AbortSignal } = {},
): Promise<Subscribed> {
  const { variables, token = server.token, signal } = options;
  const leaving = new AbortController();
  const signals = signal === undefined ? [leaving.signal] : [leaving.signal, signal];
  const any = AbortSignal.any(signals);
  const response = await fetch(`http://127.0.0.1:${server.port}/graphql`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      Accept: "text/event-stream",
    },
    body: bodyOf(query, variables),
    signal: any,
  });
  const events = eventsIn(response, { signal: any });
  return {
    response,
    async next() {
      for (;;) {
        const { value, done } = await events.next();
        if (done === true) throw new Error("the stream has ended");
        // What a browser would not tell anybody has neither.
        if (value.event !== "message" || value.text !== "") return value;
      }
    },
    leave: () => leaving.abort(),
  };
}
