// Variables, from canonical text by the types that the document gives them: what is JSON to the
// schema stays text, so that no payload is taken apart and no number rounded. What does not fit is
// refused here, at the first fault, because the executor would read and quote all of it first.

import {
  GraphQLError,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  typeFromAST,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLLeafType,
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
import { invalidArgument, tooLarge, type DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { didYouMean } from "../../model/nearest.ts";
import { exactly } from "./exact.ts";
import { inShort } from "./refusal.ts";

/** Where a value stands: the name of its variable, then members and indexes. */
type Place = readonly (string | number)[];
type Count = (place: Place) => void;

/**
 * In: the JSON object of a request's variables. Out: the values of those that the operation
 * declares, as the executor takes them; one that is missing is left for it to name. Throws
 * `invalid_argument` and `too_large` with `details.path`, a JSON pointer into the variable.
 */
export function variablesOf(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  text: Canonical | null,
): Record<string, unknown> {
  const given = new Map(text === null ? [] : splitMembers(text));
  let count = 0;
  const countOne: Count = (place) => {
    if (++count > limits.graphql_values_max) throw tooMany(place, "values in all variables");
  };
  const values = (operation.variableDefinitions ?? []).flatMap(({ variable, type }) => {
    const name = variable.name.value;
    // GraphQL keeps such names for itself, and graphql-js loses `__proto__`.
    if (name.startsWith("__")) throw fault([name], "must not begin with two underscores");
    const inner = given.get(name);
    const known = typeFromAST(schema, type);
    return inner !== undefined && isInputType(known)
      ? [[name, valueOf(known, inner, { place: [name], countOne })] as const]
      : [];
  });
  return Object.fromEntries(values);
}

interface Reading {
  readonly place: Place;
  readonly countOne: Count;
}

function valueOf(type: GraphQLInputType, text: Canonical, reading: Reading): unknown {
  const { place, countOne } = reading;
  if (isNonNullType(type)) {
    const { ofType } = type;
    if (text === "null" && !isJson(ofType)) throw fault(place, "must not be null");
    return valueOf(ofType, text, reading);
  }
  countOne(place);
  if (isJson(type)) return exactly(withinDepth(text));
  if (text === "null") return null;
  if (isListType(type)) {
    // GraphQL takes one value for a list of one.
    if (!text.startsWith("[")) return [valueOf(type.ofType, text, reading)];
    const most = limits.transaction_events_max;
    const elements = splitElements(text, { most: most + 1 });
    if (elements.length > most) throw tooMany(place, `entries, at most ${most} are taken`);
    return elements.map((element, index) =>
      valueOf(type.ofType, element, { place: [...place, index], countOne }),
    );
  }
  return isInputObjectType(type) ? objectOf(type, text, reading) : leafOf(type, text, place);
}

const isJson = (type: GraphQLInputType): boolean => "name" in type && type.name === "JSON";

function objectOf(type: GraphQLInputObjectType, text: Canonical, { place, countOne }: Reading) {
  if (!text.startsWith("{")) throw fault(place, "must be an object");
  const fields = type.getFields();
  const names = Object.keys(fields);
  // One member too many is enough to find an unknown one.
  const members = splitMembers(text, { most: names.length + 1 });
  const given = new Map(members);
  const unknown = members.find(([name]) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) {
    const [name] = unknown;
    throw fault([...place, name], `is not known${didYouMean(name, names)}`);
  }
  const missing = names.find((name) => {
    const field = fields[name];
    return !given.has(name) && field !== undefined && isRequiredInputField(field);
  });
  if (missing !== undefined) throw fault([...place, missing], "is missing");
  const values = members.flatMap(([name, inner]) => {
    const field = fields[name];
    return field === undefined
      ? []
      : [[name, valueOf(field.type, inner, { place: [...place, name], countOne })] as const];
  });
  return Object.fromEntries(values);
}

/** As the executor takes it. A number that no double is stays text: no scalar but JSON takes it. */
function leafOf(type: GraphQLLeafType, text: Canonical, place: Place): unknown {
  if (/^[[{]/.test(text)) throw fault(place, `must be a ${type.name}`);
  const value = fromJson(undefined, text);
  const raw = typeof value === "number" && String(value) !== text ? exactly(text) : value;
  try {
    type.parseValue(raw);
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    throw fault(place, `does not fit: ${error.message}`);
  }
  return raw;
}

const fault = (place: Place, what: string): DbxError =>
  invalidArgument(inShort(`the variable ${nameOf(place)} ${what}`), { path: pathOf(place) });

const tooMany = (place: Place, what: string): DbxError =>
  tooLarge(`the variable ${nameOf(place)} has too many ${what}`, { path: pathOf(place) });

/** `input.events[3].note` */
const nameOf = (place: Place): string =>
  place
    .map((part, index) =>
      typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${named(part)}`,
    )
    .join("");

/** Within the variable's value, which is what a body is on REST. */
const pathOf = ([, ...parts]: Place): string =>
  parts.map((part) => `/${typeof part === "number" ? part : pointed(part)}`).join("");

/** A client may name a member with megabytes; nobody wants them back. */
const named = (name: string): string =>
  name.length <= limits.name_chars_max ? name : `${name.slice(0, limits.name_chars_max)}…`;

const pointed = (name: string): string => named(name).replaceAll("~", "~0").replaceAll("/", "~1");

/**
 * Levels have been counted for the request as a whole, with room for what lies around a payload.
 * Only what is longer than so many brackets can have too many of its own.
 */
const withinDepth = (text: Canonical): Canonical =>
  text.length > 2 * limits.json_depth_max ? canonicalize(text) : text;
