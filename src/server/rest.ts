// The REST surface: binds api/routes.ts to Elysia. Every handler finds the actor, gathers the input, makes one
// call and writes the answer. Elysia routes; it neither parses nor validates, because the gate does.

import { Elysia } from "elysia";
import { call } from "../api/call.ts";
import type { Dbx } from "../api/dbx.ts";
import { httpStatusOf, toWire } from "../api/errors.ts";
import { toJson } from "../api/json.ts";
import { sessionPath } from "../api/machine.ts";
import { operations, type OperationName, type Output } from "../api/operations.ts";
import { routes, type Route } from "../api/routes.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import { canonicalize, decodeUtf8 } from "../model/canonical.ts";
import { DbxError, invalidArgument, notFound, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { answer, answerError, requestIdOf } from "./answer.ts";
import type { Bodies } from "./body.ts";
import { tokenOf } from "./credentials.ts";
import type { Figures } from "./figures.ts";
import { createPaths, pathnameOf, patternOf, type Paths } from "./paths.ts";
import { inputOf, requireJson, type PathValues } from "./request.ts";
import type { OpenSession } from "./session.ts";

export interface RestOptions {
  readonly dbx: Dbx;
  readonly authenticate: (token: string) => Actor;
  /** Largest payload now: it may change while the server runs. */
  readonly payload_limit: () => number;
  readonly bodies: Bodies;
  readonly figures: Figures;
  readonly log: Log;
  readonly draining: () => boolean;
  /** Which surfaces this listener serves. */
  readonly surfaces: readonly Route["surface"][];
  /** Opens sessions for this machine's command line; null on listeners that others can reach. */
  readonly openSession: OpenSession | null;
}

/** What a handler needs of Elysia's context. */
interface Context {
  readonly request: Request;
  readonly params?: PathValues;
}
type Handler = (context: Context) => Promise<Response>;
/** Makes the answer of a request that may be answered; what it throws becomes the error shape. */
type Respond = (context: Context, request_id: string) => Promise<Response> | Response;

/** Operations that need no grant are open to everybody; nobody in particular asks for them. */
const nobody: Actor = { group: "", user: "", grants: [], token_id: null };

export function createRest(options: RestOptions) {
  const served = routes.filter(({ surface }) => options.surfaces.includes(surface));
  const paths = createPaths([
    ...served,
    ...(options.openSession === null ? [] : [{ method: "POST" as const, path: sessionPath }]),
  ]);
  const app = new Elysia({ normalize: false, strictPath: true });
  for (const route of served) {
    const handler = guard(options, route.operation, respondTo(route, options));
    app.route(route.method, patternOf(route.path), handler, { parse: "none" });
  }
  if (options.openSession !== null) {
    const respond = respondToSession(options.openSession, options.bodies);
    app.route("POST", sessionPath, guard(options, "openSession", respond), { parse: "none" });
  }
  const lost = guard(options, "unknown", (context, request_id) =>
    respondToLost(context.request, { request_id, paths, authenticate: options.authenticate }),
  );
  app.all("/*", lost, { parse: "none" });
  // What no route takes (odd methods, broken hosts) and whatever Elysia itself throws.
  app.onError(({ request }) => lost({ request }));
  return app;
}

/** Everything around an answer: draining, figures, the log line, and the one error shape. */
function guard(options: RestOptions, operation: string, respond: Respond): Handler {
  const { figures, log, draining } = options;
  return async (context) => {
    const started = performance.now();
    const request_id = requestIdOf(context.request.headers.get("x-request-id"));
    figures.running++;
    let response: Response;
    try {
      if (draining()) throw unavailable("dbx is stopping");
      response = await respond(context, request_id);
    } catch (thrown) {
      response = refuse(thrown, { request_id, operation, log });
    }
    figures.running--;
    const { status } = response;
    figures.count(status);
    const ms = Math.round((performance.now() - started) * 1000) / 1000;
    log.debug("request", { request_id, operation, status, ms });
    return response;
  };
}

function refuse(
  thrown: unknown,
  options: { request_id: string; operation: string; log: Log },
): Response {
  const { request_id, operation, log } = options;
  const error = toWire(thrown);
  const fields = { request_id, operation, code: error.code };
  if (!(thrown instanceof DbxError)) {
    const stack = thrown instanceof Error ? thrown.stack : String(thrown);
    log.error("request failed", { ...fields, stack });
  } else if (httpStatusOf(error) >= 500) {
    log.warn("request failed", { ...fields, message: error.message });
  }
  const allow = error.details["allow"];
  return answerError(error, {
    request_id,
    ...(typeof allow === "string" ? { headers: { Allow: allow } } : {}),
  });
}

function respondTo(route: Route, options: RestOptions): Respond {
  const { dbx, authenticate } = options;
  const { operation, status } = route;
  const open = operations[operation].grant === null;
  const readInput = inputOf(route, options);
  const write = writerOf(route);
  return async ({ request, params }, request_id) => {
    const actor = open ? nobody : authenticate(tokenOf(request.headers.get("authorization")));
    const input = await readInput(request, params);
    const output = await call(dbx, { operation, input, actor });
    const { text, headers } = write(output);
    return answer(text, { status, request_id, ...(headers === undefined ? {} : { headers }) });
  };
}

interface Written {
  readonly text: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

// Answers of the administration may hold tokens, which no cache should keep.
const uncached = { "Cache-Control": "no-store" } as const;

/** How a route's output is written: as it is, not at all, or a list alone with its cursor beside it. */
function writerOf(route: Route): (output: Output<OperationName>) => Written {
  const { output: schema } = operations[route.operation];
  if (route.status === 204) return () => ({ text: null });
  const list = operations.listAggregates.output.properties.aggregates;
  return (output) => {
    if (isPage(output)) {
      const { aggregates, next_cursor } = output;
      const text = toJson(list, aggregates);
      return next_cursor === null ? { text } : { text, headers: { "X-Next-Cursor": next_cursor } };
    }
    const text = toJson(schema, output);
    return route.surface === "admin" ? { text, headers: uncached } : { text };
  };
}

const isPage = (output: Output<OperationName>): output is Output<"listAggregates"> =>
  typeof output === "object" && output !== null && "next_cursor" in output;

function respondToSession(openSession: OpenSession, bodies: Bodies): Respond {
  return async ({ request }, request_id) => {
    requireJson(request);
    const bytes = await bodies.read(request, { bytes_max: limits.admin_bytes_max });
    const session = openSession(JSON.parse(canonicalize(decodeUtf8(bytes))));
    return answer(JSON.stringify(session), { status: 200, request_id, headers: uncached });
  };
}

/** A path or method that no route has. Where tokens are needed, only a token learns which of the two it is. */
function respondToLost(
  request: Request,
  options: { request_id: string; paths: Paths; authenticate: (token: string) => Actor },
): Response {
  const { request_id, paths, authenticate } = options;
  const path = pathnameOf(request.url);
  if (paths.needToken(path)) authenticate(tokenOf(request.headers.get("authorization")));
  const allow = paths.methodsOf(path).join(", ");
  const { method } = request;
  if (allow === "") throw notFound("no such path", { method, path: path.slice(0, 200) });
  if (method === "OPTIONS")
    return answer(null, { status: 204, request_id, headers: { Allow: allow } });
  throw invalidArgument(`this path takes ${allow}, not ${method}`, {
    reason: "method_not_allowed",
    method,
    allow,
  });
}
