// GraphQL Yoga, as Elysia's plugin brings it, reduced to what dbx leaves to it: finding the
// operation, validation, execution. Requests come to it read and authorized, and its results are
// written by us, because it would read and write numbers as doubles.

import { yoga } from "@elysiajs/graphql-yoga";
import { Elysia } from "elysia";
import {
  getOperationAST,
  type DocumentNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from "graphql";
import type { Plugin } from "graphql-yoga";
import { assert, invalidArgument } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { SurfaceOptions } from "../surface.ts";
import { parseDocument, requireAffordable, requireUnconditional } from "./document.ts";
import { answerEvents } from "./events.ts";
import type { Exchange } from "./exchange.ts";
import { refusal } from "./refusal.ts";
import { acceptsEvents, answerResult } from "./result.ts";
import { executableSchema } from "./schema.ts";
import { variablesOf } from "./variables.ts";

export type Execute = (exchange: Exchange) => Promise<Response>;

type Needed = Pick<SurfaceOptions, "dbx" | "live" | "stopping" | "log" | "page_sizes">;

export function createExecutor(options: Needed): Execute {
  const exchanges = new WeakMap<Request, Exchange>();
  const exchangeOf = (request: Request): Exchange => {
    const exchange = exchanges.get(request);
    assert(exchange !== undefined, "each request given to Yoga has its exchange");
    return exchange;
  };
  const app = new Elysia().use(
    yoga({
      schema: executableSchema(options),
      context: ({ request }) => ({ exchange: exchangeOf(request) }),
      plugins: [ourOwn(options, exchangeOf)],
      parserCache: { documentCache: createDocuments(), errorCache: forgetful },
      ...{ graphiql: false, landingPage: false, maskedErrors: false },
      ...{ logging: false, multipart: false, batching: false },
    }),
  );
  return async (exchange) => {
    const request = new Request("http://localhost/graphql", { method: exchange.method });
    exchanges.set(request, exchange);
    return app.handle(request);
  };
}

/** What the hooks before execution are given, and may change. */
interface Executed {
  readonly schema: GraphQLSchema;
  readonly document: DocumentNode;
  readonly contextValue: { readonly exchange: Exchange };
  variableValues?: Readonly<Record<string, unknown>>;
}

/** Everything that Yoga does otherwise, or not at all. */
function ourOwn(
  options: Needed,
  exchangeOf: (request: Request) => Exchange,
): Plugin<{ exchange: Exchange }> {
  const { log, page_sizes } = options;
  const prepare = (args: Executed) => {
    const { schema, document, contextValue } = args;
    const { exchange } = contextValue;
    const operation = operationOf(document, exchange);
    const variables = variablesOf(schema, operation, exchange.variables);
    args.variableValues = variables;
    requireAffordable({ schema, document, operation, variables, sizes: page_sizes() });
  };
  return {
    onRequestParse({ request, setRequestParser }) {
      const { query, operationName } = exchangeOf(request);
      setRequestParser(() => (operationName === null ? { query } : { query, operationName }));
    },
    onParse({ setParseFn }) {
      setParseFn((source) => parseDocument(typeof source === "string" ? source : source.body));
      return ({ result, context }) => {
        if (result instanceof Error) throw result;
        assert(result !== null, "parsing gives a document or an error");
        operationOf(result, exchangeOf(context.request));
      };
    },
    onExecute: ({ args }) => prepare(args),
    onSubscribe: ({ args }) => prepare(args),
    onResultProcess({ request, result, setResultProcessor }) {
      const exchange = exchangeOf(request);
      const { request_id, accept } = exchange;
      setResultProcessor(() => {
        assert(!Array.isArray(result), "batches are refused");
        if (!(Symbol.asyncIterator in result))
          return answerResult(result, { request_id, accept, log });
        if (acceptsEvents(accept)) {
          return answerEvents(result, { exchange, log, stall_ms: limits.live_stall_ms });
        }
        exchange.ended.abort();
        return refusal(notAcceptable, { request_id, status: 406 });
      }, "application/json");
    },
  };
}

/** Throws `invalid_argument` where it is unclear which one is meant, or may not come this way. */
function operationOf(document: DocumentNode, exchange: Exchange): OperationDefinitionNode {
  const { operationName, method } = exchange;
  const operation = getOperationAST(document, operationName);
  if (operation === null || operation === undefined) {
    throw invalidArgument(
      operationName === null
        ? "operationName must say which operation of the document is meant"
        : `the document has no operation ${operationName.slice(0, 100)}`,
      { path: "/operationName" },
    );
  }
  if (operation.operation === "mutation" && method === "GET") {
    throw invalidArgument("a mutation takes POST, not GET", {
      reason: "method_not_allowed",
      method,
      allow: "POST",
    });
  }
  requireUnconditional(document, operation);
  return operation;
}

const notAcceptable = {
  message: "a subscription answers with text/event-stream, which Accept must allow",
  code: "invalid_argument",
  details: { accept: "text/event-stream" },
} as const;

/** Documents that clients send again and again, the least recently used of which goes first. */
function createDocuments() {
  const kept = new Map<string, DocumentNode>();
  return {
    get(text: string): DocumentNode | undefined {
      const document = kept.get(text);
      if (document === undefined) return undefined;
      kept.delete(text);
      kept.set(text, document);
      return document;
    },
    set(text: string, document: DocumentNode): void {
      if (text.length > limits.graphql_kept_chars_max) return;
      kept.set(text, document);
      const [oldest] = kept.keys();
      if (kept.size > limits.graphql_documents_max && oldest !== undefined) kept.delete(oldest);
    },
  };
}

/** A fault costs no more to find again than to keep. */
const forgetful = { get: () => undefined, set: () => {} };
