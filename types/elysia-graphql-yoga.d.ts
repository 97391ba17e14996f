// The part of @elysiajs/graphql-yoga that src/server/graphql uses. Its own types bring those of
// browsers along, which would replace Bun's everywhere in this project (tsconfig.json, paths).

import type { Elysia } from "elysia";
import type { DocumentNode, GraphQLSchema } from "graphql";
import type { Plugin } from "graphql-yoga";

interface YogaOptions<Context> {
  readonly schema: GraphQLSchema;
  readonly context: (initial: { readonly request: Request }) => Context;
  readonly plugins: readonly Plugin<Context>[];
  readonly parserCache: {
    readonly documentCache: Cache<DocumentNode>;
    readonly errorCache: Cache<unknown>;
  };
  readonly graphiql: false;
  readonly landingPage: false;
  readonly maskedErrors: false;
  readonly logging: false;
  readonly multipart: false;
  readonly batching: false;
}

interface Cache<Value> {
  readonly get: (key: string) => Value | undefined;
  readonly set: (key: string, value: Value) => void;
}

export declare const yoga: <Context>(options: YogaOptions<Context>) => (app: Elysia) => Elysia;
