// The REST surface as an OpenAPI 3.1 document, derived from the operation table, the route table
// and the error table. Nothing here is said a second time but what HTTP adds.

import { followLog, streamPath } from "../live.ts";
import { operations, type OperationName } from "../operations.ts";
import type { Operation } from "../operations/operation.ts";
import { pathNames, routes, type Route } from "../routes.ts";
import { errorResponses, ErrorSchema, errorsOf, headers, headersOf } from "./answers.ts";
import { bodyExamples } from "./examples.ts";
import { createSchemas, type JsonSchema, type Schemas } from "./schemas.ts";

/** What a parameter, an operation and a document have that the reference page shows. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description: string;
  readonly schema: JsonSchema;
}

export interface DocumentedOperation {
  readonly operationId: string;
  readonly tags: readonly [string];
  readonly summary: string;
  readonly description: string;
  /** Empty where it is open; missing where tokens alone count. */
  readonly security?: readonly Security[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: { readonly "application/json": Content };
  };
  readonly responses: Readonly<Record<string, JsonSchema>>;
}

type Security = Readonly<Record<string, readonly string[]>>;

interface Content {
  readonly schema: JsonSchema;
  readonly example?: unknown;
}

export interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly responses: Readonly<Record<string, JsonSchema>>;
    readonly headers: Readonly<Record<string, JsonSchema>>;
    readonly securitySchemes: Readonly<Record<string, JsonSchema>>;
  };
  readonly security: readonly Security[];
}

/** In: the version of dbx, and which surfaces are on. Out: the document. */
export function describeApi(options: {
  readonly version: string;
  readonly surfaces: readonly Route["surface"][];
}): OpenApi {
  const { version, surfaces } = options;
  const schemas = createSchemas();
  const paths: Record<string, Record<string, DocumentedOperation>> = {};
  for (const route of routes.filter(({ surface }) => surfaces.includes(surface))) {
    const { path, method } = route;
    paths[path] = { ...paths[path], [method.toLowerCase()]: describe(route, schemas) };
  }
  if (surfaces.includes("rest")) paths[streamPath] = { get: describeStream(schemas) };
  const used = Object.values(paths).flatMap((methods) =>
    Object.values(methods).map(({ tags: [tag] }) => tag),
  );
  return {
    openapi: "3.1.0",
    info: { title: "dbx", version, description: about },
    tags: Object.values(tags).filter(({ name }) => used.includes(name)),
    paths,
    components: {
      schemas: { ...schemas.named, Error: ErrorSchema },
      responses: errorResponses,
      headers,
      securitySchemes,
    },
    security: [{ token: [] }],
  };
}

const securitySchemes = {
  token: {
    type: "http",
    scheme: "bearer",
    description: "A token of `dbx token generate` or `POST /admin/tokens`.",
  },
  master_key: {
    type: "apiKey",
    in: "header",
    name: "X-Admin-Key",
    description:
      "The master key of `dbx config --master-key`, for paths below `/admin/` alone. It counts " +
      "before a token, and is taken in the place of one, too.",
  },
} as const;

const about =
  "An event-sourced, append-only database that proves its history. JSON in and out. Unknown " +
  "members and parameters are refused. Numbers of payloads and states are kept exactly as they " +
  "were sent: read them with a parser that keeps them. HEAD is answered wherever GET is.";

const tags = {
  events: { name: "Events", description: "Appending facts, and reading them back in order." },
  aggregates: { name: "Aggregates", description: "What the events amount to, now and before." },
  staged: { name: "Staging", description: "Events that wait for one commit." },
  schemas: { name: "Schemas", description: "What events of a type must look like." },
  plugins: { name: "Plugins", description: "Whom events are delivered to." },
  queue: { name: "Queue", description: "Deliveries that failed." },
  tokens: { name: "Tokens", description: "Who may ask." },
  remotes: { name: "Other nodes", description: "Whom this node knows, by their keys." },
  server: { name: "Server", description: "The running server and its records." },
} as const;

function tagOf(path: string): string {
  const part = path.split("/").find((each) => !["", "v1", "admin"].includes(each));
  if (part === "export") return tags.aggregates.name;
  const known = Object.entries(tags).find(([name]) => name === part);
  return (known?.[1] ?? tags.server).name;
}

function describe(route: Route, schemas: Schemas): DocumentedOperation {
  const { path, method, operation: name } = route;
  const operation: Operation = operations[name];
  const body = method !== "GET" && method !== "DELETE";
  const conditional = name === "appendEvent";
  const inPath = pathNames(path);
  const takesKey = path.startsWith("/admin/");
  return {
    operationId: name,
    tags: [tagOf(path)],
    summary: operation.summary.replace(/\.$/, ""),
    description: needs(operation, takesKey),
    ...(operation.grant === null ? { security: [] } : {}),
    ...(takesKey ? { security: [{ token: [] }, { master_key: [] }] } : {}),
    parameters: [
      ...parametersOf(operation, schemas, { inPath, inQuery: !body }),
      ...(name === "getAggregate" ? [requestHeaders.ifNoneMatch] : []),
      ...(conditional ? [requestHeaders.ifMatch, requestHeaders.ifNone] : []),
      requestHeaders.requestId,
    ],
    ...(body ? bodyOf(name, schemas, inPath) : {}),
    responses: {
      ...successOf(route, schemas),
      ...errorsOf(operation, { body, conditional, follows: false }),
    },
  };
}

