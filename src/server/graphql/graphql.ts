// The GraphQL surface: `/graphql` and its page. Here a request is let in and read; nothing of the
// document is looked at before its token. What executes it is loaded when a server begins to serve.

import { toWire } from "../../api/errors.ts";
import type { Actor } from "../../model/actor.ts";
import { DbxError, overloaded } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { piecesOf } from "../answer.ts";
import { requireNoCondition } from "../condition.ts";
import { holderOf } from "../credentials.ts";
import { queryOf, requireJson } from "../request.ts";
import type { Asked, Mount, Respond, SurfaceOptions } from "../surface.ts";
import { createTurns, type Exchange, type Parameters } from "./exchange.ts";
import { parametersOfBody, parametersOfUrl } from "./parameters.ts";
import { refusal } from "./refusal.ts";

export function graphqlMounts(options: SurfaceOptions): Mount[] {
  // Begun at once, because it takes some hundred ms; a failure is told to whoever asks.
  const loading = import("./executor.ts").then(({ createExecutor }) => createExecutor(options));
  loading.catch(() => null);
  const { authenticate, bodies, figures, rates } = options;
  const actorOf = (request: Request) => holderOf(request.headers, authenticate);
  const execute = async (parameters: Parameters, asked: Asked): Promise<Response> => {
    const run = await loading;
    // Silence ends idle clients, never the work that one waits for, or a subscription.
    asked.silence(asked.request, 0);
    const exchange = exchangeOf(parameters, { ...asked, actorOf });
    const response = await run(exchange);
    const rest = () => asked.silence(asked.request, limits.idle_seconds_max);
    if (isStream(response)) exchange.ended.signal.addEventListener("abort", rest, { once: true });
    else rest();
    // Nobody takes the body of an answer to HEAD.
    if (asked.request.method === "HEAD") exchange.ended.abort();
    return response;
  };
  const admit = (request: Request) => {
    rates.token(actorOf(request));
    const { running } = figures;
    if (running > limits.requests_running_max) throw tooBusy(running);
    requireNoCondition(request.headers);
  };
  const post: Respond = async (asked) => {
    const { request } = asked;
    admit(request);
    requireJson(request);
    const bytes = await bodies.read(request, { bytes_max: limits.graphql_bytes_max });
    // A client may hold its body back for minutes: a token that was revoked meanwhile is no token.
    actorOf(request);
    return execute(parametersOfBody(bytes), asked);
  };
  const get: Respond = (asked) => {
    const { request } = asked;
    if (wantsPage(request)) return page(asked);
    admit(request);
    return execute(parametersOfUrl(request.url), asked);
  };
  return [
    { method: "POST", path: "/graphql", name: "graphql", respond: inOwnShape(post) },
    { method: "GET", path: "/graphql", name: "graphql", respond: inOwnShape(get) },
    { method: "GET", path: "/graphql/playground", name: "graphqlPage", respond: page },
  ];
}

const page: Respond = async ({ request, request_id }) => {
  const { pageOf } = await import("./page.ts");
  const { bytes, headers } = pageOf();
  // Of the answer to HEAD the server takes the length alone.
  const body = request.method === "HEAD" ? bytes : piecesOf(bytes);
  return new Response(body, { headers: { ...headers, "X-Request-Id": request_id } });
};

/**
 * A browser that opens or reloads the page names HTML; the page keeps what is typed in its
 * address, and nothing of that is executed here. Whoever sends a token, or a query without naming
 * HTML, is a client.
 */
function wantsPage({ headers, url }: Request): boolean {
  const accept = headers.get("accept") ?? "*/*";
  if (/\btext\/html\b/i.test(accept)) return !headers.has("authorization");
  return !new URLSearchParams(queryOf(url)).has("query") && /\*\/\*|text\/\*/.test(accept);
}

/** What is refused before the executor has it, in the shape that clients of GraphQL know. */
const inOwnShape = (respond: Respond): Respond => {
  return async (asked) => {
    try {
      return await respond(asked);
    } catch (thrown) {
      if (thrown instanceof DbxError) return refusal(toWire(thrown), asked);
      throw thrown;
    }
  };
};

const exchangeOf = (
  parameters: Parameters,
  { request, request_id, actorOf }: Asked & { actorOf: (request: Request) => Actor },
): Exchange => ({
  ...parameters,
  method: request.method === "POST" ? "POST" : "GET",
  accept: (request.headers.get("accept") ?? "").toLowerCase(),
  request_id,
  actorOf: () => actorOf(request),
  gone: request.signal,
  ended: new AbortController(),
  inTurn: createTurns(),
  waiting: 0,
  beat: () => {},
});

/** An answer of one piece has its length only once it is sent. */
const isStream = ({ headers }: Response): boolean =>
  headers.get("content-type") === "text/event-stream";

const tooBusy = (running: number) =>
  overloaded("too many requests at once; try again", {
    running,
    limit: limits.requests_running_max,
  });
