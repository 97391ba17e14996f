// The scalars of the schema. None of them passes a number on as anything but what was written.

import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from "graphql";
import { canonicalize } from "../../model/canonical.ts";
import { assert, DbxError } from "../../model/error.ts";
import { exactly, isExact, writeJson, type Exact } from "./exact.ts";
import { scalarTexts } from "./sdl.ts";

type Variables = Readonly<Record<string, unknown>> | null | undefined;

/**
 * Out, and in from variables, it is text already (variables.ts). A literal becomes its JSON, of
 * which the same is asked as of a body: no key twice, no more than 128 levels.
 */
const json = new GraphQLScalarType<Exact, Exact>({
  name: "JSON",
  description: scalarTexts.JSON,
  serialize(value) {
    assert(typeof value === "string", "JSON comes from the engine as text");
    return exactly(value);
  },
  parseValue(value) {
    assert(isExact(value), "variables have been read by their types");
    return value;
  },
  parseLiteral(node, variables) {
    try {
      return exactly(canonicalize(literalText(node, variables)));
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      throw new GraphQLError(error.message, { nodes: node });
    }
  },
});

function literalText(node: ValueNode, variables: Variables): string {
  switch (node.kind) {
    case Kind.INT:
    case Kind.FLOAT:
      return node.value;
    case Kind.STRING:
      return JSON.stringify(node.value);
    case Kind.BOOLEAN:
      return String(node.value);
    case Kind.NULL:
      return "null";
    case Kind.LIST:
      return `[${node.values.map((inner) => literalText(inner, variables)).join(",")}]`;
    case Kind.OBJECT:
      return `{${node.fields
        .filter(({ value }) => !isMissing(value, variables))
        .map(({ name, value }) => `"${name.value}":${literalText(value, variables)}`)
        .join(",")}}`;
    case Kind.VARIABLE:
      return writeJson(variables?.[node.name.value]);
    case Kind.ENUM:
      throw new GraphQLError(`JSON has no ${node.value}: a string stands in quotes`, {
        nodes: node,
      });
  }
}

/** A member whose variable was not given is left out; in a list it is null. */
const isMissing = (node: ValueNode, variables: Variables): boolean =>
  node.kind === Kind.VARIABLE &&
  !(variables !== null && variables !== undefined && Object.hasOwn(variables, node.name.value));

const long = new GraphQLScalarType<number, number>({
  name: "Long",
  description: scalarTexts.Long,
  serialize(value) {
    assert(typeof value === "number", "versions and positions are numbers");
    return value;
  },
  parseValue: (value) => longOf(value),
  parseLiteral: (node) =>
    node.kind === Kind.INT || node.kind === Kind.STRING
      ? longOf(node.value, node)
      : longOf(undefined, node),
});

function longOf(value: unknown, node?: ValueNode): number {
  const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new GraphQLError(
    `Long must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}`,
    node === undefined ? {} : { nodes: node },
  );
}

/** Whether it is one of the words, the gate says. */
const expectedVersion = new GraphQLScalarType<unknown, unknown>({
  name: "ExpectedVersion",
  description: scalarTexts.ExpectedVersion,
  parseValue(value) {
    if (typeof value === "string" || typeof value === "number") return value;
    throw new GraphQLError("ExpectedVersion must be a number or a word");
  },
  parseLiteral(node) {
    if (node.kind === Kind.INT) return longOf(node.value, node);
    if (node.kind === Kind.STRING || node.kind === Kind.ENUM) return node.value;
    throw new GraphQLError("ExpectedVersion must be a number or a word", { nodes: node });
  },
});

export const scalars = { JSON: json, Long: long, ExpectedVersion: expectedVersion };