function needs({ grant }: Operation, takesKey: boolean): string {
  if (grant === null) return "Open to everybody.";
  return `Needs a token with the grant \`${grant}\`${takesKey ? ", or the master key" : ""}.`;
}

function parametersOf(
  { input }: Operation,
  schemas: Schemas,
  { inPath, inQuery }: { inPath: readonly string[]; inQuery: boolean },
): Parameter[] {
  return Object.entries(input.properties).flatMap(([name, member]) => {
    const place = inPath.includes(name) ? "path" : "query";
    if (place === "query" && !inQuery) return [];
    const { description = "", ...schema } = schemas.show(member);
    const required = input.required?.includes(name) === true;
    return [{ name, in: place, required, description: String(description), schema }];
  });
}

const header = (name: string, description: string, ...examples: string[]): Parameter => ({
  name,
  in: "header",
  required: false,
  description,
  schema: { type: "string", ...(examples.length === 0 ? {} : { examples }) },
});

const requestHeaders = {
  requestId: header("X-Request-Id", "Your own id of the request, for logs; answered as sent."),
  ifNoneMatch: header(
    "If-None-Match",
    "Tags you have: 304 if one of them is still right.",
    headers.ETag.example,
  ),
  ifMatch: header(
    "If-Match",
    "In place of `expected_version`: the ETag of the aggregate, its version, or `*`.",
    '"1"',
    "*",
  ),
  ifNone: header("If-None-Match", "In place of `expected_version`: `*` for no event yet.", "*"),
  lastEventId: header(
    "Last-Event-ID",
    "The last position that was handled: goes on after it. Browsers send it by themselves.",
  ),
} as const;

/** The members that the path does not name. */
function bodyOf(
  name: OperationName,
  schemas: Schemas,
  inPath: readonly string[],
): Pick<DocumentedOperation, "requestBody"> {
  const { input }: Operation = operations[name];
  const members = Object.entries(input.properties).filter(([member]) => !inPath.includes(member));
  if (members.length === 0) return {};
  const required = input.required?.filter((member) => !inPath.includes(member)) ?? [];
  const { properties: _, required: __, ...rest } = input;
  const own = { ...rest, properties: Object.fromEntries(members), required };
  const example = bodyExamples[name];
  return {
    requestBody: {
      required: required.length > 0,
      content: {
        "application/json": {
          schema: schemas.show(inPath.length === 0 ? input : own),
          ...(example === undefined ? {} : { example }),
        },
      },
    },
  };
}

function successOf(route: Route, schemas: Schemas): Record<string, JsonSchema> {
  const { status, operation, method, surface } = route;
  const { output }: Operation = operations[operation];
  if (status === 204) return { 204: { description: "Done.", headers: headersOf("X-Request-Id") } };
  const { aggregates } = operations.listAggregates.output.properties;
  const isPage = "next_cursor" in (output["properties"] ?? {});
  const isAggregate = output["$id"] === aggregates.items["$id"];
  const isCached = isAggregate && method === "GET";
  const named = headersOf(
    "X-Request-Id",
    ...(isPage ? (["X-Next-Cursor"] as const) : []),
    ...(isAggregate ? (["ETag"] as const) : []),
    ...(isCached || surface === "admin" ? (["Cache-Control"] as const) : []),
  );
  const schema = schemas.show(isPage ? aggregates : output);
  const description = status === 201 ? "Made." : "Done.";
  const success = { description, headers: named, content: { "application/json": { schema } } };
  const unchanged = { description: "What you have is still right.", headers: named };
  const made = method === "PUT" ? { 201: { ...success, description: "Made." } } : {};
  return { [status]: success, ...made, ...(isCached ? { 304: unchanged } : {}) };
}

/** The one operation that answers again and again. */
function describeStream(schemas: Schemas): DocumentedOperation {
  const { summary } = followLog;
  return {
    operationId: "followLog",
    tags: [tags.events.name],
    summary: summary.replace(/\.$/, ""),
    description:
      `${needs(followLog, false)} Server-sent events: the \`data\` of each message is one EventRecord, ` +
      "its `id` the position to go on after. What ends the stream but the client comes as an " +
      "event `error`, whose `data` is one Error.",
    parameters: [
      ...parametersOf(followLog, schemas, { inPath: [], inQuery: true }),
      requestHeaders.lastEventId,
      requestHeaders.requestId,
    ],
    responses: {
      200: {
        description: "Messages until one of the two ends it.",
        headers: headersOf("X-Request-Id", "Cache-Control"),
        content: { "text/event-stream": { schema: { type: "string" } } },
      },
      ...errorsOf(followLog, { body: false, conditional: false, follows: true }),
    },
  };
}
