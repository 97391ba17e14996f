// The part of graphql-yoga 3.9 that src/server/graphql uses; see elysia-graphql-yoga.d.ts.

import type {
  DocumentNode,
  ExecutionResult,
  GraphQLScalarType,
  GraphQLSchema,
  parse,
} from "graphql";

type Resolver<Context> = (
  source: unknown,
  args: Readonly<Record<string, unknown>>,
  context: Context,
) => unknown;

export declare function createSchema<Context>(definition: {
  readonly typeDefs: string;
  readonly resolvers: Readonly<
    Record<
      string,
      | Readonly<Record<string, Resolver<Context> | { readonly subscribe: Resolver<Context> }>>
      | GraphQLScalarType
    >
  >;
}): GraphQLSchema;

interface ExecutionArguments<Context> {
  readonly schema: GraphQLSchema;
  readonly document: DocumentNode;
  readonly contextValue: Context;
  variableValues?: Readonly<Record<string, unknown>>;
}

interface Parameters {
  readonly query: string;
  readonly operationName?: string;
}

export type Result = ExecutionResult | AsyncIterable<ExecutionResult>;

/** Hooks of Yoga and of Envelop, on which it is built. */
export interface Plugin<Context> {
  readonly onRequestParse?: (hook: {
    readonly request: Request;
    readonly setRequestParser: (parser: () => Parameters) => void;
  }) => void;
  readonly onParse?: (hook: {
    readonly setParseFn: (parser: typeof parse) => void;
  }) => (hook: {
    readonly result: DocumentNode | Error | null;
    readonly context: { readonly request: Request };
  }) => void;
  readonly onExecute?: (hook: { readonly args: ExecutionArguments<Context> }) => void;
  readonly onSubscribe?: (hook: { readonly args: ExecutionArguments<Context> }) => void;
  readonly onResultProcess?: (hook: {
    readonly request: Request;
    readonly result: Result;
    readonly setResultProcessor: (process: () => Response, mediaType: string) => void;
  }) => void;
}
