// The REST surface: binds api/routes.ts to Elysia. Every handler finds the actor, gathers the
// input, makes one call and writes the answer. Elysia routes; it neither parses nor validates,
// because the gate does.

import { Elysia } from "elysia";
import { call } from "../api/call.ts";
import { httpStatusOf, toWire } from "../api/errors.ts";
import { toJson } from "../api/json.ts";
import { sessionPath } from "../api/machine.ts";
import { operations, type OperationName, type Output } from "../api/operations.ts";
import { routes, type Route } from "../api/routes.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import { canonicalize, decodeUtf8 } from "../model/canonical.ts";
import { invalidArgument, notFound, overloaded, unavailable } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { createAsker, type AdminKey } from "./admin-key.ts";
import { answer, answerError } from "./answer.ts";
import type { Bodies } from "./body.ts";
import { asPrecondition, etagOf, isConditional, isKnown } from "./condition.ts";
import type { Cors } from "./cors.ts";
import { createPaths, pathnameOf, patternOf, type Paths } from "./paths.ts";
import { inputOf, requireJson, type PathValues } from "./request.ts";
import type { OpenSession } from "./session.ts";
import type { Mount, Respond, Silence, SurfaceOptions } from "./surface.ts";

export interface RestOptions extends SurfaceOptions {
  /** Which surfaces this listener serves. */
  readonly surfaces: readonly Route["surface"][];
  /** What else it serves: GraphQL, live streams, pages. */
  readonly mounts: readonly Mount[];
  /** Which pages of other origins may ask; null where none may. */
  readonly cors: Cors | null;
  /** The master key of the administration; null where only tokens count. */
  readonly adminKey: AdminKey | null;
  /** Opens sessions for this machine's command line; null on listeners that others can reach. */
  readonly openSession: OpenSession | null;
}

type Handler = (request: Request, params: PathValues | undefined) => Promise<Response>;

/** Operations that need no grant are open to everybody; nobody in particular asks for them. */
const nobody: Actor = { group: "", user: "", grants: [], scope: null, token_id: null };

/**
 * Elysia reads the text of each handler to find out what it has to prepare: whoever takes the
 * context as a whole gets cookies, headers and a second Response, at a third of the throughput
 * (measured). So the handlers name the two things they use.
 */
export function createRest(options: RestOptions) {
  const { openSession, surfaces, mounts } = options;
  const served = routes.filter(({ surface }) => surfaces.includes(surface));
  const session = openSession === null ? [] : [{ method: "POST" as const, path: sessionPath }];
  const paths = createPaths([...served, ...session, ...mounts]);
  const app = new Elysia({ normalize: false, strictPath: true });
  const silence: Silence = (request, seconds) => app.server?.timeout(request, seconds);
  // Of a connection from the front; there is none with a path.
  const portOf = (request: Request) => app.server?.requestIP(request)?.port;
  const guarded = { ...options, silence, portOf };
  const lost = guard(guarded, "unknown", respondToLost(paths, options));
  // What no route takes (odd methods, broken hosts), what a handler could not even refuse, and
  // whatever Elysia itself throws. It counts for those routes only that come after it.
  app.onError(({ code, error, request }) =>
    code === "NOT_FOUND" ? lost(request, undefined) : broken({ error, request }, options),
  );
  for (const route of served) {
    const handler = guard(guarded, route.operation, respondTo(route, options));
    app.route(
      route.method,
      patternOf(route.path),
      ({ request, params }) => handler(request, params),
      unparsed,
    );
  }
  for (const { method, path, name, respond } of mounts) {
    const handler = guard(guarded, name, respond);
    app.route(method, path, ({ request, params }) => handler(request, params), unparsed);
  }
  if (openSession !== null) {
    const handler = guard(guarded, "openSession", respondToSession(openSession, options.bodies));
    app.route("POST", sessionPath, ({ request }) => handler(request, undefined), unparsed);
  }
  app.all("/*", ({ request }) => lost(request, undefined), unparsed);
  return app;
}

const unparsed = { parse: "none" } as const;

/** Everything around an answer: draining, figures, the log line, and the one error shape. */
function guard(
  options: RestOptions & { silence: Silence; portOf: (request: Request) => number | undefined },
  operation: string,
  respond: Respond,
): Handler {
  const { figures, log, draining, nameRequest, portOf, rates, silence, cors } = options;
  return async (request, params) => {
    const started = performance.now();
    const request_id = nameRequest(request.headers.get("x-request-id"));
    figures.running++;
    let response: Response;
    try {
      if (draining()) throw unavailable("dbx is stopping");
      rates.peer(portOf(request));
      response = await respond({ request, params, request_id, silence });
    } catch (thrown) {
      response = refuse(thrown, { request, request_id, operation, log });
    } finally {
      figures.running--;
    }
    if (cors !== null) cors.mark(request, response);
    const { status } = response;
    figures.count(status);
    const ms = Math.round((performance.now() - started) * 1000) / 1000;
    log.debug("request", { request_id, operation, status, ms });
    return response;
  };
}

/** The answer of a request whose own handler failed outside of all that it guards. */
const broken = (
  { error, request }: { error: unknown; request: Request },
  { nameRequest, log, cors }: RestOptions,
): Response => {
  const request_id = nameRequest(request.headers.get("x-request-id"));
  const refused = refuse(error, { request, request_id, operation: "unknown", log });
  return cors === null ? refused : cors.mark(request, refused);
};

