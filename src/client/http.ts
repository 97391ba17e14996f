// Dbx over REST: the operation table sent through the route table. Numbers stay exact both ways,
// errors are the very ones the engine threw. node:http instead of fetch, because fetch would hand
// requests, and the tokens in them, to whatever proxy the environment names.

import { Agent, request, type IncomingMessage } from "node:http";
import { rootCertificates } from "node:tls";
import { Agent as TlsAgent, request as requestOverTls } from "node:https";
import type { TSchema } from "@sinclair/typebox";
import type { Actor } from "../model/actor.ts";
import { decode } from "../api/decode.ts";
import type { Dbx } from "../api/dbx.ts";
import { fromWire } from "../api/errors.ts";
import { fromJson, levelsAround, toJson } from "../api/json.ts";
import { operations, type Input, type OperationName, type Output } from "../api/operations.ts";
import { pathNames, routes, type Route } from "../api/routes.ts";
import { canonicalize, decodeUtf8 } from "../model/canonical.ts";
import { assert, unavailable, type DbxError } from "../model/error.ts";

/** Where a server is. */
export interface Endpoint {
  /** An IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
  /** What stands before each path, without a slash at its end: a proxy's part of it. */
  readonly prefix?: string;
  /** Null or missing: in clear. `ca`: certificates in PEM to trust besides the usual ones. */
  readonly tls?: { readonly ca: string | null } | null;
}

export interface ClientOptions extends Endpoint {
  readonly token: string;
  /** How long the connection may be silent before the server counts as gone. */
  readonly idle_ms_max: number;
}

export interface Client {
  /** The actor is whoever the token stands for; the one handed in is ignored. */
  readonly dbx: Dbx;
  readonly close: () => void;
}

export function createClient(options: ClientOptions): Client {
  const agent = new (options.tls ? TlsAgent : Agent)({ keepAlive: true });
  const on =
    <Name extends OperationName>(name: Name) =>
    (_actor: Actor, input: Input<Name>): Promise<Output<Name>> =>
      ask(name, input, { ...options, agent });
  const dbx: Dbx = {
    health: on("health"),
    appendEvent: on("appendEvent"),
    appendEvents: on("appendEvents"),
    importEvents: on("importEvents"),
    createAggregate: on("createAggregate"),
    listAggregates: on("listAggregates"),
    getAggregate: on("getAggregate"),
    listEvents: on("listEvents"),
    readLog: on("readLog"),
    verifyAggregate: on("verifyAggregate"),
    exportAggregates: on("exportAggregates"),
    createSnapshot: on("createSnapshot"),
    archiveAggregate: on("archiveAggregate"),
    restoreAggregate: on("restoreAggregate"),
    removeAggregate: on("removeAggregate"),
    eraseAggregate: on("eraseAggregate"),
    stageEvent: on("stageEvent"),
    listStaged: on("listStaged"),
    commitStaged: on("commitStaged"),
    discardStaged: on("discardStaged"),
    createSchema: on("createSchema"),
    listSchemas: on("listSchemas"),
    getSchema: on("getSchema"),
    changeSchema: on("changeSchema"),
    removeSchemaEvent: on("removeSchemaEvent"),
    applySchemas: on("applySchemas"),
    validateEvent: on("validateEvent"),
    listPositions: on("listPositions"),
    rootsAt: on("rootsAt"),
    readForeign: on("readForeign"),
    listPlugins: on("listPlugins"),
    putPlugin: on("putPlugin"),
    enablePlugin: on("enablePlugin"),
    disablePlugin: on("disablePlugin"),
    removePlugin: on("removePlugin"),
    testPlugins: on("testPlugins"),
    replayPlugin: on("replayPlugin"),
    listQueue: on("listQueue"),
    clearQueue: on("clearQueue"),
    retryQueue: on("retryQueue"),
    verifyLog: on("verifyLog"),
    listAudit: on("listAudit"),
    issueToken: on("issueToken"),
    listTokens: on("listTokens"),
    revokeToken: on("revokeToken"),
    refreshToken: on("refreshToken"),
    listRemotes: on("listRemotes"),
    putRemote: on("putRemote"),
    removeRemote: on("removeRemote"),
    serverStatus: on("serverStatus"),
    reloadConfig: on("reloadConfig"),
    rotateKey: on("rotateKey"),
  };
  return { dbx, close: () => agent.destroy() };
}

type Connection = ClientOptions & { readonly agent: Agent };

