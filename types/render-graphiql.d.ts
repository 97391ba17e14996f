// The part of @graphql-yoga/render-graphiql 3.9 that src/server/graphql uses; see
// elysia-graphql-yoga.d.ts.

export declare function renderGraphiQL(options: {
  readonly title: string;
  /** Text of the editor when the page is opened for the first time. */
  readonly defaultQuery: string;
  /** Text of the headers editor, a JSON object. */
  readonly headers: string;
  readonly endpoint: string;
}): string;
