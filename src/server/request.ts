// A request's input, gathered: names in the path, then the query of a GET or the JSON body of
// anything else. Only shape is judged here (encoding, media type, names given twice); whether it
// fits is the gate's question.

import { fromJson, fromStrings, levelsAround } from "../api/json.ts";
import { operations, type OperationName } from "../api/operations.ts";
import { pathNames, type Route } from "../api/routes.ts";
import { canonicalize, decodeUtf8 } from "../model/canonical.ts";
import { invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Bodies } from "./body.ts";
import { requireNoCondition, withCondition } from "./condition.ts";

/** What the router found in the path, decoded. */
export type PathValues = Readonly<Record<string, string>>;

/**
 * The two steps of reading a request's input, so that only the wait for its body is asynchronous.
 */
export interface InputReader {
  /** The body where the route has one. Throws before reading what cannot be right. */
  readonly body: (request: Request) => Promise<Uint8Array> | Uint8Array | null;
  readonly input: (request: Request, path: PathValues | undefined, body: Uint8Array) => unknown;
}

/** How to read the input of one route. */
export function inputOf(
  route: Route,
  options: { readonly bodies: Bodies; readonly payload_limit: () => number },
): InputReader {
  const { operation, method } = route;
  const names = pathNames(route.path);
  const { input: schema } = operations[operation];
  if (method === "GET" || method === "DELETE") {
    return {
      body(request) {
        if (method === "DELETE") requireNoCondition(request.headers);
        return null;
      },
      input(request, path) {
        const query = queryOf(request.url);
        const given = query === "" ? {} : fromStrings(schema, pairsOf(query));
        return names.length === 0 ? given : withPath(given, pathOf(request.url, path, names));
      },
    };
  }
  const bytesMax = bytesMaxOf(operation, options.payload_limit);
  // The depth of a payload is its own, not that of the body it comes in.
  const envelope = levelsAround(schema);
  // A PUT names what it puts, and its body may say the same.
  const repeats = method === "PUT";
  const conditional = operation === "appendEvent";
  const optional = names.length > 0 || schema.required === undefined;
  return {
    body(request) {
      const query = queryOf(request.url);
      if (query !== "") throw unknownParameter(pairsOf(query)[0]?.[0] ?? query);
      requireJson(request);
      if (!conditional) requireNoCondition(request.headers);
      return options.bodies.read(request, { bytes_max: bytesMax() });
    },
    input(request, path, bytes) {
      const empty = bytes.length === 0 && optional;
      const body = empty ? {} : fromJson(schema, canonicalize(decodeUtf8(bytes), { envelope }));
      if (names.length > 0) return withPath(body, pathOf(request.url, path, names), repeats);
      return conditional ? withCondition(body, request.headers) : body;
    },
  };
}

/**
 * A payload above `payload_limit` is the engine's refusal, which counts canonical bytes. A body is
 * ours to refuse, once it is larger than a payload within the limit has any reason to be.
 */
function bytesMaxOf(operation: OperationName, payload_limit: () => number): () => number {
  if (carriesMany.includes(operation)) return () => limits.batch_bytes_max;
  if (carriesPayload.includes(operation))
    return () => payload_limit() * spelling + limits.envelope_bytes_max;
  if (carriesSchema.includes(operation)) return () => limits.schema_body_bytes_max;
  return () => limits.admin_bytes_max;
}

const carriesPayload: readonly OperationName[] = ["appendEvent", "stageEvent", "validateEvent"];
const carriesSchema: readonly OperationName[] = ["createSchema", "changeSchema"];
const carriesMany: readonly OperationName[] = [
  ...(["appendEvents", "importEvents", "applySchemas", "rootsAt"] as const),
];

/**
 * How much longer than its canonical form a payload may be written: many clients escape all but
 * ASCII, where `é` takes six bytes for two. Indentation has room in it as well.
 */
const spelling = 3;

/** The text after `?`, undecoded. */
export function queryOf(url: string): string {
  const at = url.indexOf("?");
  return at === -1 ? "" : url.slice(at + 1);
}

/**
 * Names and values of a query. Throws `invalid_argument` for broken encoding and names given twice.
 */
export function pairsOf(query: string): [string, string][] {
  const pairs: [string, string][] = [];
  const seen = new Set<string>();
  // The parser of HTTP bounds the request line, and with it this loop, at 16 KiB.
  for (const part of query.split("&")) {
    if (part === "") continue;
    const at = part.indexOf("=");
    const name = unescape(at === -1 ? part : part.slice(0, at));
    if (seen.has(name)) {
      throw invalidArgument(`the query parameter ${name} is given twice`, { path: `/${name}` });
    }
    seen.add(name);
    pairs.push([name, unescape(at === -1 ? "" : part.slice(at + 1))]);
  }
  return pairs;
}

/** Percent-decodes a part of a query, in which `+` is a blank. */
function unescape(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    throw invalidArgument("the query is not valid percent-encoded UTF-8", {}, { cause });
  }
}

const unknownParameter = (name: string) =>
  invalidArgument(`unknown query parameter ${name}: this path takes none`, { path: `/${name}` });

const replacement = "\ufffd";

/**
 * The router decodes leniently: what is no UTF-8 became U+FFFD. So a value with that character
 * counts only where the path, decoded strictly, has it as well.
 */
function pathOf(url: string, path: PathValues | undefined, names: readonly string[]): PathValues {
  const values: Record<string, string> = {};
  for (const name of names) {
    const value = path?.[name];
    if (typeof value !== "string" || (value.includes(replacement) && !holdsReplacement(url))) {
      throw invalidArgument("the path is not valid percent-encoded UTF-8", { path: `/${name}` });
    }
    values[name] = value;
  }
  return values;
}

function holdsReplacement(url: string): boolean {
  try {
    return decodeURIComponent(url.split("?", 1)[0] ?? "").includes(replacement);
  } catch {
    // Not decodable at all: nothing in it was meant as U+FFFD.
    return false;
  }
}

/** The members of a body or query, and those of the path, none of which may be given twice. */
function withPath(given: unknown, path: PathValues, repeats = false): unknown {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw invalidArgument("the input must be an object", { path: "" });
  }
  const members: Readonly<Record<string, unknown>> = { ...given };
  for (const [name, value] of Object.entries(path)) {
    if (repeats && members[name] === value) continue;
    if (repeats && Object.hasOwn(members, name)) {
      throw invalidArgument(`${name} must be the one in the path`, { path: `/${name}` });
    }
    if (Object.hasOwn(members, name)) {
      throw invalidArgument(`unknown member ${name}: the path names it`, { path: `/${name}` });
    }
  }
  return { ...given, ...path };
}

/** `application/json` or `application/…+json`; a charset, if any, is UTF-8. */
const jsonType = /^application\/(?:[\w.+-]+\+)?json *(?:; *charset="?utf-?8"? *)?;? *$/i;

/** Throws, with HTTP's own status for it, unless the body says that it is JSON. */
export function requireJson(request: Request): void {
  const type = request.headers.get("content-type");
  if (type === "application/json" || (type !== null && jsonType.test(type))) return;
  // Without a body there is nothing to misread.
  if (type === null && request.body === null) return;
  throw invalidArgument("expected a request with `Content-Type: application/json`", {
    reason: "unsupported_media_type",
    ...(type === null ? {} : { content_type: type.slice(0, 100) }),
  });
}
