// The parameters of a request, from a JSON body or a query string (GraphQL over HTTP, section 5).
// Variables stay text: their types are in the document.

import { fromJson } from "../../api/json.ts";
import { canonicalize, decodeUtf8, splitMembers, type Canonical } from "../../model/canonical.ts";
import { invalidArgument } from "../../model/error.ts";
import { didYouMean } from "../../model/nearest.ts";
import { pairsOf, queryOf } from "../request.ts";
import type { Parameters } from "./exchange.ts";

/** Extensions are taken and not looked at: none is known here. */
const names = ["query", "operationName", "variables", "extensions"];

/** Levels around a payload in a body: itself, variables, input, events, an event. */
const envelope = 5;

/** Throws `invalid_argument` for what is no JSON object of these members. */
export function parametersOfBody(bytes: Uint8Array): Parameters {
  const text = canonicalize(decodeUtf8(bytes), { envelope });
  if (!text.startsWith("{")) {
    throw invalidArgument("the body must be a JSON object, one request at a time", { path: "" });
  }
  return parametersOf(new Map(splitMembers(text)));
}

/** Throws `invalid_argument`, also for broken encoding and names given twice. */
export function parametersOfUrl(url: string): Parameters {
  const pairs = pairsOf(queryOf(url)).map(([name, value]) => {
    const isJson = name === "variables" || name === "extensions";
    return [
      name,
      canonicalize(isJson ? value || "null" : JSON.stringify(value), { envelope }),
    ] as const;
  });
  return parametersOf(new Map(pairs));
}

function parametersOf(members: ReadonlyMap<string, Canonical>): Parameters {
  for (const name of members.keys()) {
    if (names.includes(name)) continue;
    throw invalidArgument(`unknown member ${name.slice(0, 100)}${didYouMean(name, names)}`, {
      path: `/${name.slice(0, 100)}`,
    });
  }
  const query = stringOf(members, "query");
  if (query === null) throw invalidArgument("query is missing", { path: "/query" });
  objectOf(members, "extensions");
  return {
    query,
    // Some clients send an empty name for none.
    operationName: stringOf(members, "operationName") || null,
    variables: objectOf(members, "variables"),
  };
}

function stringOf(members: ReadonlyMap<string, Canonical>, name: string): string | null {
  const text = members.get(name);
  const value = text === undefined ? null : fromJson(undefined, text);
  if (value === null || typeof value === "string") return value;
  throw invalidArgument(`${name} must be a string`, { path: `/${name}` });
}

function objectOf(members: ReadonlyMap<string, Canonical>, name: string): Canonical | null {
  const text = members.get(name);
  if (text === undefined || text === "null") return null;
  if (text.startsWith("{")) return text;
  throw invalidArgument(`${name} must be an object`, { path: `/${name}` });
}