function refuse(
  thrown: unknown,
  options: { request: Request; request_id: string; operation: string; log: Log },
): Response {
  const { request, request_id, operation, log } = options;
  const told = toWire(isGone(thrown) ? goneAway(thrown) : thrown);
  const error = isConditional(request.headers) ? asPrecondition(told) : told;
  const fields = { request_id, operation, code: error.code };
  if (error.code === "internal") {
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

/** What reading a body throws when the client went away; nobody is there to see the answer. */
const isGone = (thrown: unknown): boolean =>
  thrown instanceof DOMException && thrown.name === "AbortError";
const goneAway = (cause: unknown) =>
  invalidArgument("the request ended before its body did", {}, { cause });

function respondTo(route: Route, options: RestOptions): Respond {
  const { dbx, figures, rates } = options;
  const { operation } = route;
  const open = operations[operation].grant === null;
  const ask = createAsker(options);
  const actorOf = ({ headers }: Request) => (open ? nobody : ask(headers, route.path));
  const reader = inputOf(route, options);
  const write = writerOf(route);
  return async ({ request, params, request_id, silence }) => {
    const before = await actorOf(request);
    rates.token(before);
    if (!open && figures.running > limits.requests_running_max) throw tooBusy(figures.running);
    const body = reader.body(request);
    const bytes = body === null ? nothing : await body;
    // A client may hold its body back for minutes: a token that was revoked meanwhile is no token,
    // and a master key that was replaced is none either.
    const actor = body === null ? before : await actorOf(request);
    const input = reader.input(request, params, bytes);
    // Silence ends idle clients, never the work that one waits for: `verify` may take minutes.
    silence(request, 0);
    try {
      const output = await call(dbx, { operation, input, actor });
      const { text, status, headers } = write(output, request);
      return answer(text, { status, request_id, ...(headers === undefined ? {} : { headers }) });
    } finally {
      silence(request, limits.idle_seconds_max);
    }
  };
}

const tooBusy = (running: number) =>
  overloaded("too many requests at once; try again", {
    running,
    limit: limits.requests_running_max,
  });

const nothing = new Uint8Array();

interface Written {
  readonly text: string | null;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

// Answers of the administration may hold tokens, which no cache should keep.
const uncached = { "Cache-Control": "no-store" } as const;

// What a token may read is for whoever holds it, and may be hidden or change at any time: a cache
// asks again before each use.
const revalidated = { "Cache-Control": "private, no-cache" } as const;

/**
 * How a route's output is written: as it is, not at all, or a list alone with its cursor beside it.
 */
function writerOf(route: Route): (output: Output<OperationName>, request: Request) => Written {
  const { status, method, surface } = route;
  const { output: schema } = operations[route.operation];
  if (status === 204) return () => ({ text: null, status });
  const list = operations.listAggregates.output.properties.aggregates;
  // A snapshot has a state as well, but nobody can read it again by this path.
  const tagged = schema === operations.getAggregate.output;
  return (output, request) => {
    if (isPage(output)) {
      const { aggregates, next_cursor } = output;
      const text = toJson(list, aggregates);
      return next_cursor === null
        ? { text, status }
        : { text, status, headers: { "X-Next-Cursor": next_cursor } };
    }
    const text = toJson(schema, output);
    if (isNew(output)) return { text, status: 201, headers: uncached };
    if (tagged && isAggregate(output)) {
      const ETag = etagOf(output.version, text);
      if (method !== "GET") return { text, status, headers: { ETag } };
      const headers = { ETag, ...revalidated };
      const known = isKnown(request.headers.get("if-none-match"), ETag);
      return known ? { text: null, status: 304, headers } : { text, status, headers };
    }
    return surface === "admin" ? { text, status, headers: uncached } : { text, status };
  };
}

const isAggregate = (output: Output<OperationName>): output is Output<"getAggregate"> =>
  typeof output === "object" && output !== null && "state" in output;

/** What a PUT has made, and not replaced. */
const isNew = (output: Output<OperationName>): boolean =>
  typeof output === "object" && output !== null && "created" in output && output.created === true;

const isPage = (output: Output<OperationName>): output is Output<"listAggregates"> =>
  typeof output === "object" && output !== null && "next_cursor" in output;

function respondToSession(openSession: OpenSession, bodies: Bodies): Respond {
  return async ({ request, request_id }) => {
    requireJson(request);
    const bytes = await bodies.read(request, { bytes_max: limits.admin_bytes_max });
    const session = openSession(JSON.parse(canonicalize(decodeUtf8(bytes))));
    return answer(JSON.stringify(session), { status: 200, request_id, headers: uncached });
  };
}

/**
 * A path or method that no route has. Where tokens are needed, only a token learns which of the two
 * it is.
 */
function respondToLost(
  paths: Paths,
  options: Pick<RestOptions, "authenticate" | "adminKey" | "cors">,
): Respond {
  const { cors } = options;
  const ask = createAsker(options);
  return async ({ request, request_id }) => {
    const { method, url, headers } = request;
    const path = pathnameOf(url);
    // Browsers send no token with it, and which paths there are is no secret.
    const preflight = cors === null ? null : cors.preflight(request, paths.methodsOf(path));
    if (preflight !== null) return answer(null, { status: 204, request_id, headers: preflight });
    if (paths.needToken(path)) await ask(headers, path);
    const methods = paths.methodsOf(path);
    const allow = methods.join(", ");
    // A method that the path takes comes here when the path was written with `..` in it.
    if (allow === "" || (method !== "OPTIONS" && methods.includes(method))) {
      throw notFound("no such path", { method, path: path.slice(0, 200) });
    }
    if (method === "OPTIONS")
      return answer(null, { status: 204, request_id, headers: { Allow: allow } });
    throw invalidArgument(`this path takes ${allow}, not ${method}`, {
      reason: "method_not_allowed",
      method,
      allow,
    });
  };
}
