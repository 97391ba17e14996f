/**
 * The schema as clients generate code from it. Whoever changes graphql-schema.graphql changes what
 * dbx promises.
 */
import { expect, test } from "bun:test";
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  lexicographicSortSchema,
  printSchema,
} from "graphql";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { operations } from "../../src/api/operations.ts";
import { schemaText } from "../../src/server/graphql/sdl.ts";
import { post } from "../support/graphql.ts";
import { startTestServer } from "../support/server.ts";

test("it is the one that is written down", () => {
  const written = readFileSync(join(import.meta.dir, "graphql-schema.graphql"), "utf8");
  expect(schemaText()).toBe(written);
});

test("a client that asks for it gets this one, descriptions and all", async () => {
  await using server = await startTestServer();
  const { json } = await post(server, getIntrospectionQuery());
  const shown = (schema: Parameters<typeof printSchema>[0]) =>
    printSchema(lexicographicSortSchema(schema));
  expect(shown(buildClientSchema(json.data))).toBe(shown(buildSchema(schemaText())));
});

test("names are those of REST, and descriptions those of the operation table", () => {
  const schema = buildSchema(schemaText());
  const { aggregates, appendEvent } = {
    ...schema.getQueryType()?.getFields(),
    ...schema.getMutationType()?.getFields(),
  };
  expect(aggregates?.description).toBe(operations.listAggregates.summary);
  expect(appendEvent?.description).toBe(operations.appendEvent.summary);
  expect(aggregates?.args.map(({ name }) => name)).toEqual(
    Object.keys(operations.listAggregates.input.properties),
  );
  const record = schema.getType("EventRecord");
  const names = record !== undefined && "getFields" in record ? record.getFields() : {};
  expect(Object.keys(names)).toEqual(Object.keys(operations.appendEvent.output.properties));
});