async function ask<Name extends OperationName>(
  name: Name,
  input: Input<Name>,
  connection: Connection,
): Promise<Output<Name>> {
  const route = routes.find(({ operation }) => operation === name);
  assert(route !== undefined, `${name} has a route`);
  const schema = operations[name];
  const { path, body } = requestFor(route, { schema: schema.input, input });
  const answer = await send({ ...connection, method: route.method, path, body });
  if (answer.status < 200 || answer.status > 299) throw errorOf(answer, connection);
  return decode(schema.output, inOrder(schema.output, valueOf(schema.output, answer)));
}

/** Names in the path are taken out of the input; the rest is the query of a GET or the body. */
function requestFor(
  route: Route,
  { schema, input }: { schema: TSchema; input: unknown },
): { path: string; body: string | null } {
  const names = pathNames(route.path);
  const members: Record<string, unknown> = typeof input === "object" ? { ...input } : {};
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(String(members[name])),
  );
  for (const name of names) delete members[name];
  const inQuery = route.method === "GET" || route.method === "DELETE";
  if (!inQuery) return { path, body: toJson(schema, members) };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(members)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return { path: query.size === 0 ? path : `${path}?${query.toString()}`, body: null };
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly next_cursor: string | null;
}

/** One request, one answer. Throws `unavailable` when the server does not answer. */
export function send(
  options: Endpoint & {
    token?: string;
    idle_ms_max: number;
    agent?: Agent;
    method: string;
    path: string;
    body: string | null;
  },
): Promise<Answer> {
  const { host, port, prefix = "", tls, token, idle_ms_max, agent, method, body } = options;
  const headers: Record<string, string> = { accept: "application/json" };
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (body !== null) {
    headers["content-type"] = "application/json";
    headers["content-length"] = String(Buffer.byteLength(body));
  }
  return new Promise((done, fail) => {
    const gone = (cause: unknown) => fail(noAnswer(options, cause));
    const asked = (tls ? requestOverTls : request)(
      {
        ...{ host, port, method, path: prefix + options.path, headers },
        ...(agent === undefined ? {} : { agent }),
        ...(tls?.ca ? { ca: [...rootCertificates, tls.ca] } : {}),
      },
      (response) => {
        response.on("error", gone);
        readAll(response).then(
          (text) =>
            done({
              status: response.statusCode ?? 0,
              text,
              next_cursor: headerOf(response, "x-next-cursor"),
            }),
          gone,
        );
      },
    );
    asked.setTimeout(idle_ms_max, () => {
      asked.destroy(new Error(`silent for ${idle_ms_max} ms`));
    });
    asked.on("error", gone);
    asked.end(body ?? undefined);
  });
}

function noAnswer({ host, port }: Endpoint, cause: unknown): DbxError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : null;
  const why = code === null ? "" : ` (${code})`;
  const details = { host, port, ...(code === null ? {} : { reason: code }) };
  return unavailable(`no answer from ${host}:${port}${why}`, details, { cause });
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return decodeUtf8(Buffer.concat(chunks));
}

function headerOf(response: IncomingMessage, name: string): string | null {
  const value = response.headers[name];
  return typeof value === "string" && value !== "" ? value : null;
}

function errorOf({ status, text }: Answer, { host, port }: Connection): DbxError {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not our shape: below it becomes an error that shows the status, which is all there is to
    // know.
    answer = null;
  }
  const error = fromWire(answer);
  if (error !== undefined) return error;
  return unavailable(`${host}:${port} answered with status ${status}, but not as dbx does`, {
    status,
  });
}

/** An output with `next_cursor` comes as its list alone, with the cursor in a header. */
function valueOf(schema: TSchema, { status, text, next_cursor }: Answer): unknown {
  if (status === 204 || text === "") return null;
  // One more, because a state keeps a payload that is no object as a member of its own.
  const canonical = canonicalize(text, { envelope: levelsAround(schema) + 1 });
  const properties: Readonly<Record<string, TSchema>> = schema["properties"] ?? {};
  if (!Object.hasOwn(properties, "next_cursor")) return fromJson(schema, canonical);
  const list = Object.keys(properties).find((name) => name !== "next_cursor");
  assert(list !== undefined, "a page has a list");
  return { [list]: fromJson(properties[list], canonical), next_cursor };
}

/** Canonical text has its members sorted; people see the same order whoever answered. */
function inOrder(schema: TSchema | undefined, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => inOrder(schema?.["items"], entry));
  const properties: Readonly<Record<string, TSchema>> | undefined = schema?.["properties"];
  if (properties === undefined || typeof value !== "object" || value === null) return value;
  const rank = ([name]: readonly [string, unknown]): number => {
    const at = Object.keys(properties).indexOf(name);
    return at === -1 ? Infinity : at;
  };
  const members = Object.entries(value).map(([name, inner]): [string, unknown] => [
    name,
    inOrder(properties[name], inner),
  ]);
  return Object.fromEntries(members.sort((left, right) => rank(left) - rank(right) || 0));
}
