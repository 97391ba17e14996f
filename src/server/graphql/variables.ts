// Variables, from canonical text by the types that the document gives them: what is JSON to the
// schema stays text, so that no payload is taken apart and no number rounded.

import {
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  typeFromAST,
  type GraphQLInputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from "graphql";
import { fromJson } from "../../api/json.ts";
import {
  canonicalize,
  splitElements,
  splitMembers,
  type Canonical,
} from "../../model/canonical.ts";
import { limits } from "../../model/limits.ts";
import { exactly } from "./exact.ts";

/**
 * In: the JSON object of a request's variables. Out: their values, as the executor takes them.
 * Throws `invalid_argument` for JSON that is too deep.
 */
export function variablesOf(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  text: Canonical,
): Record<string, unknown> {
  const given = new Map(splitMembers(text));
  const values = (operation.variableDefinitions ?? []).flatMap(({ variable, type }) => {
    const name = variable.name.value;
    const inner = given.get(name);
    const known = typeFromAST(schema, type);
    return inner !== undefined && isInputType(known)
      ? [[name, valueOf(known, inner)] as const]
      : [];
  });
  return Object.fromEntries(values);
}

function valueOf(type: GraphQLInputType, text: Canonical): unknown {
  if (isNonNullType(type)) return valueOf(type.ofType, text);
  if (isListType(type) && text !== "null") {
    // GraphQL takes one value for a list of one.
    const elements = text.startsWith("[") ? splitElements(text) : [text];
    return elements.map((element) => valueOf(type.ofType, element));
  }
  if (isInputObjectType(type) && text.startsWith("{")) {
    const fields = type.getFields();
    const members = splitMembers(text).map(([name, inner]) => {
      const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
      // The executor names what it does not know.
      return [name, field === undefined ? null : valueOf(field.type, inner)];
    });
    return Object.fromEntries(members);
  }
  return "name" in type && type.name === "JSON" ? exactly(withinDepth(text)) : leafOf(text);
}

/** A number that no double is stays text: no scalar but JSON takes it. */
function leafOf(text: Canonical): unknown {
  const value = fromJson(undefined, text);
  return typeof value === "number" && String(value) !== text ? exactly(text) : value;
}

/**
 * Levels have been counted for the request as a whole, with room for what lies around a payload.
 * Only what is longer than so many brackets can have too many of its own.
 */
const withinDepth = (text: Canonical): Canonical =>
  text.length > 2 * limits.json_depth_max ? canonicalize(text) : text;
