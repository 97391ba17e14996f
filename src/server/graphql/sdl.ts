// The schema as text, derived from the operation table. Only keywords of JSON Schema are read, so
// whatever the table can say to a client of REST, it says here.

import { followLog } from "../../api/live.ts";
import { operations } from "../../api/operations.ts";
import { assert } from "../../model/error.ts";
import { mutations, queries, subscription } from "./fields.ts";

/** What is read of a JSON Schema. */
interface JsonSchema {
  readonly $id?: string | undefined;
  readonly description?: string | undefined;
  readonly type?: unknown;
  readonly anyOf?: readonly JsonSchema[] | undefined;
  readonly items?: JsonSchema | undefined;
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined;
  readonly required?: readonly string[] | undefined;
}

/** What is more than GraphQL has by itself, and what is said of it. */
export const scalarTexts = {
  JSON: "Any JSON value. Numbers come and go exactly as they were written.",
  Long: "An integer from 0 to 9007199254740991 (2^53 - 1), as a number or a string of digits.",
  ExpectedVersion: "A version, or one of any, no_stream and stream_exists.",
};

/** Out: the schema definition language (GraphQL, October 2021, section 3). */
export function schemaText(): string {
  const declared = new Map<string, string>();
  const roots = [
    `type Query {\n${fieldsOf(queries, declared)}}`,
    `type Mutation {\n${fieldsOf(mutations, declared)}}`,
    `type Subscription {\n${subscriptionField(declared)}}`,
  ];
  const leaves = Object.entries(scalarTexts).map(
    ([name, text]) => `${describe(text)}scalar ${name}`,
  );
  return `${[...roots, ...declared.values(), ...leaves].join("\n\n")}\n`;
}

function fieldsOf(fields: typeof queries, declared: Map<string, string>): string {
  const texts = Object.entries(fields).map(([name, { operation, oneInput, nullable, member }]) => {
    const { summary, input, output } = operations[operation];
    const given: JsonSchema = member === undefined ? output : memberOf(output, member);
    const { text } = typeOf(given, { member: name, kind: "type", declared });
    const argumentsText =
      oneInput === true
        ? `(input: ${typeOf(input, { member: name, kind: "input", declared }).text}!)`
        : argumentsOf(input, declared);
    const type = nullable === true ? text : `${text}!`;
    return fieldText({ name, summary, argumentsText }, { output: type });
  });
  return texts.join("");
}

function subscriptionField(declared: Map<string, string>): string {
  const { summary, input, output } = followLog;
  const { text } = typeOf(output, { member: subscription, kind: "type", declared });
  const argumentsText = argumentsOf(input, declared);
  return fieldText({ name: subscription, summary, argumentsText }, { output: `${text}!` });
}

const fieldText = (
  field: { name: string; summary: string; argumentsText: string },
  { output }: { output: string },
): string => `  ${describe(field.summary, "  ")}${field.name}${field.argumentsText}: ${output}\n`;

function argumentsOf(input: JsonSchema, declared: Map<string, string>): string {
  const members = membersOf(input, { kind: "input", declared }, "    ");
  return `(\n${members}  )`;
}

interface Place {
  readonly kind: "input" | "type";
  /** Named types so far, by name. */
  readonly declared: Map<string, string>;
}

function membersOf(schema: JsonSchema, place: Place, indent: string): string {
  const { required = [], properties = {} } = schema;
  const texts = Object.entries(properties).map(([member, inner]) => {
    const { text, nullable } = typeOf(inner, { ...place, member });
    const type = required.includes(member) && !nullable ? `${text}!` : text;
    return `${indent}${describe(inner.description, indent)}${member}: ${type}\n`;
  });
  return texts.join("");
}

interface TypeText {
  /** Without `!`. */
  readonly text: string;
  readonly nullable: boolean;
}

function typeOf(schema: JsonSchema, place: Place & { readonly member: string }): TypeText {
  const { type, anyOf, items, $id } = schema;
  const { member, declared, kind } = place;
  if (anyOf !== undefined) {
    const choices = anyOf.filter((choice) => choice.type !== "null");
    const [first, second] = choices;
    const only = second === undefined ? first : undefined;
    const text = only === undefined ? choiceOf(member) : typeOf(only, place).text;
    return { text, nullable: choices.length < anyOf.length };
  }
  if (type === "object") {
    assert($id !== undefined, `the schema of ${member} has a name`);
    if (!declared.has($id)) {
      // Named before its members are, so that it stands before what they bring along.
      declared.set($id, "");
      const head = `${describe(schema.description)}${kind} ${$id}`;
      declared.set($id, `${head} {\n${membersOf(schema, place, "  ")}}`);
    }
    return { text: $id, nullable: false };
  }
  if (items !== undefined) return { text: `[${typeOf(items, place).text}!]`, nullable: false };
  return { text: leafOf(type, member), nullable: false };
}

function leafOf(type: unknown, member: string): string {
  if (type === "string") return "String";
  if (type === "boolean") return "Boolean";
  // Rows of a page are counted in 32 bits, as `$take: Int!` of everybody's queries has it.
  if (type === "integer") return member === "skip" || member === "take" ? "Int" : "Long";
  assert(type === undefined, `there is a type for ${member}`);
  return "JSON";
}

/** Several types at once are a scalar, named after the member. */
function choiceOf(member: string): string {
  const name = member.replaceAll(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());
  assert(Object.hasOwn(scalarTexts, name), `there is a scalar for ${member}`);
  return name;
}

function memberOf(schema: JsonSchema, member: string): JsonSchema {
  const found = schema.properties?.[member];
  assert(found !== undefined, `the output has a member ${member}`);
  return found;
}

/** A description on a line of its own. JSON's escapes are GraphQL's. */
const describe = (text: string | undefined, indent = ""): string =>
  text === undefined ? "" : `${JSON.stringify(text)}\n${indent}`;
